"""The ways of training that the trials are done with: each is one line here.

    "lora": Way(tuning="lora")          joins the series, the slow tests and the page

A way's method must be resumable as `trainers.recipe` has it; its rows are what the method learns from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.params.tunings import keeps_model

PAIRS = tuple({"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(24))


@dataclass(frozen=True, kw_only=True)
class Way:
    tuning: str
    method: str = "sft"
    values: Mapping[str, Any] = field(default_factory=dict)
    """Settings other than those of `tests.faults.studio.VALUES`."""
    rows: Sequence[Mapping[str, Any]] = PAIRS
    format: str | None = None
    """trl's type of the rows, where it is neither messages nor prompt_completion."""
    model: str = "tiny"
    """tiny, or starter: real weights, seconds a step."""

    @property
    def weights(self) -> str:
        """The file of a checkpoint that holds what was learned."""
        return "model.safetensors" if keeps_model(self.tuning) else "adapter_model.safetensors"


WAYS = {
    "full": Way(tuning="full"),
    "lora": Way(tuning="lora"),
    "qlora": Way(tuning="qlora"),
    "starter full": Way(tuning="full", model="starter"),
    "starter lora": Way(tuning="lora", model="starter"),
    "starter qlora": Way(tuning="qlora", model="starter"),
}
TINY = [name for name, way in WAYS.items() if way.model == "tiny"]
"""Those that the series takes unless others are named: a trial is over in seconds."""
