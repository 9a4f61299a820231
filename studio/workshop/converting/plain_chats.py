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
from typing import Annotated, Any, NamedTuple

import msgspec

from studio.workshop.converting.plain import SHAREGPT_SPEAKERS
from studio.workshop.converting.raw_lines import are_decodable, count_escaped_quotes
from studio.workshop.converting.shapes import CHAT, SHAREGPT, TURN_KEYS
from studio.workshop.reading import limits
from studio.workshop.versions.layout import role_codes

MAX_TURNS = 200
"""Longer chats have no decoder of their own."""

_SPEAKER_OF_ROLE = {
    CHAT: {role: role for role in ("system", "user", "assistant")},
    SHAREGPT: {role: speaker for speaker, role in SHAREGPT_SPEAKERS.items()},
}
_SYSTEM = role_codes(["system"])
_Form = tuple[Callable[[bytes], Any], bytes]
"""A decoder for chats of one number of turns, and their roles."""


class PlainChats(NamedTuple):
    """Chats as they are trained."""

    roles: list[bytes]
    """See `layout.role_codes`; one a chat."""
    contents: list[str]
    """The texts of all turns of all chats, in order."""


def reader_of(shape: str, columns: Mapping[str, str], names: Sequence[str]) -> "PlainChatReader | None":
    """The reader for lines of this shape whose columns are `names`; None where they are no plain chats."""
    is_plain = shape in _SPEAKER_OF_ROLE and len(columns) == 1 and list(names) == list(columns)
    return PlainChatReader(shape, *columns) if is_plain and are_decodable(columns) else None


class PlainChatReader:
    """Reads blocks of one file's lines."""

    def __init__(self, shape: str, column: str) -> None:
        self._column = column
        self._speakers = _SPEAKER_OF_ROLE[shape]
        self._turn_types = {role: _turn_type(said, *TURN_KEYS[shape]) for role, said in self._speakers.items()}
        self._forms: dict[int, _Form] = {}
        """Quotes of a line -> what all plain chats with so many have in common."""
        self._chats = self._chats_with_system = 0

    def read(self, lines: Sequence[bytes]) -> PlainChats | None:
        """All lines together, or None if any of them needs a closer look."""
        if sum(map(len, lines)) > limits.MAX_ROW_BYTES:
            return None
        try:
            chats, roles = self._decoded(lines)
        except (KeyError, msgspec.DecodeError, ValueError):
            return None
        contents = [turn.content for turns in chats for turn in turns]
        if next(filter(str.isspace, contents), None):
            return None
        self._chats += len(roles)
        self._chats_with_system += b"".join(roles).count(_SYSTEM)
        return PlainChats(roles, contents)

    def _decoded(self, lines: Sequence[bytes]) -> tuple[list[tuple], list[bytes]]:
        """The turns of each line, and their roles."""
        chats, roles = [], []
        forms = self._forms
        for line in lines:
            quotes = line.count(b'"')
            if quotes % 8 != 2:
                quotes -= count_escaped_quotes(line)
            try:
                decode, said = forms[quotes]
                turns = decode(line).turns
            except (KeyError, msgspec.DecodeError):  # the first of its length, or with eight quotes within its texts
                decode, said = self._form(line.count(b'"') - count_escaped_quotes(line))
                turns = decode(line).turns
            chats.append(turns)
            roles.append(said)
        return chats, roles

    def _form(self, quotes: int) -> _Form:
        """The decoder for chats with so many quotes, and their roles; KeyError where no chat has so many."""
        if quotes not in self._forms:
            turns, rest = divmod(quotes - 2, 8)
            if rest or not 2 <= turns <= MAX_TURNS:
                raise KeyError(quotes)
            roles = ["system"] * (turns % 2) + ["user", "assistant"] * (turns // 2)
            turns_type = tuple[tuple(self._turn_types[role] for role in roles)]
            chat = _struct({"turns": (self._column, turns_type)})
            self._forms[quotes] = msgspec.json.Decoder(chat).decode, role_codes(roles)
        return self._forms[quotes]

    def speakers(self) -> Counter[str]:
        """Speakers as the source spells them -> rows."""
        rows_of = Counter({self._speakers[role]: self._chats for role in ("user", "assistant")})
        rows_of[self._speakers["system"]] = self._chats_with_system
        return +rows_of


def _turn_type(speaker: str, role_key: str, content_key: str) -> Any:
    """The speaker is its tag, which is checked and not kept; a field of its own takes 4 % longer.

    msgspec lets a tag be missing unless there are several to choose from. The second one is not found in any line: it
    takes more strings than a turn has.
    """
    text = (content_key, Annotated[str, msgspec.Meta(min_length=1)])
    turn = _struct({"content": text}, tag_field=role_key, tag=speaker)
    return turn | _struct({"content": text, "more": ("more", str)}, tag_field=role_key, tag="")


def _struct(fields: dict[str, tuple[str, Any]], **options: Any) -> type:
    """An object with just these fields, and its tag if it has one: attribute -> key and type."""
    named = [(attribute, kind, msgspec.field(name=key)) for attribute, (key, kind) in fields.items()]
    return msgspec.defstruct("Plain", named, forbid_unknown_fields=True, gc=False, **options)
