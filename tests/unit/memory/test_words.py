"""Every part, phase and note that an estimate may name has words in both languages, and none are left over."""

from itertools import product

from studio.memory.estimate import Shapes, estimate
from studio.memory.inventory import from_config
from studio.memory.methods import METHODS
from studio.memory.stack import coefficients
from studio.messages import LANGUAGES, catalogue
from studio.params.table import parameters
from tests.unit.memory.test_estimate import CPU, SMOL, card, predict, settings


def all_estimates():
    table = {parameter.name: parameter for parameter in parameters("sft")}
    for machine, tuning, optim, dtype, accumulation in product(
        (CPU, card(24)),
        [choice.value for choice in table["tuning"].choices],
        [choice.value for choice in table["optim"].choices],
        ("float32", "bfloat16"),
        (1, 2),
    ):
        recomputes = {"gradient_checkpointing": False} if tuning == "prefix_tuning" else {}
        changes = {
            **recomputes,
            "tuning": tuning,
            "optim": optim,
            "dtype": dtype,
            "gradient_accumulation_steps": accumulation,
        }
        yield predict(machine=machine, **changes)
    yield predict(machine=CPU, continual="ewc", old_dataset="old")
    asked = {"asked_models_bytes": 1 << 20, "asked_models_token_bytes": 1 << 10}
    for method, more in product(METHODS, ({}, {"reward_model": "other", "num_generations": 4, **asked})):
        values = {**settings(tuning="full"), **more}
        yield estimate(from_config(SMOL), values, shapes=Shapes(200), method=method)


def test_parts_and_phases_have_words():
    found = list(all_estimates())
    phases = {name for each in found for name in each.phases}
    parts = {part for each in found for phase in each.phases.values() for part in phase}
    for language in LANGUAGES:
        words = {key for key in catalogue(language) if key.startswith(("memory.terms.", "memory.phases."))}
        assert words == {f"memory.terms.{part}" for part in parts} | {f"memory.phases.{phase}" for phase in phases}


def test_notes_have_words_and_widths():
    for language in LANGUAGES:
        words = {key for key in catalogue(language) if key.startswith("memory.notes.")}
        assert words == {f"memory.notes.{note}" for note in coefficients()["notes"]}
