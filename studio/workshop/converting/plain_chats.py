"""Good plain chats, many lines at once: the quickest way in, some twice as fast as `quick.py`.

    reader_of("chat", {"messages": "messages"}, ["messages"]).read([line, line])
        -> PlainChats(roles=[(user, assistant), (user, assistant)], contents=["Hi", "Hello", "Bye", "See you"])
        -> None: some line is not plain; let `quick.py` look at each

A plain chat holds nothing but turns: one of the system, if any, then user and assistant in turn, each with a text that
is not blank. Written as JSON, `n` turns are exactly 4n + 1 strings, keys among them. So the quotes of a line tell how
many turns to expect and, by that, who must speak when: one typed decoder for each number of turns checks all of it, and
no key can stand twice. Whatever passes here passes `convert.py` with the same result.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from studio.workshop.converting.plain import SHAREGPT_SPEAKERS
from studio.workshop.converting.raw_lines import count_escaped_quotes
from studio.workshop.converting.shapes import CHAT, SHAREGPT, TURN_KEYS
from studio.workshop.reading import limits
from studio.workshop.versions.layout import ROLES, role_codes

MAX_TURNS = 200
"""Longer chats have no decoder of their own."""

_SPEAKER_OF_ROLE = {
    CHAT: {role: role for role in ("system", "user", "assistant")},
    SHAREGPT: {role: speaker for speaker, role in SHAREGPT_SPEAKERS.items()},
}
_QUOTES_OF_TURN, _QUOTES_OF_COLUMN = 8, 2


class PlainChats(NamedTuple):
    """Chats as they are trained."""

    roles: list[bytes]
    """See `layout.role_codes`; one a chat."""
    contents: list[str]
    """The texts of all turns of all chats, in order."""


def reader_of(shape: str, columns: Mapping[str, str], names: Sequence[str]) -> "PlainChatReader | None":
    """The reader for lines of this shape whose columns are `names`; None where they are no plain chats."""
    is_plain = shape in _SPEAKER_OF_ROLE and len(columns) == 1 and list(names) == list(columns)
    return PlainChatReader(shape, *columns) if is_plain else None


class PlainChatReader:
    """Reads blocks of one file's lines."""

    def __init__(self, shape: str, column: str) -> None:
        self._speakers = _SPEAKER_OF_ROLE[shape]
        self._forms = _Forms(shape, column)
        self._seen: Counter[bytes] = Counter()

    def read(self, lines: Sequence[bytes]) -> PlainChats | None:
        """All lines together, or None if any of them needs a closer look."""
        if sum(map(len, lines)) > limits.MAX_ROW_BYTES:
            return None
        try:
            chats, roles = self._decoded(lines)
        except (KeyError, msgspec.DecodeError, ValueError):
            return None
        contents = [turn.content for turns in chats for turn in turns]
        if any(map(str.isspace, contents)):
            return None
        self._seen.update(roles)
        return PlainChats(roles, contents)

    def _decoded(self, lines: Sequence[bytes]) -> tuple[list[tuple], list[bytes]]:
        """The turns of each line, and their roles."""
        chats, roles = [], []
        for line in lines:
            quotes = line.count(b'"')
            try:
                decode, said = self._forms[quotes]
                turns = decode(line).turns
            except (KeyError, msgspec.DecodeError):  # there may be quotes within the texts
                decode, said = self._forms[quotes - count_escaped_quotes(line)]
                turns = decode(line).turns
            chats.append(turns)
            roles.append(said)
        return chats, roles

    def speakers(self) -> Counter[str]:
        """Speakers as the source spells them -> rows."""
        rows_of: Counter[str] = Counter()
        for roles, count in self._seen.items():
            rows_of.update({self._speakers[ROLES[code]]: count for code in set(roles)})
        return rows_of


class _Forms(dict[int, tuple[Callable[[bytes], Any], bytes]]):
    """Quotes of a line -> the decoder for chats with so many, and their roles; KeyError where no chat has so many."""

    def __init__(self, shape: str, column: str) -> None:
        self._column = column
        self._turn = {role: _turn_type(said, *TURN_KEYS[shape]) for role, said in _SPEAKER_OF_ROLE[shape].items()}

    def __missing__(self, quotes: int) -> tuple[Callable[[bytes], Any], bytes]:
        turns, rest = divmod(quotes - _QUOTES_OF_COLUMN, _QUOTES_OF_TURN)
        if rest or not 2 <= turns <= MAX_TURNS:
            raise KeyError(quotes)
        roles = ["system"] * (turns % 2) + ["user", "assistant"] * (turns // 2)
        kind = tuple[tuple(self._turn[role] for role in roles)]
        self[quotes] = form = msgspec.json.Decoder(_struct([("turns", kind, self._column)])).decode, role_codes(roles)
        return form


def _turn_type(speaker: str, role_key: str, content_key: str) -> type:
    text = Annotated[str, msgspec.Meta(min_length=1)]
    return _struct([("role", Literal[speaker], role_key), ("content", text, content_key)])


def _struct(fields: list[tuple[str, Any, str]]) -> type:
    """An object with just these fields, all of them there: its attribute, type and key."""
    named = [(attribute, kind, msgspec.field(name=key)) for attribute, kind, key in fields]
    return msgspec.defstruct("Plain", named, forbid_unknown_fields=True, gc=False)
