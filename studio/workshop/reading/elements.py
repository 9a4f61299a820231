"""JSON arrays and objects, element by element: only one is in memory, whatever the file's size.

`[{"a": 1}, {"a": 2}]`, `{"data": [...]}` and rows written over several lines -> rows 1, 2, ...
`{"17": {"a": 1}}` -> row 1, `{"a": 1, "key": "17"}`: an object that has a `key` of its own keeps that one

Elements are found by brackets and strings alone, so most that are broken do not hide those after them, and the source
text is kept. One whose own brackets or quotation marks lead the count astray ends where the next one begins for certain
(`resync.py`).
"""

import re
from collections.abc import Iterator

from studio.workshop.problems import RowFault
from studio.workshop.reading import limits, resync
from studio.workshop.reading.jsontext import parse_row, without_wrapping
from studio.workshop.reading.source import RawRow, Source, blamed, fault_row, start_of

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_FLAT = rb'(?:[^\[\]{}"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")'
_TO_BRACKET = re.compile(b"(?:" + _FLAT + rb"|[\[{]" + _FLAT + rb"*+[\]}])*+", re.DOTALL)
"""Over text, strings and innermost containers, to the next bracket that must be counted."""
_SCALAR = re.compile(rb"[^,\]}\s\[{\"]+")
_BETWEEN = re.compile(rb"[\s,]*")
_ENTRY = re.compile(rb"\s*[\[{]")
KEY = re.compile(rb'\s*"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*:\s*', re.DOTALL)
_OWN_KEY = re.compile(rb'"key"\s*:')
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")


MOST_SEARCHED_BYTES, SEARCHED_FOR_A_BYTE = 96 << 20, 64
"""So much is read of elements that do not end before the rest is one fault, and so much more for each byte that lies
behind by then: some seconds before the first answer."""
PROVEN_BYTES = 4 << 20
"""A larger beginning is not read a second time to see whether it is broken."""
BOUNDARY_BYTES = 4096


def read_elements(source: Source) -> Iterator[RawRow]:
    with source.content.open_text() as file:
        yield from _Elements(source, file).rows(source.options["layout"])


class _Elements:
    """A window on the text, from the element at hand onwards."""

    def __init__(self, source: Source, file) -> None:
        self._source = source
        self._file = file
        self._data = b""
        self._at = 0
        self._start = 0
        """Position of the window in the text."""
        self._depth = 0
        self._seen = 0
        """How far into the element at hand its brackets were counted."""
        self._ended = False
        self._key = b""
        """Under which the element at hand stands, with its quotes."""
        self._known = resync.Elements(b"")
        self._searched = 0
        """Bytes of elements that did not end."""

    def rows(self, layout: str) -> Iterator[RawRow]:
        self._known = resync.Elements(KEY.pattern.removeprefix(rb"\s*") if layout == "keyed" else b"")
        self._enter(layout)
        number = 0
        while self._next_element(keyed=layout == "keyed") or self._is_stray_bracket(layout):
            number += 1
            offset = self._offset()
            row = self._element(number, offset)
            if row is None:
                yield self._unfinished(number, offset)
                return
            yield row
        yield from self._left_over(layout, number + 1)

    def _element(self, number: int, offset: int) -> RawRow | None:
        """The element at hand, which is stepped over; None if it does not end and no other begins for certain."""
        end = self._whole_element()
        if end is not None:
            text = self._data[self._at : end]
            row = self._row(number, text, offset)
            if row.fault is None or not resync.is_broken(row.fault):
                self._known.note(row.value, text)
                self._at = end
                return row
        end = self._broken_end(end)
        if end is None:
            return None
        row = self._row(number, self._data[self._at : end].rstrip(b", \t\r\n"), offset)
        self._at = end
        return row

    def _broken_end(self, end: int | None) -> int | None:
        """Where a broken element ends: where the next one begins for certain, else `end`, which its brackets say."""
        if end is None:
            start = self._next_start()
            if start is None and not self._ended:
                end = self._whole_element(is_patient=True)
        if end is not None:
            end = self._looked_beyond(end)
            start = self._next_start()
        if end is None or (start is not None and (start < end or not self._is_boundary(end))):
            return start
        return end

    def _looked_beyond(self, end: int) -> int:
        """`end`, with enough of the text read behind it."""
        length = end - self._at
        if length < limits.CHUNK_BYTES and not self._ended:
            self._more()
        return self._at + length

    def _next_start(self) -> int | None:
        """Where the element behind the one at hand begins for certain; looked for within bounds."""
        self._searched += len(self._data) - self._at
        if self._searched > MOST_SEARCHED_BYTES + SEARCHED_FOR_A_BYTE * (self._start + self._at):
            return None
        return self._known.next_start(self._data, self._at, container_end, is_all=self._ended)

    def _is_boundary(self, end: int) -> bool:
        """Whether a comma or the end of the text follows."""
        rest = self._data[end : end + BOUNDARY_BYTES].strip()
        return rest.startswith(b",") or resync.is_end(self._data, end, is_all=self._ended)

    def _is_stray_bracket(self, layout: str) -> bool:
        """Whether the bracket at hand cannot be the container's own, and elements follow it."""
        own = {"keyed": b"}", "values": b""}.get(layout, b"]")
        found = self._data[self._at : self._at + 1]
        if not found or found == own:
            return False
        self._looked_beyond(self._at)
        return self._next_start() is not None

    def _row(self, number: int, text: bytes, offset: int) -> RawRow:
        if len(text) > limits.MAX_ROW_BYTES:
            values = {"size": len(text) >> 20, "limit": limits.MAX_ROW_BYTES >> 20}
            return fault_row(number, text, RowFault("too_long", "", values), offset)
        text = self._with_key(text)
        value, fault = parse_row(text)
        if not fault:
            text = without_wrapping(text)
        return RawRow(number, text.decode("utf-8", "replace"), value, blamed(fault, self._source), offset)

    def _with_key(self, text: bytes) -> bytes:
        """A keyed object with its key as a column, unless it has one of that name."""
        if not self._key or text[:1] != b"{" or _OWN_KEY.search(text):
            return text
        inside = text[1:-1].rstrip()
        return b"{" + inside + (b", " if inside.strip() else b"") + b'"key": ' + self._key + b"}"

    def _offset(self) -> int:
        return self._file.offset_of(self._start + self._at)

    def _enter(self, layout: str) -> None:
        """Step over the opening brackets in front of the first element."""
        self._more()
        if layout == "values":
            return
        self._at = _ENTRY.match(self._data, self._at).end()
        if layout == "wrapped":
            self._at = KEY.match(self._data, self._at).end() + 1

    def _more(self) -> None:
        """Drop what was read, and read at least as much as is left: a long element is copied few times."""
        rest = self._data[self._at :]
        self._start += self._at
        fresh = self._file.read(max(limits.CHUNK_BYTES, len(rest)))
        self._data, self._at, self._ended = rest + fresh, 0, not fresh
        self._source.read_to(self._start + len(self._data))

    def _next_element(self, *, keyed: bool) -> bool:
        """Move to the first byte of the next element; False at the end of the container."""
        while True:
            start = _BETWEEN.match(self._data, self._at).end()
            key = KEY.match(self._data, start) if keyed else None
            at = key.end() if key else start
            # A key may be cut by the end of what was read; one that is still none after a megabyte is none.
            settled = not keyed or key or self._ended or len(self._data) - start > limits.CHUNK_BYTES
            if at < len(self._data) and (settled or self._data[start] in _CLOSING):
                self._at = at
                self._key = _STRING.match(key[0].lstrip())[0] if key else b""
                return self._data[at] not in _CLOSING
            if self._ended:
                return False
            self._at = start
            self._more()

    def _whole_element(self, *, is_patient: bool = False) -> int | None:
        """Where the element at hand ends, read as far as need be; None if the file, or our patience, ends before.

        What is certainly broken is read on only with patience.
        """
        self._depth = self._seen = 1  # its opening bracket
        end = self._element_end()
        while end is None and not self._ended and len(self._data) - self._at <= limits.MAX_ROW_BYTES:
            if not is_patient and self._is_hopeless():
                break
            self._more()
            end = self._element_end()
        return end

    def _is_hopeless(self) -> bool:
        size = len(self._data) - self._at
        return limits.CHUNK_BYTES <= size <= PROVEN_BYTES and resync.cannot_be_completed(self._data, self._at)

    def _element_end(self) -> int | None:
        """Where the element at hand ends; None if more must be read to know."""
        data, start = self._data, self._at
        if data[start] == ord('"'):
            match = _STRING.match(data, start)
            return match.end() if match else None
        if data[start] not in _OPENING:
            match = _SCALAR.match(data, start)
            end = match.end() if match else start + 1
            return end if end < len(data) or self._ended else None
        return self._container_end()

    def _container_end(self) -> int | None:
        """Go from bracket to bracket; where the data ends, the count is kept for when there is more."""
        end, self._seen, self._depth = _count_brackets(self._data, self._at, self._seen, self._depth, len(self._data))
        return end

    def _unfinished(self, number: int, offset: int) -> RawRow:
        """The file, or our patience, ends inside this element."""
        rest = self._data[self._at :]
        if len(rest) > limits.MAX_ROW_BYTES:
            fault = RowFault("too_long_rest", "", {"limit": limits.MAX_ROW_BYTES >> 20})
        else:
            fault = RowFault("array_cut_off", "", {"near": start_of(rest)})
        return fault_row(number, rest, fault, offset)

    def _left_over(self, layout: str, number: int) -> Iterator[RawRow]:
        """What stands behind the last element: nothing, or text that would be lost without a word."""
        if layout != "values":
            if not self._data[self._at :].strip():
                yield fault_row(number, b"", RowFault("array_not_closed"), self._offset())
                return
            self._at += 1  # its closing bracket
        outside = b" \t\r\n\0" + (b"}" if layout == "wrapped" else b"")
        while not (rest := self._data[self._at :].strip(outside)) and not self._ended:
            self._at = len(self._data)
            self._more()
        if rest:
            self._at = self._data.index(rest, self._at)
            yield fault_row(number, rest, RowFault("text_after_end", "", {"near": start_of(rest)}), self._offset())


def container_end(data: bytes, start: int, most: int) -> int | None:
    """Where the array or object that begins there ends by its brackets; None if not in `data` within `most` bytes."""
    return _count_brackets(data, start, 1, 1, start + most)[0]


def _count_brackets(data: bytes, start: int, seen: int, depth: int, limit: int) -> tuple[int | None, int, int]:
    """The end of the container at `start`, and how far behind it brackets were counted, how deep."""
    at, size = start + seen, min(len(data), limit)
    while (found := _TO_BRACKET.match(data, at, size).end()) < size:
        if data[found] in _OPENING:
            depth += 1
        elif data[found] in _CLOSING:
            depth -= 1
            if not depth:
                return found + 1, 0, 0
        else:  # a string that does not end in what was read
            at = found
            break
        at = found + 1
    return None, at - start, depth
