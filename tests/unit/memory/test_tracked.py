"""What was counted in real steps (`python -m tests.bench.memory`) against what was estimated of them then.

The estimates themselves are made anew behind `--all` (tests/trainers/test_trace_methods.py): this takes seconds less.
"""

import json
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


def off(told: dict[str, Any], way: str) -> float:
    """Of the largest part of a step, weights aside."""
    seen = max(told["seen"][name] for name in told[way] if name in told["seen"])
    return max(told[way].values()) / seen - 1


def test_every_method_and_family_was_tracked() -> None:
    assert {each["method"] for each in STEPS} == METHODS.keys() - {"pretrain"}, "pretrain is sft on other rows"
    assert len({each["family"] for each in STEPS}) >= 8
    assert len(STEPS) > 300


def test_a_trace_of_its_way_of_training_tells_the_peak_within_one_per_cent() -> None:
    wrong = [each for each in STEPS if abs(off(each, "traced")) > 0.01]
    assert not wrong


def test_a_family_that_is_followed_needs_no_trace_for_that() -> None:
    followed = [each for each in STEPS if each["family"] in FOLLOWED]
    assert len(followed) > 100
    assert not [each for each in followed if abs(off(each, "untraced")) > 0.01]


@pytest.mark.parametrize("family", sorted({each["family"] for each in STEPS} - FOLLOWED))
def test_the_band_of_a_family_that_nobody_followed_holds_the_true_value(family: str) -> None:
    doubt = coefficients()["notes"]["layers_by_formula"]
    assert all(-doubt < 1 / (1 + off(each, "untraced")) - 1 < doubt for each in STEPS if each["family"] == family)
