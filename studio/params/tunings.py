"""The ways of tuning, and what follows from each outside of training itself.

    tuning("qlora")  ->  Tuning(name="qlora", keeps="adapter", is_compressed=True, rates="lora")

What each trains is `trainers.tuning`'s, what it needs `studio.memory.adapters`', its words are the choices of `tuning`
in `shared.yaml`; a test compares the four.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Tuning:
    name: str
    keeps: Literal["model", "adapter"]
    """What a checkpoint holds: a whole model, or what is put on the base model."""
    is_compressed: bool = False
    """The base model lies in memory with fewer bits a weight."""
    rates: Literal["full", "lora", "vectors"]
    """Whose learning rates suit it (`usual_rates` and `rate_limits` in templates/advice/recipes.yaml)."""


TUNINGS = {
    each.name: each
    for each in (
        Tuning(name="lora", keeps="adapter", rates="lora"),
        Tuning(name="qlora", keeps="adapter", is_compressed=True, rates="lora"),
        Tuning(name="full", keeps="model", rates="full"),
        Tuning(name="freeze", keeps="model", rates="full"),
        Tuning(name="ia3", keeps="adapter", rates="vectors"),
        Tuning(name="ln_tuning", keeps="adapter", rates="vectors"),
    )
}


def keeps_model(name: str) -> bool:
    """Whether a checkpoint of a run with this tuning answers by itself, without its base model."""
    return TUNINGS[name].keeps == "model"


def is_compressed(name: str) -> bool:
    return TUNINGS[name].is_compressed
