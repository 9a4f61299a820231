"""Every part and phase that an estimate may name has words in both languages, and none are left over."""

from itertools import product

from studio.messages import LANGUAGES, catalogue
from studio.params.table import parameters
from tests.unit.memory.test_estimate import CPU, card, predict


def test_parts_and_phases_have_words():
    table = {parameter.name: parameter for parameter in parameters("sft")}
    parts, phases = set(), set()
    for machine, tuning, optim, dtype, accumulation in product(
        (CPU, card(24)),
        [choice.value for choice in table["tuning"].choices],
        [choice.value for choice in table["optim"].choices],
        ("float32", "bfloat16"),
        (1, 2),
    ):
        changes = {"tuning": tuning, "optim": optim, "dtype": dtype, "gradient_accumulation_steps": accumulation}
        found = predict(machine=machine, **changes)
        phases |= set(found.phases)
        parts |= {part for phase in found.phases.values() for part in phase}
    for language in LANGUAGES:
        words = {key for key in catalogue(language) if key.startswith(("memory.terms.", "memory.phases."))}
        assert words == {f"memory.terms.{part}" for part in parts} | {f"memory.phases.{phase}" for phase in phases}
