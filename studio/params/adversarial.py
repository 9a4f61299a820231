"""What adversarial training costs: how often a batch is gone through.

{"adversarial": "pgd", "adversarial_steps": 3}  ->  passes 4
"""

from collections.abc import Mapping
from typing import Any

FGM, PGD = "fgm", "pgd"


def steps(values: Mapping[str, Any]) -> int:
    """Steps away from the rows as they stand; 0 without it. Specs may be older than the setting."""
    return {FGM: 1, PGD: values.get("adversarial_steps", 1)}.get(values.get("adversarial"), 0)


def passes(values: Mapping[str, Any]) -> int:
    """Times that each batch is gone through, forwards and backwards."""
    return 1 + steps(values)
