"""Settings that let some rows count more than others.

category_weights({"category_weights": "refund=2, delivery=0.5"})  ->  {"refund": 2.0, "delivery": 0.5}
"""

import math
from collections.abc import Mapping
from typing import Any


def weighs_rows(values: Mapping[str, Any]) -> bool:
    """Whether rows count differently in the loss; specs older than these settings do not name them."""
    return values.get("class_weights", "none") != "none" or bool(
        values.get("category_weights") or values.get("weight_column")
    )


def category_weights(values: Mapping[str, Any]) -> dict[str, float]:
    """Category -> weight, as a person wrote them.

    Raises:
        ValueError: an entry, which it names, is no category with a number from 0 on.
    """
    found = {}
    for entry in filter(None, (part.strip() for part in values.get("category_weights", "").split(","))):
        name, _, number = entry.rpartition("=")
        weight = _number(number)
        if not name.strip() or not 0 <= weight < math.inf:
            raise ValueError(entry)
        found[name.strip()] = weight
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
