"""Several values of some settings: read from what a person types, multiplied into one spec a run.

values_of(learning_rate, "1e-4, 2e-4")                           ->  [0.0001, 0.0002]
combinations({"learning_rate": [1e-4, 2e-4], "lora_r": [8, 16]}) ->  four dicts, the last setting changing first
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import Fault, RefusedInput
from studio.params.table import Parameter, convert, find_fault

MOST_RUNS = 64
"""Of one grid: more is a slip of the keyboard more often than a plan."""
NOT_TRIED = ("method", "dataset", "model_name_or_path", "run_name", "goal")
"""What a grid does not vary: these make other runs, not the same one with another setting."""
# The full-width comma, enumeration comma and semicolon are what a Chinese keyboard gives.
_BETWEEN = re.compile("[,;\uff0c\u3001\uff1b]")


def can_be_tried(parameter: Parameter) -> bool:
    """Whether a list of values can be typed for it: a list of words already holds commas."""
    return parameter.name not in NOT_TRIED and parameter.type in ("int", "float", "bool", "choice")


def values_of(parameter: Parameter, typed: str, language: str = "en") -> list[Any]:
    """The values in a line of text, each once, in their order; choices by name or by their words.

    Raises:
        RefusedInput: one of them is no value of this setting.
    """
    words = {each.label(language).casefold(): each.value for each in parameter.choices}
    found: list[Any] = []
    for part in filter(None, (each.strip() for each in _BETWEEN.split(typed))):
        text = words.get(part.casefold(), part)
        fault = find_fault(parameter, text)
        if fault is not None:
            raise RefusedInput("grid.value", value=part, setting=parameter.label(language), why=_why(fault, language))
        value = convert(parameter, text)
        if value not in found:
            found.append(value)
    return found


def combinations(tried: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every choice of one value a setting.

    Raises:
        RefusedInput: nothing is varied, or there are more than `MOST_RUNS`.
    """
    lists = {name: list(values) for name, values in tried.items() if values}
    count = 1
    for values in lists.values():
        count *= len(values)
    if count < 2:
        raise RefusedInput("grid.one")
    if count > MOST_RUNS:
        raise RefusedInput("grid.many", count=count, most=MOST_RUNS)
    return [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]


def _why(fault: Fault, language: str) -> str:
    return fault.message(language)
