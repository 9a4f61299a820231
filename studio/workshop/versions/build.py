"""Makes a data set version: from a file (`import_file`), or from a version with rows mended or left out (`revise`).

One streaming pass each. Every source row ends in rows.parquet or in problems.parquet, and the counts say so.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from studio.errors import RefusedInput
from studio.workshop import members
from studio.workshop.converting.convert import Converter, convert_text, converter
from studio.workshop.converting.detect import Choice, columns_of, read_sample, required_choice
from studio.workshop.converting.plain_chats import reader_of
from studio.workshop.converting.quick import quick_reader
from studio.workshop.converting.shapes import Mapping, column_of, format_of
from studio.workshop.converting.turns import MAX_UNREAD_KEYS, speakers_of, unread_keys
from studio.workshop.problems import EXCLUDED, Problem
from studio.workshop.reading.opening import open_source
from studio.workshop.reading.source import RawRow, Source
from studio.workshop.versions.reader import (
    Manifest,
    Row,
    Step,
    VersionWriter,
    iterate_problems,
    iterate_rows,
    read_manifest,
)

Report = Callable[[float, float, str], None]
"""Called now and then with done, total and unit."""

REPORT_EVERY_ROWS = 2000
BATCH_LINES, BATCH_BYTES = 1000, 1 << 20
"""As many lines are read before the next report."""
SAID_IN_JSON = frozenset(("jsonl", "json", "csv"))
"""Kinds of files whose rows are all that their JSON text says; a cell of a sheet may be a date."""
BLOCK_LINES = 50
"""As many lines share a fate: one odd one sends them all the slower way."""
MAX_KEYS_COUNTED = 1000


def import_file(  # noqa: PLR0913 - each is a choice that a person can make on the page
    source: Path,
    folder: Path,
    *,
    original_name: str | None = None,
    shape: str | None = None,
    columns: Mapping | None = None,
    encoding: str | None = None,
    report: Report = lambda done, total, unit: None,
) -> Manifest:
    """Read a file of any size into a new version at `folder`; `encoding` is found out unless a person names it.

    Raises:
        RefusedInput: the file cannot be read, shows no shape, or none of its rows can be used.
    """
    name = original_name or source.name
    sample = read_sample(source, original_name=name, encoding=encoding)
    choice = required_choice(sample.rows, file=name, shape=shape, columns=columns)
    opened = open_source(source, original_name=name, encoding=encoding)
    writer = VersionWriter(folder, format=format_of(choice.shape, choice.columns))
    try:
        rows = _Import(opened, choice, columns_of(sample.rows), writer)
        rows.run(report)
    finally:
        writer.close()
    if not writer.rows:
        _refuse_unusable(name, writer, rows.first)
    report(opened.total, opened.total, opened.unit)
    parameters = {"file": name, "shape": choice.shape, "columns": choice.columns, "confidence": choice.confidence}
    parameters |= {"encoding": encoding} if encoding else {}
    step = Step(operation="import", parameters=parameters, rows_in=writer.rows + writer.problems, rows_out=writer.rows)
    return writer.finish(
        shape=choice.shape,
        columns=choice.columns,
        source={"file": name, "kind": opened.kind, "size_bytes": source.stat().st_size}
        | _guessed(opened)
        | members.known(opened)
        | ({"unread_keys": dict(rows.unread.most_common(MAX_UNREAD_KEYS))} if rows.unread else {}),
        parent=None,
        steps=[step],
        blank_lines=opened.blank_lines,
    )


def _guessed(opened: Source) -> dict[str, Any]:
    """The encoding that the text was taken to be in, where its letters alone tell."""
    return {"guessed_encoding": opened.encoding} if opened.confidence < 1 else {}


class _Import:
    """The rows of a source on their way into a version."""

    def __init__(self, source: Source, choice: Choice, names: list[str], writer: VersionWriter) -> None:
        self.first: Problem | None = None
        self.unread: Counter[str] = Counter()
        """Keys of turns that training does not read -> usable rows that have them."""
        self._columns = choice.columns
        self._source = source
        self._writer = writer
        self._convert = converter(choice.shape, choice.columns)
        self._conversation = column_of(choice.columns, "messages") or column_of(choice.columns, "conversations")
        kinds = {source.kind, *(part.kind for part in source.parts)}
        self._quick = quick_reader(choice.shape, choice.columns, names) if kinds <= SAID_IN_JSON else None
        self._plain = reader_of(choice.shape, choice.columns, names) if source.kind == "jsonl" else None

    def run(self, report: Report) -> None:
        """Write every row of the source."""
        if self._quick and self._source.kind == "jsonl":
            self._run_lines(report)
        else:
            for count, row in enumerate(self._source.rows(), 1):
                self._take_row(row)
                if count % REPORT_EVERY_ROWS == 0:
                    report(self._source.done, self._source.total, self._source.unit)
        for reader in filter(None, (self._quick, self._plain)):
            self._writer.speakers.update(reader.speakers())

    def _run_lines(self, report: Report) -> None:
        for batch in _batches(self._source.lines()):
            for start in range(0, len(batch), BLOCK_LINES):
                self._take_lines(batch[start : start + BLOCK_LINES])
            report(self._source.done, self._source.total, self._source.unit)
        if self._source.cut_row:
            self._take(self._source.cut_row)

    def _take_row(self, row: RawRow) -> None:
        """The quick way where it takes the row."""
        made = next(self._quick.read([row.raw.encode()])) if self._quick and not row.fault else None
        if made is None:
            self._take(row)
        else:
            self._writer.add_plain(row.row, made, len(row.raw))

    def _take_lines(self, batch: list[tuple[int, int, bytes]]) -> None:
        """The quickest way that takes the lines: all at once, one by one, or with every fault looked for."""
        lines = [line for _, _, line in batch]
        chats = self._plain.read(lines) if self._plain else None
        if chats is not None:
            self._writer.add_chats([number for number, _, _ in batch], chats, sum(map(len, lines)))
            return
        for (number, offset, line), made in zip(batch, self._quick.read(lines), strict=True):
            if made is None:
                self._take(self._source.line_row(number, offset, line))
            else:
                self._writer.add_plain(number, made, len(line))

    def _take(self, row: RawRow) -> None:
        made, faults = (None, [row.fault]) if row.fault else self._convert(row.value)
        if made:
            self._writer.add(row.row, row.raw, made)
            self._writer.speakers.update(speakers_of(row.value, self._conversation))
            if len(self.unread) < MAX_KEYS_COUNTED:
                self.unread.update(unread_keys(row.value, self._columns))
        for each in faults:
            problem = row.problem(each)
            self.first = self.first or problem
            self._writer.add_problem(problem)


def _batches(lines: Iterator[tuple[int, int, bytes]]) -> Iterator[list[tuple[int, int, bytes]]]:
    batch: list[tuple[int, int, bytes]] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line[2])
        if len(batch) == BATCH_LINES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _refuse_unusable(name: str, writer: VersionWriter, first: Problem | None) -> None:
    if first is None:
        raise RefusedInput("data.no_rows", file=name)
    values = {"row": first.row, "field": first.field, "problem": first.code, "problem_values": first.values}
    within = {key: first.values[key] for key in ("member", "member_row") if key in first.values}
    code = f"data.no_usable_rows_in_{first.values['member_unit']}" if within else "data.no_usable_rows"
    raise RefusedInput(code, file=name, rows=writer.problems, **values, **within)


# -- revising ------------------------------------------------------------------------------------------------------


def revise(
    parent: Path,
    folder: Path,
    *,
    edits: dict[int, str],
    exclude: list[int],
    report: Report = lambda done, total, unit: None,
) -> Manifest:
    """A new version of `parent` with some rows' JSON text replaced and some rows left out; the order stays.

    Edited rows are read and checked again; a row left out is listed as excluded, so that it can come back by an edit.

    Raises:
        RefusedInput: a row that the version does not have, or no usable row would be left.
    """
    known = read_manifest(parent)
    convert = converter(known.shape, known.columns)
    revision = _Revision(VersionWriter(folder, format=known.format), convert, edits, set(exclude))
    try:
        for count, (row, problems) in enumerate(_in_order(parent), 1):
            revision.take(row, problems)
            if count % REPORT_EVERY_ROWS == 0:
                report(count, known.source_rows, "rows")
    finally:
        revision.writer.close()
    revision.check(known)
    report(known.source_rows, known.source_rows, "rows")
    return revision.writer.finish(
        shape=known.shape,
        columns=known.columns,
        source=known.source,
        parent=known.content_hash,
        steps=[*known.steps, *revision.steps(known.rows)],
        blank_lines=known.blank_lines,
        speakers=known.speakers,
    )


class _Revision:
    """The rows of the parent on their way into the new version."""

    def __init__(self, writer: VersionWriter, convert: Converter, edits: dict[int, str], exclude: set[int]) -> None:
        self.writer = writer
        self._convert = convert
        self._edits = edits
        self._exclude = exclude
        self._unmet = exclude | edits.keys()

    def take(self, row: Row | None, problems: list[Problem]) -> None:
        """One source row: usable as `row`, or kept out by `problems`."""
        number = row.row if row else problems[0].row
        self._unmet.discard(number)
        if number in self._exclude:
            self._leave_out(row, problems)
        elif number in self._edits:
            self._mend(number, self._edits[number], row)
        elif row:
            self.writer.add(number, row.raw, row, split=row.split, origin=row.origin)
        else:
            self._keep_out(problems)

    def _leave_out(self, row: Row | None, problems: list[Problem]) -> None:
        if row:
            problems = [Problem(row=row.row, code="excluded", raw=row.raw)]
        for problem in problems:
            problem.state = EXCLUDED
        self._keep_out(problems)

    def _mend(self, number: int, text: str, row: Row | None) -> None:
        """The edited row in place of the old one; it stays on the side of a split where it was."""
        made, faults = convert_text(text, self._convert)
        if made:
            self.writer.add(number, text, made, split=row and row.split, origin=row and row.origin)
        self._keep_out([fault.at(number, text) for fault in faults])

    def _keep_out(self, problems: list[Problem]) -> None:
        for problem in problems:
            self.writer.add_problem(problem)

    def check(self, known: Manifest) -> None:
        if self._unmet:
            raise RefusedInput("data.no_such_row", row=min(self._unmet), rows=known.source_rows)
        if not self.writer.rows:
            raise RefusedInput("data.no_rows_left")

    def steps(self, rows_in: int) -> list[Step]:
        """The steps as recorded: an edit that makes a row usable adds one, an exclusion may take one."""
        edited = sorted(self._edits.keys() - self._exclude)
        done = [("edit", edited), ("exclude", sorted(self._exclude))]
        return [
            Step(operation=name, parameters={"rows": rows}, rows_in=rows_in, rows_out=self.writer.rows)
            for name, rows in done
            if rows
        ]


def _in_order(folder: Path) -> Iterator[tuple[Row | None, list[Problem]]]:
    """Usable rows and rows with problems, merged by row number."""
    usable = ((row.row, row, []) for row in iterate_rows(folder))
    kept_out = ((number, None, list(group)) for number, group in groupby(iterate_problems(folder), lambda it: it.row))
    for _, row, problems in heapq.merge(usable, kept_out, key=lambda item: item[0]):
        yield row, problems
