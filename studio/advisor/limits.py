"""Limits of a rule that is data: `holds({"beta": 0.2}, "beta", {"above": 0.1, "below": "most"})`.

A limit is a number or another measure's name.
"""

import operator
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_COMPARISONS = MappingProxyType(
    {"above": operator.gt, "below": operator.lt, "at_least": operator.ge, "at_most": operator.le}
)


def holds(known: Mapping[str, Any], name: str, limits: Mapping[str, Any]) -> bool:
    """Whether a measure lies within all of a rule's limits; a measure that nobody knows does not."""
    value = known[name]
    for comparison, limit in limits.items():
        bound = known[limit] if isinstance(limit, str) else limit
        if value is None or bound is None or not _COMPARISONS[comparison](value, bound):
            return False
    return True
