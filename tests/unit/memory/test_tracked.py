"""What was counted in real steps (`python -m tests.bench.memory`) against what is estimated of them.

Estimates without a trace are made anew. Those with one, which takes a second each, are what was told then; behind
`--all` they are made anew as well (tests/trainers/test_trace_methods.py).
"""

import json
from functools import cache
from typing import Any

import pytest

from studio.memory.inventory import FOLLOWED
from studio.memory.methods import METHODS
from studio.memory.stack import coefficients
from studio.paths import PROJECT_ROOT

STEPS = [
    told
    for line in (PROJECT_ROOT / "tests/bench/memory/results.jsonl").read_text("utf-8").splitlines()
    if "error" not in (told := json.loads(line))
]
JOINED = {"mixtral", "olmoe", "qwen3_moe"}
"""Families with experts, which are one weight together."""
BY_SOURCE = FOLLOWED - JOINED


@cache
def untraced() -> tuple[tuple[dict[str, Any], dict[str, int]], ...]:
    """Each step, and what is estimated of it now without any trace."""
    from tests.bench.memory.__main__ import estimated  # torch and transformers come with it

    cases = (((each["family"], each["method"], each["tuning"]), each["seen"]["row_tokens"]) for each in STEPS)
    return tuple(zip(STEPS, (estimated(*case, ["untraced"])["untraced"] for case in cases), strict=True))


def off(told: dict[str, Any], found: dict[str, int]) -> float:
    """Of the largest part of a step, weights aside."""
    return max(found.values()) / max(told["seen"][name] for name in found if name in told["seen"]) - 1


def test_every_method_and_family_was_tracked() -> None:
    assert {each["method"] for each in STEPS} == METHODS.keys() - {"pretrain"}, "pretrain is sft on other rows"
    assert {each["family"] for each in STEPS} >= JOINED
    assert len({each["family"] for each in STEPS} - JOINED) >= 8
    assert len(STEPS) > 400


def test_a_trace_of_its_way_of_training_tells_the_peak_within_one_per_cent() -> None:
    wrong = [each for each in STEPS if abs(off(each, each["traced"])) > 0.01]
    assert not wrong


def test_what_was_told_without_a_trace_is_told_still() -> None:
    """`python -m tests.bench.memory --anew untraced --anew traced` writes what the calculator says now."""
    assert [told for told, found in untraced() if told["untraced"] != found] == []


def test_a_family_that_is_followed_needs_no_trace_for_that() -> None:
    followed = [(told, found) for told, found in untraced() if told["family"] in BY_SOURCE]
    assert len(followed) > 200
    assert not [told for told, found in followed if abs(off(told, found)) > 0.01]


@pytest.mark.parametrize("family", sorted({each["family"] for each in STEPS} - BY_SOURCE))
def test_the_band_of_a_family_that_nobody_followed_holds_the_true_value(family: str) -> None:
    doubt = coefficients()["notes"]["joined_experts_by_formula" if family in JOINED else "layers_by_formula"]
    those = [(told, found) for told, found in untraced() if told["family"] == family]
    assert all(-doubt < 1 / (1 + off(told, found)) - 1 < doubt for told, found in those)
