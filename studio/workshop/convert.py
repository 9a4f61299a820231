"""One source row -> one training row, or every reason why not. Pure, explicit, and ours: nothing is cast or dropped.

    {"messages": [{"role": "user", ...}, {"role": "assistant", ...}]} -> [{"role": "user", "content": ...}, ...]
    {"instruction": "Sum", "input": "1 2", "output": "3"}             -> ("Sum\\n\\n1 2", "3")

Numbers stay numbers, so a number where text belongs is a fault and not a string.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from studio.workshop.layout import TrainingRow
from studio.workshop.problems import RowFault, closest, kind_of, shorten
from studio.workshop.readers import parse_row
from studio.workshop.shapes import ALPACA, CHAT, ROLES, SHAREGPT, TURN_KEYS, Mapping, column_of

MAX_FAULTS = 10
"""Faults reported for one row; a person mends it and sees the rest."""


Converted = tuple[TrainingRow | None, list[RowFault]]
Converter = Callable[[Any], Converted]


def converter(shape: str, mapping: Mapping) -> Converter:
    """The function that turns one parsed row of this shape into `(row, [])` or `(None, faults)`."""
    if shape in (CHAT, SHAREGPT):
        part = "messages" if shape == CHAT else "conversations"
        return partial(_conversation, shape, column_of(mapping, part), column_of(mapping, "system"))
    system = column_of(mapping, "system")
    if shape == ALPACA:
        asked = (system, column_of(mapping, "instruction"), column_of(mapping, "input"))
        return partial(_pair, asked, column_of(mapping, "instruction"), column_of(mapping, "output"))
    prompt = column_of(mapping, "prompt")
    return partial(_pair, (system, prompt), prompt, column_of(mapping, "completion"))


def convert_text(text: str, convert: Converter) -> tuple[TrainingRow | None, list[RowFault]]:
    """Parse one row's JSON text and convert it: what an edited row goes through."""
    value, fault = parse_row(text)
    return (None, [fault]) if fault else convert(value)


# -- prompt and completion -----------------------------------------------------------------------------------------


def _pair(asked: tuple[str | None, ...], needed: str, answer: str, row: Any) -> Converted:
    """The columns `asked` make the prompt, a blank line between them; `needed` is the one that must hold text."""
    if not isinstance(row, dict):
        return None, [RowFault("not_object", "", {"found": kind_of(row)})]
    faults: list[RowFault] = []
    parts = [_text(row, column, faults, needed=column == needed) for column in asked if column is not None]
    completion = _text(row, answer, faults, needed=True)
    if not faults and not row[needed].strip():
        faults.append(RowFault("empty_prompt", needed))
    if completion is not None and not completion.strip():
        faults.append(RowFault("empty_answer", answer))
    if faults:
        return None, faults
    return TrainingRow(prompt="\n\n".join(part for part in parts if part), completion=completion), []


def _text(row: dict, column: str, faults: list[RowFault], *, needed: bool) -> str | None:
    value = row.get(column)
    if isinstance(value, str):
        return value
    if value is None and not needed:
        return None
    if column not in row:
        faults.append(_missing(row, column))
    else:
        faults.append(RowFault("wrong_type", column, {"found": kind_of(value), "value": shorten(value)}))
    return None


def _missing(row: dict, column: str) -> RowFault:
    found = shorten(", ".join(map(str, row)) or "{}")
    hint = closest(column, (name for name in row if isinstance(name, str)))
    if hint:
        return RowFault("missing_key_hint", column, {"found_keys": found, "hint": hint})
    return RowFault("missing_key", column, {"found_keys": found})


# -- conversations -------------------------------------------------------------------------------------------------


def _conversation(shape: str, column: str, system_column: str | None, row: Any) -> Converted:
    if not isinstance(row, dict):
        return None, [RowFault("not_object", "", {"found": kind_of(row)})]
    if column not in row:
        return None, [_missing(row, column)]
    turns = row[column]
    if isinstance(turns, str) and turns.lstrip().startswith("["):  # a table's cell can only hold it as text
        turns, _ = parse_row(turns)
    if not isinstance(turns, list):
        found = {"found": kind_of(row[column]), "value": shorten(row[column])}
        return None, [RowFault("not_a_conversation", column, found)]
    faults: list[RowFault] = []
    system = _text(row, system_column, faults, needed=False) if system_column else None
    messages = [{"role": "system", "content": system}] if system else []
    keys = TURN_KEYS[shape]
    for index, turn in enumerate(turns):
        role, content = _turn(turn, index, f"{column}[{index}]", keys, faults)
        messages.append({"role": role, "content": content})
    if not faults:
        _check_order(messages, column, len(messages) - len(turns), faults)
    return (None, faults[:MAX_FAULTS]) if faults else (TrainingRow(messages=messages), [])


def _turn(turn: Any, index: int, place: str, keys: tuple[str, str], faults: list[RowFault]) -> tuple[str, str]:
    """Role and content of one turn; what is wrong with it is added to `faults`."""
    if not isinstance(turn, dict):
        faults.append(RowFault("turn_not_object", place, {"turn": index + 1, "found": kind_of(turn)}))
        return "", ""
    role_key, content_key = _keys_of(turn, keys)
    for key in (role_key, content_key):
        if key not in turn:
            names = {"turn": index + 1, "key": key, "found_keys": shorten(", ".join(map(str, turn)) or "{}")}
            faults.append(RowFault("turn_missing_key", f"{place}.{key}", names))
            return "", ""
    said, content = turn[role_key], turn[content_key]
    role = ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        faults.append(_unknown_role(said, index, f"{place}.{role_key}"))
    if not isinstance(content, str):
        values = {"turn": index + 1, "found": kind_of(content), "value": shorten(content)}
        faults.append(RowFault("non_text_content", f"{place}.{content_key}", values))
    elif not content.strip():
        code = "empty_answer_turn" if role == "assistant" else "empty_turn"
        faults.append(RowFault(code, f"{place}.{content_key}", {"turn": index + 1, "role": shorten(said)}))
    return role or "", content if isinstance(content, str) else ""


def _keys_of(turn: dict, keys: tuple[str, str]) -> tuple[str, str]:
    """The shape's own keys, or the other shape's where a turn plainly uses those."""
    if keys[0] in turn or keys[1] in turn:
        return keys
    return next((other for other in TURN_KEYS.values() if other[0] in turn), keys)


def _unknown_role(said: Any, index: int, place: str) -> RowFault:
    values = {"turn": index + 1, "role": shorten(said)}
    hint = closest(said, ROLES) if isinstance(said, str) else None
    return (
        RowFault("unknown_role_hint", place, values | {"hint": hint})
        if hint
        else RowFault("unknown_role", place, values)
    )


def _check_order(messages: list[dict[str, str]], column: str, offset: int, faults: list[RowFault]) -> None:
    """Who speaks when. Chat templates refuse, or silently mangle, what is reported here.

    `offset` is the number of messages in front that are not turns of `column`.
    """
    if not messages[offset:]:
        faults.append(RowFault("no_messages", column))
        return
    previous = ""
    for index, message in enumerate(messages):
        role, turn = message["role"], index - offset
        if role == "system" and index:
            faults.append(RowFault("system_not_first", f"{column}[{turn}]", {"turn": turn + 1}))
        if role == previous and role in ("user", "assistant"):
            values = {"turn": turn, "next": turn + 1, "role": role}
            faults.append(RowFault("same_role_twice", f"{column}[{turn}]", values))
        previous = role
    roles = {message["role"] for message in messages}
    if "assistant" not in roles:
        faults.append(RowFault("no_assistant", column))
    elif previous != "assistant":
        values = {"turn": len(messages) - offset, "role": previous}
        faults.append(RowFault("last_not_assistant", f"{column}[{len(messages) - offset - 1}]", values))
    if "user" not in roles:
        faults.append(RowFault("no_user", column))
