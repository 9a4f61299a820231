"""What ships for public models: `python -m trainers.known_models [--ways N] [--seconds N] [--families gpt2,phi3]`.

Writes templates/memory: reads models.yaml there, makes what is missing for the installed libraries and leaves the rest
alone, so it can be stopped and started again: inventories first (a second each), then traces (a second or two each),
one way of training after the other, so that all models have the first N: LoRA first, and with gradient checkpointing.
"""

import argparse
import gc
import json
import logging
import math
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from studio.memory.config_fields import significant
from studio.memory.layers import Mode
from studio.memory.survey import SHIPPED, versions
from trainers.survey import config_of, inventory

_log = logging.getLogger(__name__)

TARGETS = (
    ["all-linear"],
    ["q_proj", "v_proj"],
    ["q_proj", "k_proj", "v_proj", "o_proj"],
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
)
"""Those that a model does not have are left out."""


def main(ways: int, seconds: float, families: Sequence[str] = (), folder: Path = SHIPPED) -> None:
    known = yaml.safe_load((folder / "models.yaml").read_text("utf-8"))
    known = {family: models for family, models in known.items() if not families or family in families}
    for family, models in known.items():
        _write(folder, family, _with_inventories(_read(folder, family), family, models))
    gc.freeze()
    ends_at = time.monotonic() + seconds
    for way, family in product(range(ways), known):
        if time.monotonic() > ends_at:
            raise SystemExit("not through yet: start it again")
        _write(folder, family, _with_traces(_read(folder, family), way))


def _read(folder: Path, family: str) -> dict[str, Any]:
    """What is there for the installed libraries."""
    path = folder / f"{family}.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found if found.get("versions") == versions() else {}


def _write(folder: Path, family: str, document: dict[str, Any]) -> None:
    """A line a model, so that a change of one is a change of one line."""
    head = {name: value for name, value in document.items() if name != "models"}
    lines = ",\n".join(json.dumps(model, separators=(",", ":")) for model in document["models"])
    text = json.dumps(head, separators=(",", ":")).removesuffix("}")
    (folder / f"{family}.json").write_text(f'{text},\n"models":[\n{lines}\n]}}\n', "utf-8")


def _with_inventories(found: dict[str, Any], family: str, models: dict[str, dict[str, Any]]) -> dict[str, Any]:
    configs = {name: {"model_type": family, **fields} for name, fields in models.items()}
    there = {each["name"]: each for each in found.get("models", ()) if each["config"] == configs.get(each["name"])}
    return {
        "versions": versions(),
        "defaults": _defaults(family),
        "modes": found.get("modes", []),
        "models": [there.get(name) or _model(name, config) for name, config in configs.items()],
    }


def _defaults(family: str) -> dict[str, Any]:
    """Of the config class, without what it takes from another field."""
    whole, other = (config_of({"model_type": family, **more}).to_dict() for more in ({}, {"num_attention_heads": 2}))
    taken = {name for name in ("head_dim", "num_key_value_heads") if whole.get(name) != other.get(name)}
    plain = json.loads(json.dumps(significant(whole), default=str))
    return {name: value for name, value in plain.items() if name not in taken}


def _model(name: str, config: dict[str, Any]) -> dict[str, Any]:
    found = inventory(config_of(config), list(TARGETS))
    adapters = [each for each in found["adapters"] if "error" not in each]
    return {"name": name, "config": config, "inventory": found["inventory"], "adapters": adapters, "profiles": []}


def _with_traces(found: dict[str, Any], way: int) -> dict[str, Any]:
    from trainers.tracing.trace import trace, usual_modes

    for model in found["models"]:
        config = config_of(model["config"])
        mode = sorted(usual_modes(config), key=_rank)[way]
        document = mode.document()
        if document not in found["modes"]:
            found["modes"].append(document)
        number = found["modes"].index(document)
        can = mode.attn_implementation in model["inventory"]["attention"]
        if can and number not in [each[0] for each in model["profiles"]]:
            try:
                model["profiles"].append([number, trace(config, mode).document()])
            except Exception:
                # Any family's own code runs here; without a trace the calculator has its formula.
                _log.warning("no trace of %s as %s", model["name"], mode)
    return found


def _rank(mode: Mode) -> tuple[bool, bool]:
    return not mode.lora_target_modules, not mode.gradient_checkpointing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", type=int, default=10, help="how many of the usual ways of training are traced")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of tracing, then it stops at a family's end")
    parser.add_argument("--families", type=lambda text: text.split(","), default=(), help="only these")
    given = parser.parse_args()
    main(given.ways, given.seconds, given.families)
