"""The ways of tuning, and what follows from each outside of training itself.

    tuning("qlora")  ->  Tuning(name="qlora", keeps="adapter", is_compressed=True, rates="lora", ...)

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
    rates: Literal["full", "lora", "vectors", "prompts"]
    """Whose learning rates suit it (`usual_rates` and `rate_limits` in templates/advice/recipes.yaml)."""
    merges: bool = False
    """It only changes weights that are there, so they can be made part of the base model's."""
    combines: bool = False
    """Several of them on one base model can be added up."""
    is_ours: bool = False
    """No other program reads the folder that is taken out."""


TUNINGS = {
    each.name: each
    for each in (
        Tuning(name="lora", keeps="adapter", rates="lora", merges=True, combines=True),
        Tuning(name="qlora", keeps="adapter", is_compressed=True, rates="lora", merges=True, combines=True),
        Tuning(name="full", keeps="model", rates="full"),
        Tuning(name="freeze", keeps="model", rates="full"),
        Tuning(name="ia3", keeps="adapter", rates="vectors", merges=True),
        Tuning(name="ln_tuning", keeps="adapter", rates="vectors", merges=True),
        Tuning(name="prompt_tuning", keeps="adapter", rates="prompts"),
        Tuning(name="p_tuning", keeps="adapter", rates="prompts"),
        Tuning(name="prefix_tuning", keeps="adapter", rates="prompts"),
        Tuning(name="bottleneck", keeps="adapter", rates="lora", is_ours=True),
    )
}
ADDS_TOKENS = frozenset({"prompt_tuning", "p_tuning", "prefix_tuning"})
"""Those that learn something to stand before each row."""


def keeps_model(name: str) -> bool:
    """Whether a checkpoint of a run with this tuning answers by itself, without its base model."""
    return TUNINGS[name].keeps == "model"


def is_compressed(name: str) -> bool:
    return TUNINGS[name].is_compressed
