"""The columns of a data set version: which trained columns each format has, and how rows become Arrow arrays.

    [{"role": "user", "content": "Hi"}, ...]
        ->  list<struct<role, content, name, weight, tool_calls, tool_call_id, reasoning_content>>

Every rows.parquet has `row`, the trained columns of its format, then `extra`, `category`, `split`, `origin`, `raw`.
pyarrow is imported where it is used: the server starts without it.
"""

import json
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import msgspec

MESSAGES, PROMPT_COMPLETION, PREFERENCE, UNPAIRED = "messages", "prompt_completion", "preference", "unpaired"
STEPWISE, PROMPT, TEXT, TOKENS = "stepwise", "prompt", "text", "tokens"

TRAINED_COLUMNS = MappingProxyType(
    {
        MESSAGES: ("messages", "tools"),
        PROMPT_COMPLETION: ("prompt", "completion"),
        PREFERENCE: ("prompt", "chosen", "rejected"),
        UNPAIRED: ("prompt", "completion", "label"),
        STEPWISE: ("prompt", "completions", "labels"),
        PROMPT: ("prompt",),
        TEXT: ("text",),
        TOKENS: ("input_ids", "labels"),
    }
)
"""trl type -> the columns that training reads."""

FORMATS = tuple(TRAINED_COLUMNS)
KEPT_COLUMNS = ("extra", "category", "split", "origin", "raw")
"""What every format has behind its trained columns."""
SPLITS = ("train", "validation", "test")
REASONING = "reasoning_content"
"""What a model thinks before it answers, in the name by which most chat templates read it."""
BESIDE_CONTENT = ("name", "weight", "tool_calls", "tool_call_id", REASONING)
"""What a turn may hold besides who speaks and what; null where it does not."""
ADDED_LATER = frozenset({REASONING})
"""Of those, what versions of layout 2 did not have at first: where it is empty a content hash is what it was."""

_TURNS, _JSON = "turns", "json"
_KINDS = MappingProxyType(
    {
        (MESSAGES, "messages"): _TURNS,
        (MESSAGES, "tools"): _JSON,
        **{(PREFERENCE, column): _TURNS for column in ("prompt", "chosen", "rejected")},
        **{(UNPAIRED, column): _TURNS for column in ("prompt", "completion")},
        (UNPAIRED, "label"): "boolean",
        (STEPWISE, "completions"): "texts",
        (STEPWISE, "labels"): "booleans",
        (PROMPT, "prompt"): _TURNS,
        (TOKENS, "input_ids"): "integers",
        (TOKENS, "labels"): "integers",
    }
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

ROLES = ("system", "user", "assistant", "tool")
_ROLE_CODES = {role: code for code, role in enumerate(ROLES)}
_ALWAYS = frozenset(("role", "content"))

Turn = dict[str, Any]
"""`role` and `content`, and those of `BESIDE_CONTENT` that there are; `weight` is 0 or 1."""


class TrainingRow(msgspec.Struct, frozen=True, kw_only=True):
    """What training gets of one row: the trained columns of its format; the others are None."""

    messages: list[Turn] | None = None
    tools: list[Any] | None = None
    prompt: str | list[Turn] | None = None
    completion: str | list[Turn] | None = None
    chosen: list[Turn] | None = None
    rejected: list[Turn] | None = None
    label: bool | None = None
    completions: list[str] | None = None
    labels: list[Any] | None = None
    text: str | None = None
    input_ids: list[int] | None = None
    extra: dict[str, Any] | None = None
    """Source columns that no part took."""
    category: str | None = None


class Row(TrainingRow, frozen=True, kw_only=True):
    """One row of a version: what training gets, beside the source row as JSON text."""

    row: int
    """Stable number within the data set: that of the source row, or one above all others for a new row."""
    raw: str = ""
    split: str | None = None
    """train, validation, test or None: not split."""
    origin: str | None = None
    """How a row that the source does not have came to be, such as `augment:synonyms:17`."""


def trained(row: TrainingRow, format: str) -> dict[str, Any]:
    """The trained columns of a row, without those that it does not have."""
    return {name: value for name in TRAINED_COLUMNS[format] if (value := getattr(row, name)) is not None}


def spoken(row: TrainingRow, format: str) -> list[tuple[str, list[Turn]]]:
    """Every text of a row as turns, column by column: what a page shows of a row of any format.

    `{"prompt": "Hi", "completion": "Hello"}` -> `[("prompt", [user: Hi]), ("completion", [assistant: Hello])]`
    """
    roles = {"prompt": "user", "text": "text"}
    shown = []
    for name, value in trained(row, format).items():
        role = roles.get(name, "assistant")
        if isinstance(value, str):
            shown.append((name, [{"role": role, "content": value}]))
        elif name == "completions":
            shown.append((name, [{"role": role, "content": text} for text in value]))
        elif _KINDS.get((format, name)) == _TURNS:
            shown.append((name, value))
    return shown


# -- schema --------------------------------------------------------------------------------------------------------


def turn_type() -> Any:
    import pyarrow

    names = ("role", "content", *BESIDE_CONTENT)
    return pyarrow.struct([(name, pyarrow.int8() if name == "weight" else pyarrow.string()) for name in names])


def schema(format: str) -> Any:
    """The Arrow schema of rows.parquet."""
    import pyarrow

    types = {
        _TURNS: lambda: pyarrow.list_(turn_type()),
        "boolean": pyarrow.bool_,
        "texts": lambda: pyarrow.list_(pyarrow.string()),
        "booleans": lambda: pyarrow.list_(pyarrow.bool_()),
        "integers": lambda: pyarrow.list_(pyarrow.int64()),
    }
    columns = [(name, types.get(_KINDS.get((format, name)), pyarrow.string)()) for name in TRAINED_COLUMNS[format]]
    return pyarrow.schema([("row", pyarrow.int64()), *columns, *((name, pyarrow.string()) for name in KEPT_COLUMNS)])


# -- rows to arrays ------------------------------------------------------------------------------------------------


class Turns:
    """A column of conversations, laid out flat: several times faster than handing Arrow lists of dicts."""

    def __init__(self) -> None:
        self._ends = [0]
        self._roles = bytearray()
        """Places in ROLES, one a turn."""
        self._contents: list[str] = []
        self._others: dict[str, dict[int, Any]] = {}

    def add(self, turns: list[Turn] | None) -> None:
        for turn in turns or ():
            for key in turn.keys() - _ALWAYS:
                self._others.setdefault(key, {})[len(self._roles)] = turn[key]
            self._roles.append(_ROLE_CODES[turn["role"]])
            self._contents.append(turn["content"])
        self._ends.append(len(self._roles))

    def add_plain(self, roles: Iterable[bytes], contents: Iterable[str]) -> None:
        """Conversations of nothing but who speaks (`role_codes`, one item each) and what (all their turns)."""
        for said in roles:
            self._roles += said
            self._ends.append(len(self._roles))
        self._contents += contents

    def array(self) -> Any:
        import pyarrow

        kind = turn_type()
        known = {
            "role": pyarrow.array(ROLES).take(pyarrow.array(memoryview(self._roles), pyarrow.uint8())),
            "content": pyarrow.array(self._contents, pyarrow.string()),
        }
        fields = [known[field.name] if field.name in known else self._other(field) for field in kind]
        items = pyarrow.StructArray.from_arrays(fields, fields=list(kind))
        return pyarrow.ListArray.from_arrays(pyarrow.array(self._ends, pyarrow.int32()), items)

    def _other(self, field: Any) -> Any:
        import pyarrow

        known = self._others.get(field.name)
        if not known:
            return pyarrow.nulls(len(self._roles), field.type)
        values = [known.get(index) for index in range(len(self._roles))]
        return pyarrow.array(map(json_text, values) if field.name == "tool_calls" else values, field.type)


class Values:
    """A column of plain values; objects become JSON text. Rows that say nothing of it hold null."""

    def __init__(self, kind: Any, *, as_json: bool = False) -> None:
        self._kind = kind
        self._as_json = as_json
        self._places: list[int] = []
        self._values: list[Any] = []

    def put(self, place: int, value: Any) -> None:
        """The value of the batch's row number `place`, from 0; places rise."""
        if value is not None:
            self._places.append(place)
            self._values.append(value)

    def array(self, count: int) -> Any:
        import pyarrow

        values = map(json_text, self._values) if self._as_json else self._values
        if len(self._places) == count:
            return pyarrow.array(values, self._kind, size=count)
        if not self._places:
            return pyarrow.nulls(count, self._kind)
        whole: list[Any] = [None] * count
        for place, value in zip(self._places, values, strict=True):
            whole[place] = value
        return pyarrow.array(whole, self._kind)


def columns_for(format: str, arrow_schema: Any) -> dict[str, Turns | Values]:
    """Empty columns of one batch, by name: all but `row`."""
    return {
        field.name: Turns()
        if _KINDS.get((format, field.name)) == _TURNS
        else Values(field.type, as_json=field.name in ("tools", "extra"))
        for field in arrow_schema
        if field.name != "row"
    }


def role_codes(roles: Iterable[str]) -> bytes:
    """Speakers as `Turns.add_plain` takes them."""
    return bytes(_ROLE_CODES[role] for role in roles)


def json_text(value: Any) -> str | None:
    """Compact JSON text, as the source had it; null for nothing."""
    if value is None:
        return None
    try:
        return _encode(value).decode()
    except (OverflowError, TypeError):  # numbers beyond 64 bits, or what only a spreadsheet or Parquet can hold
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


# -- lines of the table to rows ------------------------------------------------------------------------------------


def row_of(line: dict[str, Any], format: str) -> dict[str, Any]:
    """A line as Parquet gives it -> the fields of a `Row`: nulls left out, JSON text read."""
    fields = {name: value for name, value in line.items() if value is not None}
    for name in fields.keys() & {"tools", "extra"}:
        fields[name] = _decode(fields[name])
    for name in TRAINED_COLUMNS[format]:
        if name in fields and _KINDS.get((format, name)) == _TURNS:
            fields[name] = [_turn(turn) for turn in fields[name]]
    return fields


def _turn(turn: dict[str, Any]) -> Turn:
    made = {key: value for key, value in turn.items() if value is not None}
    if "tool_calls" in made:
        made["tool_calls"] = _decode(made["tool_calls"])
    return made
