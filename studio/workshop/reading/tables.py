"""CSV and TSV: one row a record, cells as text under the header's names.

`question,answer\\nHi,"a, b"` -> {"question": "Hi", "answer": "a, b"}

A quotation mark that is never closed would swallow every line after it: its line is reported, and reading goes on with
the next one. Numbers stay the text that they are in the file.
"""

import csv
import json
from collections import deque
from collections.abc import Iterator

import msgspec

from studio.errors import RefusedInput
from studio.workshop.problems import RowFault
from studio.workshop.reading import limits
from studio.workshop.reading.source import RawRow, Source, blamed, fault_row

DELIMITERS = ",;\t|"


def find_delimiter(head: bytes, suffix: str) -> str:
    """The separator that the header line uses most; `sep=;`, Excel's own first line, decides."""
    if suffix == ".tsv":
        return "\t"
    header = head.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8", "replace")
    if header.startswith("sep=") and header[4:5] in tuple(DELIMITERS):
        return header[4:5]
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def read_table(source: Source) -> Iterator[RawRow]:
    with source.content.open_text() as file:
        records = _Records(source, file)
        header = _header(records, source.name)
        number = 0
        for cells, fault, start, offset in records:
            if cells is not None and not any(cells):
                source.blank_lines += 1
                continue
            number += 1
            if fault:
                yield fault_row(number, start.strip(b"\r\n"), fault, offset)
            else:
                yield _row(number, header, cells, source, offset)


class _Records:
    """Records with the bytes that they begin at: (cells, None, first line, offset) or (None, fault, ...)."""

    def __init__(self, source: Source, file) -> None:
        self._source = source
        self._file = file
        self._again: deque[tuple[int, bytes]] = deque()
        """Lines that an unclosed quotation mark swallowed, to be read once more."""
        self._taken: list[tuple[int, bytes]] = []
        self._position = 0
        self._lines_read = 0
        csv.field_size_limit(limits.MAX_ROW_BYTES)

    def __iter__(self) -> Iterator[tuple[list[str] | None, RowFault | None, bytes, int]]:
        while (record := self.next()) is not None:
            yield record

    def next(self) -> tuple[list[str] | None, RowFault | None, bytes, int] | None:
        self._skip_blank_lines()
        reader = csv.reader(self._texts(), delimiter=self._source.options["delimiter"], strict=True)
        try:
            cells, fault = next(reader), None
        except StopIteration:
            return None
        except csv.Error:
            cells, fault = None, self._fault()
        position, start = self._taken[0]
        return cells, fault, start, self._file.offset_of(position)

    def _skip_blank_lines(self) -> None:
        """On to the first line of the next record, so that millions of blank ones take no time."""
        while (line := self._line()) in (b"\n", b"\r\n"):
            self._source.blank_lines += 1
            self._taken = []
        if line:
            self._again.appendleft(self._taken[-1])
        self._taken = []

    def _fault(self) -> RowFault:
        """The record's first line is reported, the others are given back."""
        _, first = self._taken[0]
        if len(first) > limits.MAX_ROW_BYTES:
            return RowFault("too_long", "", {"size": len(first) >> 20, "limit": limits.MAX_ROW_BYTES >> 20})
        self._again.extendleft(reversed(self._taken[1:]))
        return RowFault("csv_quote", "", {"line": self._lines_read - len(self._again)})

    def _texts(self) -> Iterator[str]:
        while line := self._line():
            yield line.decode("utf-8", "surrogateescape")  # one bad byte is then one bad row

    def _line(self) -> bytes:
        if self._again:
            position, line = self._again.popleft()
        else:
            position = self._position
            line = self._file.readline(limits.MAX_ROW_BYTES + 1)
            self._position += len(line)
            self._lines_read += bool(line)
            self._source.read_to(self._position)
        if line:
            self._taken.append((position, line))
        return line


def _header(records: _Records, name: str) -> list[str]:
    """The column names; one that is empty (an index that pandas wrote) is called by its number."""
    record = records.next()
    while record and record[0] is not None and (not any(record[0]) or record[2].startswith(b"sep=")):
        record = records.next()
    if record is None or record[0] is None:
        raise RefusedInput("data.csv_header", file=name)
    return column_names(record[0], name)


def column_names(cells: list[str], name: str) -> list[str]:
    """The header's cells as the names of columns.

    Raises:
        RefusedInput: a name stands twice, or none is there.
    """
    cells = [cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for cell in cells]
    header = [cell.strip() or f"column {index + 1}" for index, cell in enumerate(cells)]
    if len(set(header)) < len(header) or not any(cell.strip() for cell in cells):
        raise RefusedInput("data.csv_header", file=name)
    return header


def _row(number: int, header: list[str], cells: list[str], source: Source, offset: int) -> RawRow:
    value = dict(zip(header, cells, strict=False))
    fault = None
    if len(cells) != len(header):
        value |= {f"column {index + 1}": cell for index, cell in enumerate(cells) if index >= len(header)}
        fault = RowFault("csv_columns", "", {"expected": len(header), "count": len(cells)})
    try:
        return RawRow(number, msgspec.json.encode(value).decode(), None if fault else value, fault, offset)
    except UnicodeEncodeError:
        bad = next(letter for cell in cells for letter in cell if "\udc80" <= letter <= "\udcff")
        raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        fault = RowFault("not_utf8", "", {"byte": f"0x{ord(bad) - 0xDC00:02X}"})
        return RawRow(number, raw, None, blamed(fault, source), offset)
