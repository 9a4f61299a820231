"""The turns of a conversation as sources write them -> turns as chat templates read them, and who may speak when.

    {"from": "human", "value": "Hi"}                                 -> {"role": "user", "content": "Hi"}
    {"role": "developer", "content": [{"type": "text", "text": "S"}]} -> {"role": "system", "content": "S"}
    {"from": "function_call", "value": '{"name": "f", "arguments": {}}'} -> {"role": "assistant", "tool_calls": [...]}

Nothing is cast: a number for a text is a fault. What cannot be read is added to `faults`, and reading goes on.
"""

from typing import Any

from studio.workshop.converting.dialogue import unread_in
from studio.workshop.converting.shapes import CALL_SPEAKER, CHAT, ROLES, TURN_KEYS
from studio.workshop.problems import RowFault, closest, kind_of, shorten
from studio.workshop.reading.jsontext import parse_row
from studio.workshop.versions.layout import REASONING, Turn

REASONING_KEYS = (REASONING, "thinking", "reasoning")
"""How sources name what an assistant thinks before it answers: OpenAI's servers' way, gpt-oss's, OpenRouter's."""
_READ_KEYS = frozenset(
    ("role", "content", "from", "value", "name", "weight", "tool_calls", "function_call", "tool_call_id")
) | {*REASONING_KEYS}
MAX_UNREAD_KEYS = 20
"""So many keys that training does not read are named, the most frequent ones."""
_PARTS_OF_TURNS = frozenset(("messages", "conversations", "prompt", "completion", "chosen", "rejected"))


def listed(value: Any) -> Any:
    """A list or an object in a table's cell, which can only hold it as JSON text; any other value as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        read, fault = parse_row(value)
        return value if fault else read
    return value


def read_turns(turns: list[Any], place: str, faults: list[RowFault], keys: tuple[str, str]) -> list[Turn]:
    """Every turn of a list; `place` is the list's own."""
    return [_turn(turn, index, f"{place}[{index}]", keys, faults) for index, turn in enumerate(turns)]


def speakers_of(row: Any, column: str | None) -> set[str]:
    """Who speaks in a row, as the source spells it."""
    turns = row.get(column) if isinstance(row, dict) else None
    said = (
        (turn.get("role", turn.get("from")) for turn in turns if isinstance(turn, dict))
        if isinstance(turns, list)
        else ()
    )
    return {speaker for speaker in said if isinstance(speaker, str)}


def unread_keys(row: Any, columns: dict[str, str]) -> set[str]:
    """Keys of a row's turns that say something which training never reads: `{"id": 7, "role": ...}` -> `{"id"}`.

    `columns` is the mapping, column -> part.
    """
    if not isinstance(row, dict):
        return set()
    held = (listed(row.get(column)) for column, part in columns.items() if part in _PARTS_OF_TURNS)
    turns = (turn for value in held for turn in _listed_turns(value))
    unread = {
        key for turn in turns for key, value in turn.items() if value not in (None, "", [], {}) and _unread(key, value)
    }
    return unread.union(*(unread_in(listed(row.get(each))) for each, part in columns.items() if part == "dialogue"))


def _listed_turns(value: Any) -> list[dict]:
    """The turns in a column, wherever sources put them."""
    if isinstance(value, dict):
        value = value["messages"] if isinstance(value.get("messages"), list) else [value]
    return [turn for turn in value if isinstance(turn, dict)] if isinstance(value, list) else []


def _unread(key: str, value: Any) -> bool:
    return key not in _READ_KEYS or key in REASONING_KEYS and not isinstance(value, str)


def read_pairs(pairs: list[Any], place: str, faults: list[RowFault]) -> list[Turn]:
    """`[["Hi", "Hello"], ...]` -> user: Hi, assistant: Hello, ..."""
    turns: list[Turn] = []
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            values = {"turn": index + 1, "found": kind_of(pair), "value": shorten(pair)}
            faults.append(RowFault("pair_not_two", f"{place}[{index}]", values))
            continue
        for side, (role, text) in enumerate(zip(("user", "assistant"), pair, strict=True)):
            said = {"role": role, "content": text}
            turns.append(_content_checked(said, role, 2 * index + side, f"{place}[{index}][{side}]", faults))
    return turns


def _turn(turn: Any, index: int, place: str, keys: tuple[str, str], faults: list[RowFault]) -> Turn:
    if not isinstance(turn, dict):
        faults.append(RowFault("turn_not_object", place, {"turn": index + 1, "found": kind_of(turn)}))
        return {"role": "", "content": ""}
    role_key, content_key = _keys_of(turn, keys)
    calls = _calls(turn, index, place, content_key, role_key, faults)
    for key in (role_key, content_key):
        if key not in turn and not (calls and key == content_key):
            names = {"turn": index + 1, "key": key, "found_keys": shorten(", ".join(map(str, turn)) or "{}")}
            faults.append(RowFault("turn_missing_key", f"{place}.{key}", names))
            return {"role": "", "content": ""}
    said = turn[role_key]
    role = ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        faults.append(_unknown_role(said, index, f"{place}.{role_key}"))
    made = {"role": role or "", "content": turn.get(content_key)}
    if calls is not None:
        made |= {"tool_calls": calls, "content": "" if said == CALL_SPEAKER else made["content"] or ""}
    if calls is None or not isinstance(made["content"], str):  # a turn that calls a tool need not say anything
        made = _content_checked(made, said, index, f"{place}.{content_key}", faults)
    return made | _marks(turn, index, place, faults)


def _keys_of(turn: dict, keys: tuple[str, str]) -> tuple[str, str]:
    """The shape's own keys, or the other shape's where a turn plainly uses those."""
    if keys[0] in turn or keys[1] in turn:
        return keys
    return next((other for other in TURN_KEYS.values() if other[0] in turn), keys)


def _content_checked(made: Turn, said: Any, index: int, place: str, faults: list[RowFault]) -> Turn:
    """The turn with its content as one text; parts of type text are put together."""
    content = _joined_parts(made["content"])
    values: dict[str, Any] = {"turn": index + 1}
    if isinstance(content, RowFault):
        faults.append(RowFault(content.code, place + content.field, values | content.values))
        content = ""
    elif not isinstance(content, str):
        faults.append(
            RowFault("non_text_content", place, values | {"found": kind_of(content), "value": shorten(content)})
        )
        content = ""
    elif not content.strip():
        code = "empty_answer_turn" if made["role"] == "assistant" else "empty_turn"
        faults.append(RowFault(code, place, values | {"role": shorten(said)}))
    return made | {"content": content}


def _joined_parts(content: Any) -> Any:
    """`[{"type": "text", "text": "Hi"}]` -> `"Hi"`; other content as it is; a fault for a part that is no text."""
    if not isinstance(content, list) or not content or not all(isinstance(part, dict) for part in content):
        return content
    for index, part in enumerate(content):
        if part.get("type", "text") not in ("text", "input_text", "output_text"):
            return RowFault("non_text_part", f"[{index}]", {"value": shorten(part.get("type"))})
        if not isinstance(part.get("text"), str):
            text = part.get("text")
            return RowFault("non_text_content", f"[{index}].text", {"found": kind_of(text), "value": shorten(text)})
    return "".join(part["text"] for part in content)


def _unknown_role(said: Any, index: int, place: str) -> RowFault:
    values = {"turn": index + 1, "role": shorten(said)}
    hint = closest(said, ROLES) if isinstance(said, str) else None
    if hint:
        return RowFault("unknown_role_hint", place, values | {"hint": hint})
    return RowFault("unknown_role", place, values)


# -- what a turn may hold besides ----------------------------------------------------------------------------------


def _marks(turn: dict, index: int, place: str, faults: list[RowFault]) -> Turn:
    """What a turn holds beside its text, checked; null counts as not there."""
    marks: Turn = {}
    for key in ("name", "tool_call_id"):
        value = turn.get(key)
        if isinstance(value, str):
            marks[key] = value
        elif value is not None:
            faults.append(RowFault("wrong_type", f"{place}.{key}", {"found": kind_of(value), "value": shorten(value)}))
    weight = turn.get("weight")
    if weight is not None:
        if isinstance(weight, bool) or weight not in (0, 1):
            faults.append(RowFault("wrong_weight", f"{place}.weight", {"turn": index + 1, "value": shorten(weight)}))
        else:
            marks["weight"] = int(weight)
    thought = next((said for key in REASONING_KEYS if isinstance(said := turn.get(key), str) and said.strip()), None)
    return marks if thought is None else marks | {REASONING: thought}


def _calls(
    turn: dict, index: int, place: str, content_key: str, role_key: str, faults: list[RowFault]
) -> list[Any] | None:
    """The tool calls of a turn in OpenAI's form, from any of the three ways to write them; None if it has none."""
    if turn.get(role_key) == CALL_SPEAKER:
        key, calls = content_key, listed(turn.get(content_key))
        calls = calls if isinstance(calls, list) else [calls]
    elif turn.get("tool_calls"):
        key, calls = "tool_calls", listed(turn["tool_calls"])
    elif turn.get("function_call"):
        key, calls = "function_call", [listed(turn["function_call"])]
    else:
        return None
    made = [_call(call) for call in calls] if isinstance(calls, list) else [None]
    if None in made:
        found = {"turn": index + 1, "value": shorten(turn.get(key))}
        faults.append(RowFault("broken_tool_call", f"{place}.{key}", found))
        return []
    return made


def _call(call: Any) -> dict[str, Any] | None:
    """`{"name", "arguments"}`, bare or under `function`, with arguments as an object or as its JSON text."""
    if not isinstance(call, dict):
        return None
    function = call.get("function", call)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return None
    arguments = listed(function.get("arguments", {}))
    if not isinstance(arguments, dict) and arguments not in ("", None):
        return None
    made = {"type": "function", "function": {"name": function["name"], "arguments": arguments or {}}}
    return made | ({"id": call["id"]} if isinstance(call.get("id"), str) else {})


def read_tools(value: Any, place: str, faults: list[RowFault]) -> list[Any] | None:
    """Tool descriptions as a list in OpenAI's form; they may come as JSON text, and bare."""
    tools = listed(value)
    if tools in (None, "", []):
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        faults.append(RowFault("broken_tools", place, {"found": kind_of(value), "value": shorten(value)}))
        return None
    return [_tool(tool) for tool in tools]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": tool} if "name" in tool and "function" not in tool else tool


# -- who speaks when -----------------------------------------------------------------------------------------------


def check_order(messages: list[Turn], column: str, offset: int, faults: list[RowFault]) -> None:
    """Who speaks when in a conversation to learn from. Chat templates refuse, or silently mangle, what is named here.

    `offset` is the number of messages in front that are not turns of `column`.
    """
    if not messages[offset:]:
        faults.append(RowFault("no_messages", column))
        return
    check_turns(messages, column, offset, faults)
    roles = {message["role"] for message in messages}
    last = messages[-1]["role"]
    if "assistant" not in roles:
        faults.append(RowFault("no_assistant", column))
    elif last != "assistant":
        values = {"turn": len(messages) - offset, "role": last}
        faults.append(RowFault("last_not_assistant", f"{column}[{len(messages) - offset - 1}]", values))
    elif all(message.get("weight") == 0 for message in messages if message["role"] == "assistant"):
        faults.append(RowFault("nothing_to_learn", column))
    if "user" not in roles:
        faults.append(RowFault("no_user", column))


def check_turns(messages: list[Turn], column: str, offset: int, faults: list[RowFault]) -> None:
    """Two turns that may not follow one another."""
    previous = ""
    for index, message in enumerate(messages):
        role, turn = message["role"], index - offset
        if role == "system" and index:
            faults.append(RowFault("system_not_first", f"{column}[{turn}]", {"turn": turn + 1}))
        if role == previous and role in ("user", "assistant"):
            values = {"turn": turn, "next": turn + 1, "role": role}
            faults.append(RowFault("same_role_twice", f"{column}[{turn}]", values))
        previous = role


def check_prompt(messages: list[Turn], column: str, faults: list[RowFault]) -> None:
    """A prompt asks: somebody other than the assistant speaks last."""
    if not messages:
        faults.append(RowFault("no_messages", column))
        return
    check_turns(messages, column, 0, faults)
    if messages[-1]["role"] == "assistant":
        faults.append(RowFault("prompt_ends_with_answer", column))
    elif all(message["role"] not in ("user", "tool") for message in messages):
        faults.append(RowFault("no_user", column))


KEYS = TURN_KEYS[CHAT]
