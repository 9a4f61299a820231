"""Good rows of the common shapes, read and checked in one go: some three times as fast as `convert.py`.

    quick_reader("chat", {"messages": "messages"}, ["messages", "id"]).read([line, ...])
        -> QuickRow(roles=(user, assistant), contents=["Hi", "Hello"], extra={"id": 7}), ...
        -> None: let `convert.py` look at the row, which finds the faults, or the rarer forms

A row is read here only if it holds nothing but what is expected, each of its type: then what is trained tells the
source row (`plain.py`), and it need not be stored, unless several columns were put together. Whatever passes here
passes there with the same result.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from studio.workshop.converting.plain import SHAREGPT_SPEAKERS
from studio.workshop.converting.raw_lines import are_decodable, has_strings, strings_and_levels
from studio.workshop.converting.shapes import (
    ALPACA,
    CATEGORY,
    CHAT,
    PROMPT_COMPLETION,
    REQUIRED_PARTS,
    SHAREGPT,
    Mapping,
    column_of,
)
from studio.workshop.converting.turns import check_order
from studio.workshop.problems import RowFault
from studio.workshop.reading import limits
from studio.workshop.versions.layout import ROLES, Turn, role_codes

MAX_ORDERS = 10_000
"""So many orders of speakers are remembered as good."""


class QuickRow(NamedTuple):
    """A row as it is trained: a conversation, or a prompt and its completion."""

    roles: bytes
    """See `layout.role_codes`; empty for a prompt and its completion."""
    contents: list[str]
    extra: dict[str, Any] | None
    category: str | None = None
    raw: str | None = None
    """The source row, where the rest does not tell it."""


_strip, _new = str.strip, tuple.__new__


class _ChatTurn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["user", "assistant", "system", "tool"]
    content: str


class _ShareGptTurn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["human", "gpt", "system"] = msgspec.field(name="from")
    content: str = msgspec.field(name="value")


def quick_reader(shape: str, columns: Mapping, names: Sequence[str]) -> "QuickReader | None":
    """The reader for lines of this shape whose columns are `names`; None where rows must be looked at one by one."""
    if not are_decodable([*names, *columns]):
        return None
    parts = set(columns.values()) - {CATEGORY}
    if shape in (CHAT, SHAREGPT) and len(parts) == 1:
        return _Conversations(shape, columns, names)
    if shape in _ASKED and parts.issuperset(REQUIRED_PARTS[shape]) and "history" not in parts:
        return _Pairs(shape, columns, names)
    return None


_ASKED = {PROMPT_COMPLETION: ("system", "prompt"), ALPACA: ("system", "instruction", "input")}
"""Parts that a prompt is put together of, in order."""
_Named = Annotated[str, msgspec.Meta(min_length=1)]


class _Conversations:
    def __init__(self, shape: str, columns: Mapping, names: Sequence[str]) -> None:
        turn = _ChatTurn if shape == CHAT else _ShareGptTurn
        column = next(name for name, part in columns.items() if part != CATEGORY)
        self._category = column_of(columns, CATEGORY)
        self._extra = [name for name in names if name not in columns]
        self._decode = _decoder({column: list[turn]}, self._extra, category=self._category)
        self._role_of = {} if shape == CHAT else SHAREGPT_SPEAKERS
        self._orders: dict[tuple[str, ...], bytes] = {}
        self._seen: dict[bytes, int] = {}

    def speakers(self) -> Counter[str]:
        """Speakers as the source spells them -> rows."""
        spelt = {role: speaker for speaker, role in self._role_of.items()}
        found: Counter[str] = Counter()
        for codes, count in self._seen.items():
            roles = {ROLES[code] for code in codes}
            found.update(dict.fromkeys((spelt.get(role, role) for role in roles), count))
        return found

    def read(self, lines: Sequence[bytes]) -> Iterator[QuickRow | None]:
        """Each line's row; None for those that need a closer look."""
        decode, order_of, seen = self._decode, self._orders.get, self._seen
        for line in lines:
            try:
                row = decode(line)
            except (msgspec.DecodeError, ValueError, RecursionError):
                yield None
                continue
            turns = row.part0
            said = tuple([turn.role for turn in turns])
            roles = order_of(said) or self._order(said)
            contents = [turn.content for turn in turns]
            if roles is None or not all(map(_strip, contents)):
                yield None
                continue
            extra = _extra(row, self._extra) if self._extra else None
            category = _category(row) if self._category else None
            if _hides_key(line, 4 * len(said) + (3 if category else 1), extra):
                yield None
                continue
            seen[roles] = seen.get(roles, 0) + 1
            yield _new(QuickRow, (roles, contents, extra, category, None))

    def _order(self, said: tuple[str, ...]) -> bytes | None:
        """The speakers as they are trained, if they may speak in this order."""
        roles = [self._role_of.get(speaker, speaker) for speaker in said]
        faults: list[RowFault] = []
        turns: list[Turn] = [{"role": role} for role in roles]
        check_order(turns, "", 0, faults)
        if faults:
            return None
        codes = role_codes(roles)
        if len(self._orders) < MAX_ORDERS:
            self._orders[said] = codes
        return codes


class _Pairs:
    """A prompt, put together of one column or of several, and its completion."""

    def __init__(self, shape: str, columns: Mapping, names: Sequence[str]) -> None:
        needed, answer = REQUIRED_PARTS[shape]
        asked = [part for part in _ASKED[shape] if part in columns.values()]
        column = {part: name for name, part in columns.items()}
        self._asked = [f"part{place}" for place in range(len(asked))]
        self._needed, self._answer = f"part{asked.index(needed)}", f"part{len(asked)}"
        self._extra = [name for name in names if name not in columns]
        kinds = {column[part]: str if part == needed else str | None for part in asked} | {column[answer]: str}
        optional = [column[part] for part in asked if part != needed]
        self._decode = _decoder(kinds, self._extra, category=column.get(CATEGORY), optional=optional)

    def speakers(self) -> Counter[str]:
        return Counter()

    def read(self, lines: Sequence[bytes]) -> Iterator[QuickRow | None]:
        """Each line's row; None for those that need a closer look."""
        return map(self._read if len(self._asked) == 1 else self._read_joined, lines)

    def _read(self, line: bytes) -> QuickRow | None:
        """A prompt of one column: the row need not be stored."""
        try:
            row = self._decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        extra, category = _extra(row, self._extra), _category(row)
        if not row.part0.strip() or not row.part1.strip() or _hides_key(line, 6 if category else 4, extra):
            return None
        return _new(QuickRow, (b"", [row.part0, row.part1], extra, category, None))

    def _read_joined(self, line: bytes) -> QuickRow | None:
        try:
            row = self._decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        extra, category, answer = _extra(row, self._extra), _category(row), getattr(row, self._answer)
        if not getattr(row, self._needed).strip() or not answer.strip():
            return None
        asked = [text for name in self._asked if (text := getattr(row, name)) is not msgspec.UNSET]
        strings = 2 * (len(asked) + 1) - asked.count(None) + (2 if category else 0)
        if _hides_key(line, strings, extra):
            return None
        raw = line.strip(b" \t\r\n").decode()
        return _new(QuickRow, (b"", ["\n\n".join(filter(None, asked)), answer], extra, category, raw))


QuickReader = _Conversations | _Pairs


def _decoder(
    parts: dict[str, Any], extra: Sequence[str], *, category: str | None = None, optional: Sequence[str] = ()
) -> Callable[[bytes], Any]:
    """Decodes an object with these columns; `category`, the `optional` and the `extra` ones may be missing."""
    fields = [
        _field(f"part{place}", kind, name, may_miss=name in optional)
        for place, (name, kind) in enumerate(parts.items())
    ]
    fields += [_field("category", _Named, category, may_miss=True)] if category else []
    fields += [_field(f"extra{place}", Any, name, may_miss=True) for place, name in enumerate(extra)]
    line = msgspec.defstruct("Line", fields, forbid_unknown_fields=True, gc=False, kw_only=True)
    return msgspec.json.Decoder(line).decode


def _field(attribute: str, kind: Any, name: str, *, may_miss: bool) -> tuple[str, Any, Any]:
    if may_miss:
        return attribute, kind | msgspec.UnsetType, msgspec.field(name=name, default=msgspec.UNSET)
    return attribute, kind, msgspec.field(name=name)


def _category(row: Any) -> str | None:
    value = getattr(row, "category", msgspec.UNSET)
    return None if value is msgspec.UNSET else value


def _extra(row: Any, names: Sequence[str]) -> dict[str, Any] | None:
    values = ((name, getattr(row, f"extra{index}")) for index, name in enumerate(names))
    return {name: value for name, value in values if value is not msgspec.UNSET} or None


def _hides_key(line: bytes, strings: int, extra: dict[str, Any] | None) -> bool:
    """Whether a key may stand twice, or brackets too deep: what decoding does not tell.

    `strings` are those outside of `extra`, keys among them.
    """
    levels = 0
    if extra:
        inner, levels = strings_and_levels(extra)
        strings += inner
    return levels > limits.MAX_DEPTH or not has_strings(line, strings)
