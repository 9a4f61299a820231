"""The recommendations as data (`templates/advice/recipes.yaml`), and which of them speak for a model and its data."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from studio.advisor.facts import Facts
from studio.params.methods import method_of
from studio.paths import TEMPLATES

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ENDS = ("low", "middle", "high")


@cache
def recipes() -> Mapping[str, Any]:
    return yaml.load((TEMPLATES / "advice" / "recipes.yaml").read_text("utf-8"), _Loader)


def measured_for(facts: Facts, tuning: str, method: str) -> Mapping[str, Any] | None:
    """What was measured for this size, tuning and method."""
    found = (each for each in recipes()["measured"] if _covers(each, facts))
    return next((each for each in found if tuning in each["tuning"] and method in each["method"]), None)


def size_band(facts: Facts) -> Mapping[str, Any] | None:
    """Document B's band for the model's size."""
    return next((band for band in recipes()["size_bands"] if _covers(band, facts)), None)


def row_band(facts: Facts) -> Mapping[str, Any]:
    """Document A's rules for the number of rows."""
    rows = facts.rows or 0
    return next(band for band in recipes()["row_bands"] if rows < band["below"])


def wanted_batch(facts: Facts, values: Mapping[str, Any]) -> int:
    """Rows for one update, if there are as many: by their number, or what document A's template has for DPO."""
    method = method_of(values)
    is_pairs = method.prefers and not method.answers_itself
    wanted = recipes()["preference_batch"] if is_pairs else row_band(facts)["effective_batch_size"]
    return min(wanted, max(1, facts.rows or wanted))


def variety_word(facts: Facts) -> str:
    """uniform, varied (and many enough to say so), or an empty word: usual, or not known."""
    rules = recipes()["variety"]
    if facts.variety is None:
        return ""
    if facts.variety < rules["uniform_below"]:
        return "uniform"
    is_varied = facts.variety >= rules["varied_from"] and (facts.rows or 0) >= rules["varied_rows"]
    return "varied" if is_varied else ""


def rate_end(facts: Facts) -> str:
    """Which end of a range of rates: by the number of rows, then one end lower for uniform rows, higher for varied."""
    return shifted(row_band(facts)["rate_end"], facts)


def shifted(end: str, facts: Facts) -> str:
    step = {"uniform": -1, "varied": 1}.get(variety_word(facts), 0)
    return ENDS[min(2, max(0, ENDS.index(end) + step))]


def at_end(low: float, high: float, end: str) -> float:
    return {"low": low, "middle": (low + high) / 2, "high": high}[end]


def _covers(rule: Mapping[str, Any], facts: Facts) -> bool:
    size = facts.inventory.parameters if facts.inventory else None
    return size is not None and rule["parameters"]["from"] <= size < rule["parameters"]["to"]
