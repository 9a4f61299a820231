"""Which shape a file has, told by a vote over its first rows, and a quick look at what it would become.

Reads about the first megabyte whatever the file's size, so it answers within a second and may run in the server.
"""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.workshop.converting.convert import converter
from studio.workshop.converting.recognise import mapping_for, shape_of
from studio.workshop.converting.shapes import SHAPES, Mapping, checked_mapping, format_of, shape_with
from studio.workshop.converting.turns import MAX_UNREAD_KEYS, unread_keys
from studio.workshop.problems import Problem, closest, shorten
from studio.workshop.reading.opening import open_source
from studio.workshop.reading.source import RawRow
from studio.workshop.versions.layout import TrainingRow

SAMPLE_ROWS = 500
SAMPLE_BYTES = 1 << 20
_COMMON_COLUMNS = ("messages", "conversations", "instruction", "output", "prompt", "completion", "question", "answer")


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of a file are taken to be."""

    shape: str
    columns: Mapping
    """Column -> part, see `studio.workshop.converting.shapes`."""
    confidence: float
    """Share of the sampled rows that show this shape; 1.0 when a person chose it."""
    against: list[int] = []
    """Row numbers that show another shape, or none."""


class PreviewRow(TrainingRow, frozen=True, kw_only=True):
    """One source row and what it becomes in training."""

    row: int
    raw: str


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A quick look at a file; nothing has been imported."""

    file: str
    kind: str
    """jsonl, json, csv or parquet."""
    size_bytes: int
    sampled: int
    """Rows looked at."""
    is_whole: bool
    """Whether the sample is the whole file."""
    all_columns: list[str]
    choice: Choice | None
    """None: no shape was recognised, and a person must name the columns."""
    rows: list[PreviewRow]
    faults: list[Problem]
    unread_keys: dict[str, int] = {}
    """Keys of turns that training does not read -> rows of the sample that have them."""

    @property
    def format(self) -> str | None:
        return format_of(self.choice.shape, self.choice.columns) if self.choice else None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of a file, read once: what its shape is told by, and what a preview shows."""

    file: str
    kind: str
    size_bytes: int
    rows: list[RawRow]
    is_whole: bool
    """Whether these are all rows of the file."""
    encoding: str
    """Python's name of it."""
    confidence: float
    """How sure the encoding is, see `studio.workshop.reading.source`."""
    is_named: bool
    """Whether a person said what the encoding is."""


def preview(
    path: Path,
    *,
    original_name: str | None = None,
    limit: int = 20,
    shape: str | None = None,
    columns: Mapping | None = None,
    encoding: str | None = None,
) -> Preview:
    """The first rows of a file as they would be trained on, at most `limit`, and the faults among the sampled ones.

    Raises:
        RefusedInput: the file cannot be read, or `shape` and `columns` do not go together.
    """
    sample = read_sample(path, original_name=original_name or path.name, encoding=encoding)
    return preview_of(sample, limit=limit, shape=shape, columns=columns)


def preview_of(sample: Sample, *, limit: int = 20, shape: str | None = None, columns: Mapping | None = None) -> Preview:
    """`preview` of a file whose beginning was read already."""
    choice = choose(sample.rows, file=sample.file, shape=shape, columns=columns)
    rows, faults = _converted(sample.rows, choice, limit) if choice else ([], _unread(sample.rows))
    keys = (
        Counter(key for row in sample.rows for key in unread_keys(row.value, choice.columns)) if choice else Counter()
    )
    return Preview(
        file=sample.file,
        kind=sample.kind,
        size_bytes=sample.size_bytes,
        sampled=len(sample.rows),
        is_whole=sample.is_whole,
        all_columns=columns_of(sample.rows),
        choice=choice,
        rows=rows,
        faults=faults,
        unread_keys=dict(keys.most_common(MAX_UNREAD_KEYS)),
    )


def read_sample(path: Path, *, original_name: str, encoding: str | None = None) -> Sample:
    """The rows in about the first megabyte."""
    source = open_source(path, original_name=original_name, encoding=encoding)
    rows: list[RawRow] = []
    size = 0
    stream = source.rows()
    for row in islice(stream, SAMPLE_ROWS):
        rows.append(row)
        size += len(row.raw)
        if size > SAMPLE_BYTES:
            break
    is_whole = next(stream, None) is None
    stream.close()
    return Sample(
        file=original_name,
        kind=source.kind,
        size_bytes=path.stat().st_size,
        rows=rows,
        is_whole=is_whole,
        encoding=source.encoding,
        confidence=source.confidence,
        is_named=encoding is not None,
    )


def choose(rows: list[RawRow], *, file: str, shape: str | None = None, columns: Mapping | None = None) -> Choice | None:
    """The shape most of the rows show, or what a person chose; None if no row shows any.

    `shape` without `columns` takes the columns from the rows that show that shape; `columns` without `shape` is
    the shape that has such parts.
    """
    rows = [row for row in rows if row.fault is None]
    if columns:
        shape = shape or shape_with(columns)
        return Choice(shape=shape, columns=checked_mapping(shape, columns, file=file), confidence=1.0)
    votes = [_vote(row.value, shape) for row in rows]
    counted = Counter((vote[0], tuple(vote[1].items())) for vote in votes if vote)
    if not counted:
        return Choice(shape=shape, columns=checked_mapping(shape, None, file=file), confidence=1.0) if shape else None
    (winner, mapping), count = _most_telling(counted)
    against = [row.row for row, vote in zip(rows, votes, strict=True) if (vote or ("",))[0] != winner]
    return Choice(
        shape=winner,
        columns=dict(mapping),
        confidence=1.0 if shape else round(count / len(votes), 4),
        against=against[:20],
    )


def _vote(value: Any, shape: str | None) -> tuple[str, Mapping] | None:
    """The shape that a row shows; where a person chose one, only that."""
    if shape is None:
        return shape_of(value)
    mapping = mapping_for(shape, value) if shape in SHAPES else None
    return (shape, mapping) if mapping else None


def required_choice(rows: list[RawRow], *, file: str, shape: str | None, columns: Mapping | None) -> Choice:
    """`choose`, or an error that says which keys were found.

    Raises:
        RefusedInput: no shape recognised.
    """
    choice = choose(rows, file=file, shape=shape, columns=columns)
    if choice:
        return choice
    found = columns_of(rows)
    if not rows:
        raise RefusedInput("data.no_rows", file=file)
    if not found:
        raise RefusedInput("data.no_readable_rows", file=file, rows=len(rows))
    hints = [(name, closest(name, _COMMON_COLUMNS)) for name in found]
    hint = next((f"{name} → {meant}" for name, meant in hints if meant and meant != name), None)
    code = "data.unknown_columns_hint" if hint else "data.unknown_columns"
    raise RefusedInput(code, file=file, columns=shorten(", ".join(found)), **({"hint": hint} if hint else {}))


def _most_telling(counted: Counter) -> tuple[tuple[str, tuple], int]:
    """The shape with most votes and, within it, the mapping that knows most columns, so that an optional column that
    only some rows have is not left out."""
    shapes: Counter = Counter()
    for (shape, _), count in counted.items():
        shapes[shape] += count
    shape, total = shapes.most_common(1)[0]
    mappings = [(count, mapping) for (its_shape, mapping), count in counted.items() if its_shape == shape]
    commonest = max(mappings, key=lambda pair: pair[0])[1]
    for _, mapping in mappings:
        if set(commonest) < set(mapping):
            commonest = mapping
    return (shape, commonest), total


def columns_of(rows: list[RawRow]) -> list[str]:
    """Every column of the sampled rows, in order of first appearance."""
    return list(dict.fromkeys(key for row in rows if isinstance(row.value, dict) for key in row.value))


def _converted(rows: list[RawRow], choice: Choice, limit: int) -> tuple[list[PreviewRow], list[Problem]]:
    convert = converter(choice.shape, choice.columns)
    shown: list[PreviewRow] = []
    problems: list[Problem] = []
    for row in rows:
        made, faults = (None, [row.fault]) if row.fault else convert(row.value)
        problems += [row.problem(fault) for fault in faults]
        if made and len(shown) < limit:
            shown.append(_preview_row(row.row, row.raw, made))
    return shown, problems


def _preview_row(number: int, raw: str, made: TrainingRow) -> PreviewRow:
    return PreviewRow(row=number, raw=raw, **msgspec.structs.asdict(made))


def _unread(rows: list[RawRow]) -> list[Problem]:
    return [row.problem(row.fault) for row in rows if row.fault]
