"""Where the next element of an array begins behind a broken one, if that is certain.

    [{"a": 1}, {"a": "he said "hi"}, {"a": 3}]   ->  row 2 ends before {"a": 3}
    [{"a": 1}, {"a": {"b": 2}, {"a": 3}]         ->  the same

Certain is a place where, behind a comma or a line end, an object opens with a first key of the elements before it,
reads as a whole with keys that they have too, and is followed by more such elements or by the end of the array. A list
that stands unescaped inside a broken text looks like elements, but what follows it is the rest of that text. Where
objects within the elements begin with the same key, depth cannot be told, and nothing is certain.
"""

import json
import re
from collections.abc import Callable, KeysView
from itertools import islice
from typing import Any

from studio.workshop.problems import RowFault
from studio.workshop.reading.jsontext import parse_row

MOST_CANDIDATES = 100
"""Places tried behind one broken element."""
FOLLOWING, FOLLOWING_BYTES = 64, 1 << 18
"""So much behind such a place must be elements, or all up to the next broken one."""
ELEMENT_BYTES, LONGER = 1 << 14, 8
"""How far the end of an element is looked for, or so many times the longest one before it."""
_MOST_KEPT = 64
_SPACES_BYTES = 4096
_NOT_OF_BRACKETS = (
    "too_deep",
    "reading.duplicate_key",
    "odd_number",
    "lone_surrogate",
    "reading.long_number",
    "too_long",
)
_FIRST_KEY = re.compile(rb'\{\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")\s*:', re.DOTALL)
_BETWEEN = re.compile(rb"[\s,]*+")
_CUT_BYTES = 64
"""What a reader may leave unread before the place where the text was cut."""

ElementEnd = Callable[[bytes, int, int], int | None]
"""Where the object that begins there ends, by its brackets, if within so many bytes."""


class Elements:
    """What the elements of one array look like, so far."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        """The pattern of what elements are called by, if they are."""
        self._keys: set[frozenset[str]] = set()
        self._firsts: set[str] = set()
        self._last = b""
        self._last_keys: KeysView[str] = {}.keys()
        self._longest = 0

    def note(self, value: Any, text: bytes) -> None:
        """An element that was read without a fault."""
        self._last = text
        if len(text) > self._longest:
            self._longest = len(text)
        if type(value) is dict and value.keys() != self._last_keys:
            self._note_keys(value)

    def _note_keys(self, value: dict[str, Any]) -> None:
        self._last_keys = value.keys()
        if value and len(self._keys) < _MOST_KEPT:
            self._keys.add(frozenset(value))
            self._firsts.add(next(iter(value)))

    def next_start(self, data: bytes, begin: int, end_of: ElementEnd, *, is_all: bool) -> int | None:
        """Where the text of the next element begins, its key included, behind the one at `begin`; None: not certain.

        Args:
            is_all: `data` is the rest of the file.
        """
        opening = self._opening(data, begin)
        if opening is None or len(opening.findall(self._last)) > 1:
            return None
        most = max(ELEMENT_BYTES, LONGER * self._longest)
        start = re.compile(self._key + b"(" + opening.pattern + b")", re.DOTALL)
        places = (match for match in start.finditer(data, begin + 1) if _is_behind_another(data, begin, match.start()))
        for match in islice(places, MOST_CANDIDATES):
            end = end_of(data, match.start(1), most)
            if end is None or not self._is_element(data[match.start(1) : end], opening):
                continue
            if _goes_on(data, end, start, end_of, most, is_all=is_all):
                return match.start()
        return None

    def _opening(self, data: bytes, begin: int) -> re.Pattern[bytes] | None:
        """How an element opens: as those before it, or as the broken one where it is the first."""
        firsts = [json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogatepass") for key in sorted(self._firsts)]
        if not firsts:
            match = _FIRST_KEY.match(data, begin)
            if not match:
                return None
            firsts = [match[1]]
        return re.compile(rb"\{\s*+(?:" + b"|".join(map(re.escape, firsts)) + rb")\s*+:")

    def _is_element(self, text: bytes, opening: re.Pattern[bytes]) -> bool:
        value, fault = parse_row(text)
        if fault or len(opening.findall(text)) > 1:
            return False
        return not self._keys or any(keys - {"key"} == value.keys() - {"key"} for keys in self._keys)


def _is_behind_another(data: bytes, begin: int, at: int) -> bool:
    """Whether a comma or a line end stands in front: neither can, with a key behind it, within a whole text."""
    before = data[max(begin, at - _SPACES_BYTES) : at]
    return _parts(before[len(before.rstrip(b", \t\r\n")) :])


def _parts(between: bytes) -> bool:
    return b"," in between or b"\n" in between


def _goes_on(data: bytes, end: int, start: re.Pattern[bytes], end_of: ElementEnd, most: int, *, is_all: bool) -> bool:
    """Whether the text goes on as elements behind `end`, for as many as are looked at."""
    first, count = end, 0
    while count < FOLLOWING or end - first < FOLLOWING_BYTES:
        at = _BETWEEN.match(data, end).end()
        match = start.match(data, at)
        if not match or not _parts(data[end:at]):
            return is_end(data, end, is_all=is_all)
        found = end_of(data, match.start(1), most)
        if found is None or is_broken(parse_row(data[match.start(1) : found])[1]):
            return True  # the next broken one
        end, count = found, count + 1
    return True


def is_end(data: bytes, at: int, *, is_all: bool) -> bool:
    """The end of the array and of the file, or of what was read of it."""
    rest = data[at:].strip(b" \t\r\n\0,")
    return not rest or is_all and re.fullmatch(rb"[\]}]|\]\s*\}", rest) is not None


def is_broken(fault: RowFault | None) -> bool:
    """Whether the fault may have led the count of brackets astray."""
    return fault is not None and fault.code not in _NOT_OF_BRACKETS


def cannot_be_completed(data: bytes, at: int) -> bool:
    """Whether the element that begins there is broken, whatever follows what was read."""
    text = data[at:].decode("utf-8", "replace")
    try:
        json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        return not error.msg.startswith("Unterminated") and error.pos < len(text) - _CUT_BYTES
    except (RecursionError, ValueError):
        return False
    return False
