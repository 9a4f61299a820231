"""How quickly a run goes with one setting rather than another: relative costs, from throughput.yaml.

Padding is left out: a larger device batch pads more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from studio.hardware import Machine
from studio.memory.estimate import Shapes
from studio.memory.inventory import Inventory
from studio.memory.knobs import Values, row_tokens

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Speed:
    inventory: Inventory
    shapes: Shapes
    machine: Machine | None

    def of(self, values: Values) -> float:
        """Tokens for each unit of work; only comparisons between settings of one run mean anything."""
        rules = _rules()
        tokens = values["per_device_train_batch_size"] * row_tokens(values, self.shapes)
        work = self._passes(values) * (tokens + self._batch_tokens(values["tuning"]))
        for name, factors in rules["factors"].items():
            work *= factors.get(values.get(name), 1) if name != "evidence" else 1
        return tokens / work

    def _passes(self, values: Values) -> float:
        passes = _rules()["passes"]
        trained = passes["weight_gradients"].get(values["tuning"], 0)
        again = passes["recompute"] if values["gradient_checkpointing"] else 0
        return passes["forward"] + passes["input_gradients"] + trained + again

    def _batch_tokens(self, tuning: str) -> float:
        rules = _rules()["batch_tokens"]
        is_cpu = self.machine is not None and self.machine.gpu is None
        reading = rules["cpu" if is_cpu else "cuda"] * (1 + rules["dequantise"].get(tuning, 0))
        return reading + (0 if is_cpu else rules["launch_parameters"] / max(1, self.inventory.parameters))


@cache
def _rules() -> Mapping[str, Any]:
    return yaml.load((Path(__file__).parent / "throughput.yaml").read_text("utf-8"), _Loader)
