"""The mended text of a row, where one thing was certainly meant: what the page offers as a suggestion.

    unknown speaker "hummany" at messages[0].role, hint "human"  -> the row with "human" there
    no "prompt", but "promt"                                     -> the row with that key renamed
    a number where text belongs                                  -> the number in quotation marks
    a cut-off line                                               -> the line completed

A suggestion is never applied without a person's word. Whether the mended row is free of faults is told by reading it
like any edited row.
"""

import json
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from studio.workshop.converting.dialogue import without_empty
from studio.workshop.problems import Problem
from studio.workshop.reading.jsontext import parse_row
from studio.workshop.reading.repair import propose_repair

_STEP = re.compile(r"\[(\d+)\]|\.([^.\[]+)")
_LAST_STEP = re.compile(rf"(?:{_STEP.pattern})$")
_Place = tuple[Any, Any]
"""A container, and the key or index within it."""


def suggested_fix(problem: Problem) -> str | None:
    """The row's JSON text with this one fault mended; None where nothing is certain enough."""
    mend = _MENDING.get(problem.code)
    if mend is None:
        return propose_repair(problem.raw)
    row, fault = parse_row(problem.raw)
    if fault or not isinstance(row, dict):
        return None
    mended = mend(row, problem)
    return None if mended is None else json.dumps(mended, ensure_ascii=False)


def _replace_speaker(row: dict, problem: Problem) -> dict | None:
    place = _find(row, problem.field)
    if place is None:
        return None
    container, key = place
    container[key] = problem.values["hint"]
    return row


def _rename_key(row: dict, problem: Problem) -> dict | None:
    hint = problem.values["hint"]
    if hint not in row or problem.field in row:
        return None
    return {problem.field if key == hint else key: value for key, value in row.items()}


def _quote(row: dict, problem: Problem) -> dict | None:
    place = _find(row, problem.field)
    if place is None:
        return None
    container, key = place
    value = container[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    container[key] = json.dumps(value)
    return row


def _drop_empty_system(row: dict, problem: Problem) -> dict | None:
    """An empty system message says nothing; any other empty message was meant to say something."""
    if problem.values.get("role") not in ("system", "developer"):
        return None
    return _drop(row, problem.field.rpartition(".")[0])


def _drop_empty_messages(row: dict, problem: Problem) -> dict | None:
    """In a chat of two people a message without a word adds nothing to what its sender says."""
    field = problem.field
    while (place := _find(row, field)) and place[0] is not row:
        field = _LAST_STEP.sub("", field)
    return row | {place[1]: without_empty(row[place[1]])} if place else None


def _drop_last(row: dict, problem: Problem) -> dict | None:
    """Everything from the named place on; in a list of lists, of the outer one too."""
    place = _find(row, problem.field)
    if place is None or not isinstance(place[0], list):
        return None
    turns, index = place
    outer = _find(row, problem.field.rpartition("[")[0])
    del turns[index:]
    if outer and isinstance(outer[0], list):
        after = outer[1] + bool(turns)
        turns = outer[0]
        del turns[after:]
    return row if sum(len(turn) if isinstance(turn, list) else 1 for turn in turns) > 1 else None


def _drop(row: dict, field: str) -> dict | None:
    place = _find(row, field)
    if place is None or not isinstance(place[0], list) or len(place[0]) < 3:
        return None
    container, index = place
    del container[index]
    return row


_MENDING: MappingProxyType[str, Callable[[dict, Problem], dict | None]] = MappingProxyType(
    {
        "unknown_role_hint": _replace_speaker,
        "missing_key_hint": _rename_key,
        "wrong_type": _quote,
        "non_text_content": _quote,
        "empty_turn": _drop_empty_system,
        "last_not_assistant": _drop_last,
        "empty_message": _drop_empty_messages,
    }
)


def _find(row: dict, field: str) -> _Place | None:
    """The place that a fault names: `messages[0].role` -> (the first turn, "role"). Keys may hold dots themselves."""
    for key in sorted((key for key in row if field.startswith(key)), key=len, reverse=True):
        rest = field[len(key) :]
        steps = [int(index) if index else name for index, name in _STEP.findall(rest)]
        if _STEP.sub("", rest):
            continue
        place = _walk(row, [key, *steps])
        if place:
            return place
    return None


def _walk(value: Any, steps: list[Any]) -> _Place | None:
    for step in steps[:-1]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    last = steps[-1]
    is_there = last in value if isinstance(value, dict) else isinstance(value, list) and last in range(len(value))
    return (value, last) if is_there else None
