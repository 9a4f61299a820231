"""The four shapes that source rows come in, and how a row shows its own: names of columns, roles and turns.

    chat               {"messages": [{"role": ..., "content": ...}]}             -> messages
    sharegpt           {"conversations": [{"from": ..., "value": ...}]}          -> messages
    alpaca             {"instruction", "input"?, "output", "system"?}            -> prompt_completion
    prompt_completion  {"prompt", "completion", "system"?} and its aliases       -> prompt_completion

A mapping says which of a row's columns plays which part: `{"question": "prompt", "answer": "completion"}`.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from studio.errors import RefusedInput
from studio.workshop.problems import closest

CHAT, SHAREGPT, ALPACA, PROMPT_COMPLETION = "chat", "sharegpt", "alpaca", "prompt_completion"
SHAPES = (CHAT, SHAREGPT, ALPACA, PROMPT_COMPLETION)

MESSAGES_FORMAT, PROMPT_COMPLETION_FORMAT = "messages", "prompt_completion"
FORMAT_OF_SHAPE = MappingProxyType(
    {
        CHAT: MESSAGES_FORMAT,
        SHAREGPT: MESSAGES_FORMAT,
        ALPACA: PROMPT_COMPLETION_FORMAT,
        PROMPT_COMPLETION: PROMPT_COMPLETION_FORMAT,
    }
)

REQUIRED_PARTS = MappingProxyType(
    {
        CHAT: ("messages",),
        SHAREGPT: ("conversations",),
        ALPACA: ("instruction", "output"),
        PROMPT_COMPLETION: ("prompt", "completion"),
    }
)
OPTIONAL_PARTS = MappingProxyType(
    {CHAT: (), SHAREGPT: ("system",), ALPACA: ("input", "system"), PROMPT_COMPLETION: ("system",)}
)

ROLES = MappingProxyType(
    {
        "system": "system",
        "developer": "system",
        "user": "user",
        "human": "user",
        "assistant": "assistant",
        "gpt": "assistant",
        "chatgpt": "assistant",
        "bot": "assistant",
        "model": "assistant",
        "tool": "tool",
        "function": "tool",
        "observation": "tool",
    }
)
"""A speaker as sources spell it -> as chat templates do."""

TURN_KEYS = MappingProxyType({CHAT: ("role", "content"), SHAREGPT: ("from", "value")})

_CONVERSATION_COLUMNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat")
_ALPACA_ANSWERS = ("output", "response", "answer", "completion", "输出", "回答")
_INSTRUCTIONS = ("instruction", "instructions", "指令")
_ALPACA_INPUTS = ("input", "context", "输入")
_SYSTEMS = ("system", "system_prompt", "系统提示")
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("question", "answer"),
    ("question", "response"),
    ("question", "output"),
    ("query", "response"),
    ("query", "answer"),
    ("query", "output"),
    ("input", "output"),
    ("input", "response"),
    ("user", "assistant"),
    ("user", "bot"),
    ("human", "assistant"),
    ("human", "gpt"),
    ("request", "response"),
    ("source", "target"),
    ("input", "target"),
    ("q", "a"),
    ("问题", "答案"),
    ("问题", "回答"),
    ("提问", "回答"),
    ("问", "答"),
    ("输入", "输出"),
)

Mapping = dict[str, str]


def shape_of(row: Any) -> tuple[str, Mapping] | None:
    """The shape of one row and the mapping of its columns; None if it shows none."""
    if not isinstance(row, dict):
        return None
    names = {name.strip().lower(): name for name in row if isinstance(name, str)}
    return _conversation(row, names) or _alpaca(names) or _pair(names)


def checked_mapping(shape: str, columns: Mapping | None, *, file: str) -> Mapping:
    """The mapping to convert with: `columns` if it names every part that the shape needs, its own names if None.

    Raises:
        RefusedInput: unknown shape, unknown part, a needed part without a column, or two columns for one part.
    """
    if shape not in SHAPES:
        raise RefusedInput(
            "data.unknown_shape", shape=shape, known=", ".join(SHAPES), hint=closest(shape, SHAPES) or "chat"
        )
    parts = REQUIRED_PARTS[shape] + OPTIONAL_PARTS[shape]
    if not columns:
        return {part: part for part in parts}
    chosen = list(columns.values())
    for column, part in columns.items():
        if part not in parts:
            raise RefusedInput("data.unknown_part", file=file, column=column, part=part, known=", ".join(parts))
        if chosen.count(part) > 1:
            raise RefusedInput("data.part_twice", file=file, part=part)
    missing = [part for part in REQUIRED_PARTS[shape] if part not in chosen]
    if missing:
        raise RefusedInput("data.part_missing", file=file, parts=", ".join(missing), shape=shape)
    return dict(columns)


def column_of(mapping: Mapping, part: str) -> str | None:
    """The column that plays `part`."""
    return next((column for column, its_part in mapping.items() if its_part == part), None)


def _conversation(row: dict, names: dict[str, str]) -> tuple[str, Mapping] | None:
    for wanted in _CONVERSATION_COLUMNS:
        column = names.get(wanted)
        shape = _turn_shape(row[column]) if column else None
        if shape:
            mapping = {column: REQUIRED_PARTS[shape][0]}
            return shape, mapping | (_optional(names, _SYSTEMS, "system") if shape == SHAREGPT else {})
    return None


def _turn_shape(turns: Any) -> str | None:
    """Which keys the turns of a conversation use, told by the first turn that shows it."""
    if isinstance(turns, str) and turns.lstrip().startswith("["):  # a conversation as JSON text in a table's cell
        return SHAREGPT if '"from"' in turns and '"role"' not in turns else CHAT
    if not isinstance(turns, list):
        return None
    for turn in turns:
        for shape, keys in TURN_KEYS.items():
            if isinstance(turn, dict) and any(key in turn for key in keys):
                return shape
    return None


def _alpaca(names: dict[str, str]) -> tuple[str, Mapping] | None:
    instruction, answer = _first(names, _INSTRUCTIONS), _first(names, _ALPACA_ANSWERS)
    if not instruction or not answer:
        return None
    mapping = {instruction: "instruction", answer: "output"}
    return ALPACA, mapping | _optional(names, _ALPACA_INPUTS, "input") | _optional(names, _SYSTEMS, "system")


def _pair(names: dict[str, str]) -> tuple[str, Mapping] | None:
    for prompt, completion in _PAIRS:
        if prompt in names and completion in names:
            mapping = {names[prompt]: "prompt", names[completion]: "completion"}
            return PROMPT_COMPLETION, mapping | _optional(names, _SYSTEMS, "system")
    return None


def _first(names: dict[str, str], wanted: Iterable[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _optional(names: dict[str, str], wanted: Iterable[str], part: str) -> Mapping:
    column = _first(names, wanted)
    return {column: part} if column else {}
