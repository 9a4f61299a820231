"""What every reader takes and gives: a `Source` (an opened file) and its `RawRow`s.

    for row in open_source(path).rows(): ...

The readers stand beside this file, one a kind; `opening.py` chooses.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from studio.errors import RefusedInput
from studio.workshop.problems import SHORT_CHARACTERS, Problem, RowFault, shorten
from studio.workshop.reading import limits
from studio.workshop.reading.streams import Content

DANGEROUS = ("data.reading.archive_bomb", "data.reading.archive_nested")
"""One such file keeps its whole archive from being read."""


class Place(NamedTuple):
    """A row of one of an archive's files; `member_unit` is `line` for JSON lines, else `row`."""

    member: str
    member_row: int
    member_unit: str


class RawRow(NamedTuple):
    """One row of the source before anyone asks what it means."""

    row: int
    raw: str
    """The row as JSON text, or the broken text itself."""
    value: Any
    fault: RowFault | None = None
    offset: int | None = None
    """Where the row begins: a byte of the file, of the file inside an archive; None where rows have no bytes of their
    own (Parquet, spreadsheets)."""
    within: Place | None = None
    """Where it stands in an archive of several files."""

    def problem(self, fault: RowFault) -> Problem:
        """A fault of this row, with the file of the archive and the line or row there among its values."""
        within = self.within._asdict() if self.within else {}
        return Problem(
            row=self.row,
            code=fault.code,
            field=fault.field,
            values=fault.values | within,
            raw=self.raw,
            offset=self.offset,
        )


@dataclass
class Source:
    """An opened file: what it is, and its rows. `done` of `total` tells how far the reading is."""

    content: Content
    kind: str
    """jsonl, json, csv, xlsx, parquet, text or markdown."""
    total: int
    """Bytes, or rows for Parquet."""
    reader: "Callable[[Source], Iterator[RawRow]]"
    unit: str = "bytes"
    done: int = 0
    blank_lines: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    encoding: str = "utf-8"
    """Python's name of the encoding that the text is read with."""
    confidence: float = 1.0
    """How sure the encoding is: 1.0 when it is marked or proven, less when it was guessed from the letters."""
    members: list[str] = field(default_factory=list)
    """Names of the files read from inside an archive, in order."""
    skipped: list[str] = field(default_factory=list)
    """What lies beside the rows and is not read: a README in an archive, a sheet with other columns."""
    parts: "list[Source]" = field(default_factory=list)
    """The files of an archive that holds several."""
    starts: list[int] = field(default_factory=list)
    """How many rows stand before each of those parts, as far as the reading is."""
    last_row: int = 0
    """The highest row number given so far, of a part."""
    cut_row: RawRow | None = None
    """After `lines`: the fault of the row where the archive breaks off."""
    long_lines: dict[int, int] = field(default_factory=dict)
    """Row -> bytes of the lines that are too long to be read."""
    refusal: RefusedInput | None = None
    """Why this file of an archive is not read, or not to its end."""
    unread: dict[int, RawRow] = field(default_factory=dict)
    """Of an archive: the rows that stand for such files."""

    @property
    def name(self) -> str:
        """The name the person knows the file by."""
        return self.content.name

    @property
    def path(self) -> Path:
        return self.content.path

    @property
    def row_unit(self) -> str:
        """What a row's number counts."""
        return "line" if self.kind == "jsonl" else "row"

    def rows(self) -> Iterator[RawRow]:
        """Every row in order. Call it once a source."""
        cut: list[RawRow] = []
        yield from self._whole(self.reader(self), cut)
        for row in cut:
            yield _cut_off(row.row, row.raw.encode(errors="replace"), row.offset)
        self.done = self.total

    def _whole(self, items: Iterator[Any], cut: list[Any]) -> Iterator[Any]:
        """The items, but for the last one if the archive around them breaks off: that one goes to `cut`."""
        held: list[Any] = []
        for item in items:
            yield from held
            held = [item]
        if self.content.cut_offs:
            cut += held
        else:
            yield from held

    def read_to(self, position: int) -> None:
        """Note how far the reading is; text that was decoded may be longer than the file."""
        self.done = min(position, self.total)

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Row number, byte offset and bytes of every line that is not blank: `jsonl` only, the way to read in bulk.

        A line that is too long comes cut, `line_row` turns any of them into the `RawRow` that `rows` gives for it.
        """
        from studio.workshop.reading.lines import iterate_lines

        cut: list[tuple[int, int, bytes]] = []
        yield from self._whole(iterate_lines(self), cut)
        self.cut_row = _cut_off(cut[0][0], cut[0][2], cut[0][1]) if cut else None

    def in_turn(self) -> "Iterator[tuple[Source, int]]":
        """Each part, and how far its row numbers are shifted; the counts of all parts come together here."""
        shift = done = blank = 0
        for part in self.parts:
            self.starts.append(shift)
            yield part, shift
            shift += part.last_row
            self.done = done = done + part.total
            self.blank_lines = blank = blank + part.blank_lines

    def readable(self, part: "Source", items: Iterator[Any]) -> Iterator[Any]:
        """What can be read of a part; why no more can be is kept as its `refusal`.

        Raises:
            RefusedInput: it may do harm.
        """
        try:
            yield from items
        except RefusedInput as error:
            if error.code in DANGEROUS:
                raise
            part.refusal = error

    def end_part(self, part: "Source", shift: int) -> RawRow | None:
        """The row that stands for a part which is not read, or not to its end, with the reason."""
        if part.refusal is None:
            return None
        part.last_row += 1
        why = part.refusal.code.replace("archive_damaged", "member_damaged")
        fault = RowFault("reading.member_not_read", "", {"why": why, **part.refusal.values})
        row = self.unread[shift + part.last_row] = RawRow(shift + part.last_row, "", None, fault)
        return row

    def within(self, row: int) -> Place | None:
        """Where a row that was read stands in an archive of several files."""
        if not self.parts:
            return None
        index = max(bisect_left(self.starts, row) - 1, 0)
        part = self.parts[index]
        return Place(shorten(part.content.member), row - self.starts[index], part.row_unit)

    def line_row(self, row: int, offset: int, line: bytes) -> RawRow:
        """One of `lines`, read with all checks."""
        from studio.workshop.reading.lines import line_row

        return line_row(self, row, offset, line)


def fault_row(number: int, start: bytes, fault: RowFault, offset: int | None) -> RawRow:
    """A row that is reported and not read, with the beginning of its text."""
    return RawRow(number, start_of(start, limits.RAW_CHARACTERS_OF_LONG_ROW), None, fault, offset)


def _cut_off(number: int, start: bytes, offset: int | None) -> RawRow:
    return fault_row(number, start, RowFault("reading.archive_cut_off", "", {"near": start_of(start)}), offset)


def start_of(data: bytes, characters: int = SHORT_CHARACTERS) -> str:
    return data[: characters * 4].decode("utf-8", "replace")[:characters]


def blamed(fault: RowFault | None, source: Source) -> RowFault | None:
    """A byte that could not be decoded is the fault of the encoding that the file is really in."""
    if fault and fault.code == "not_utf8" and source.encoding != "utf-8":
        return RowFault("reading.bad_byte", "", {"encoding": source.encoding})
    return fault
