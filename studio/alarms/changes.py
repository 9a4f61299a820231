"""From "three times the beta" to a setting's new value, checked as a form would check it.

changed({"beta": {"times": 3, "at_least": 0.001}}, {"method": "grpo", "beta": 0.0, ...}, {})   ->  {"beta": 0.001}
changed({"rewards": {"weigh": "full_rule", "times": 0.5}}, values, {"full_rule": "length"})    ->  half its weight
"""

import copy
from collections.abc import Mapping
from typing import Any

from studio.params.clashes import clashes
from studio.params.table import find_fault, parameters
from studio.rewards.recipe import parse


def changed(
    change: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The new values; None where one of them is not the method's, stays as it is, or would be refused.

    Args:
        change: {setting: how}. How: `to` a value, or `times` and `plus`, then held between `at_least` and `at_most`;
            of `rewards`: `weigh`, a measure that names the rule whose weight it is.
    """
    table = {parameter.name: parameter for parameter in parameters(values["method"])}
    found: dict[str, Any] = {}
    for name, how in change.items():
        if name not in table or name not in values or not table[name].applies_to(values):
            return None
        new = _weighed(values[name], how, known) if "weigh" in how else _moved(values[name], how)
        if new is None or new == values[name] or find_fault(table[name], new):
            return None
        found[name] = new
    whole = {name: parameter.default for name, parameter in table.items()} | dict(values) | found
    return None if clashes(whole) else found


def _moved(value: Any, how: Mapping[str, Any]) -> Any:
    if "to" in how:
        return how["to"]
    new = value * how.get("times", 1) + how.get("plus", 0)
    if isinstance(value, int):
        new = round(new)
    new = max(new, how.get("at_least", new))
    new = min(new, how.get("at_most", new))
    is_as_asked = (new > value) == (how.get("times", 1) > 1 or how.get("plus", 0) > 0)
    return (new if isinstance(value, int) else float(f"{new:.3g}")) if is_as_asked else None


def _weighed(reward: Any, how: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    """The reward with another weight of the rule that a measure names."""
    document = copy.deepcopy(reward)
    entries = document["rewards"] if isinstance(document, dict) else document
    keys = parse(reward).keys
    if known.get(how["weigh"]) not in keys:
        return None
    place = keys.index(known[how["weigh"]])
    rule = entries[place] if isinstance(entries[place], dict) else {"name": entries[place]}
    entries[place] = rule | {"weight": float(f"{rule.get('weight', 1.0) * how['times']:.3g}")}
    return document
