"""Good rows of the common shapes, read and checked in one go: some three times as fast as `convert.py`.

    quick_reader("chat", {"messages": "messages"}, ["messages", "id"]).read([line, ...])
        -> QuickRow(roles=(user, assistant), contents=["Hi", "Hello"], extra={"id": 7}), ...
        -> None: let `convert.py` look at the row, which finds the faults, or the rarer forms

A row is read here only if it holds nothing but what is expected, each of its type: then what is trained tells the
source row (`plain.py`), and it need not be stored. Whatever passes here passes there with the same result.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from studio.workshop.converting.plain import SHAREGPT_SPEAKERS
from studio.workshop.converting.raw_lines import has_strings, strings_and_levels
from studio.workshop.converting.shapes import CHAT, PROMPT_COMPLETION, SHAREGPT
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


_strip, _new = str.strip, tuple.__new__


class _ChatTurn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["user", "assistant", "system", "tool"]
    content: str


class _ShareGptTurn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["human", "gpt", "system"] = msgspec.field(name="from")
    content: str = msgspec.field(name="value")


def quick_reader(shape: str, columns: Mapping[str, str], names: Sequence[str]) -> "QuickReader | None":
    """The reader for lines of this shape whose columns are `names`; None where rows must be looked at one by one."""
    parts = set(columns.values())
    if shape in (CHAT, SHAREGPT) and len(parts) == 1:
        return _Conversations(shape, columns, names)
    if shape == PROMPT_COMPLETION and parts == {"prompt", "completion"}:
        return _Pairs(columns, names)
    return None


class _Conversations:
    def __init__(self, shape: str, columns: Mapping[str, str], names: Sequence[str]) -> None:
        turn = _ChatTurn if shape == CHAT else _ShareGptTurn
        (column,) = columns
        self._extra = [name for name in names if name != column]
        self._decode = _decoder({column: list[turn]}, self._extra)
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
            if _hides_key(line, 4 * len(said) + 1, extra):
                yield None
                continue
            seen[roles] = seen.get(roles, 0) + 1
            yield _new(QuickRow, (roles, contents, extra))

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
    def __init__(self, columns: Mapping[str, str], names: Sequence[str]) -> None:
        by_part = {part: column for column, part in columns.items()}
        prompt, completion = by_part["prompt"], by_part["completion"]
        self._extra = [name for name in names if name not in columns]
        self._decode = _decoder({prompt: str, completion: str}, self._extra)

    def speakers(self) -> Counter[str]:
        return Counter()

    def read(self, lines: Sequence[bytes]) -> Iterator[QuickRow | None]:
        """Each line's row; None for those that need a closer look."""
        return map(self._read, lines)

    def _read(self, line: bytes) -> QuickRow | None:
        try:
            row = self._decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        extra = _extra(row, self._extra)
        if not row.part0.strip() or not row.part1.strip() or _hides_key(line, 4, extra):
            return None
        return QuickRow(b"", [row.part0, row.part1], extra)


QuickReader = _Conversations | _Pairs


def _decoder(parts: dict[str, Any], extra: Sequence[str]) -> Callable[[bytes], Any]:
    """Decodes an object with these columns and, where they are there, the `extra` ones; and no other."""
    names = [*parts, *extra]
    fields = [(f"part{index}", kind) for index, kind in enumerate(parts.values())]
    fields += [(f"extra{index}", Any, msgspec.UNSET) for index in range(len(extra))]
    rename = dict(zip((field[0] for field in fields), names, strict=True))
    kind = msgspec.defstruct("Line", fields, forbid_unknown_fields=True, gc=False, rename=rename)
    return msgspec.json.Decoder(kind).decode


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
