"""Rows of a batch that lie behind each other in one sequence, without padding: what that leaves no room for.

seen_by_row({"padding_free": True, "adversarial": "fgm", ...})  ->  "adversarial"
"""

from collections.abc import Mapping
from typing import Any

BY_ROW = (
    "class_weights",
    "category_weights",
    "weight_column",
    "task_shares",
    "repetition_weight",
    "rouge_weight",
    "source_weight",
    "adversarial",
    "neftune_noise_alpha",
)
"""Settings that look at each row of a batch by itself, or whose strength goes by its length."""


def seen_by_row(values: Mapping[str, Any]) -> str | None:
    """The first setting that is on and needs the rows apart; None where there is none."""
    return next((name for name in BY_ROW if values.get(name) not in (None, "", "none", False, 0)), None)
