"""A data set version on disk: written once in one streaming pass, read a page at a time, never changed.

    rows.parquet       row, messages | prompt and completion, raw          rows that training gets
    problems.parquet   row, code, field, values, raw, state                one line a fault, in row order
    manifest.json      written last: its existence means the version is whole

pyarrow is imported where it is used: the server starts without it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.protocol import utc_now, write_struct
from studio.workshop.convert import TrainingRow
from studio.workshop.problems import EXCLUDED, OPEN, Problem
from studio.workshop.shapes import MESSAGES_FORMAT, Mapping

ROWS, PROBLEMS, MANIFEST = "rows.parquet", "problems.parquet", "manifest.json"
GROUP_ROWS, GROUP_CHARACTERS = 2000, 4 << 20
"""A row group is the least that reading one page costs, and the most that writing holds in memory."""
READ_ROWS = 512


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a version: what training gets, beside the source row as JSON text."""

    row: int
    raw: str
    messages: list[dict[str, str]] | None = None
    prompt: str | None = None
    completion: str | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done to get from the parent, or the source, to this version."""

    operation: str
    """import, edit or exclude."""
    parameters: dict[str, Any]
    rows_in: int
    rows_out: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """manifest.json of a version."""

    format: str
    """trl type: messages or prompt_completion."""
    shape: str
    columns: Mapping
    """Column -> part it plays; edited rows are read by it again."""
    source: dict[str, Any]
    """file, kind and size_bytes of what was imported."""
    parent: str | None
    """Content hash of the version that this one was made from."""
    steps: list[Step]
    source_rows: int
    """Rows of the source; always rows + problems + excluded."""
    rows: int
    problems: int
    """Rows that cannot be used and are not excluded by hand."""
    excluded: int
    blank_lines: int
    problem_codes: dict[str, int]
    """Open faults by code."""
    content_hash: str
    """sha256 over what training gets, in order."""
    created_at: str
    layout: int = 1


class VersionWriter:
    """Writes a version folder row by row; `finish` makes it whole."""

    def __init__(self, folder: Path, *, format: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.format = format
        self.rows = self.problems = self.excluded = 0
        self._codes: Counter[str] = Counter()
        self._hash = hashlib.sha256(format.encode())
        self._encode = msgspec.json.Encoder().encode
        self._rows = _GroupWriter(folder / ROWS, _rows_schema(format))
        self._problems = _GroupWriter(folder / PROBLEMS, _problems_schema())
        self._last_problem = None

    def add(self, row: int, raw: str, made: TrainingRow) -> None:
        if self.format == MESSAGES_FORMAT:
            trained: tuple = (made.messages,)
        else:
            trained = (made.prompt, made.completion)
        text = self._encode(trained)
        self._hash.update(text)
        self._hash.update(b"\n")
        self._rows.add((row, *trained, raw), len(text) + len(raw))
        self.rows += 1

    def add_problem(self, problem: Problem) -> None:
        """Faults of one row follow one another; the row is counted once."""
        if problem.row != self._last_problem:
            self._last_problem = problem.row
            self.problems += problem.state == OPEN
            self.excluded += problem.state == EXCLUDED
        if problem.state == OPEN:
            self._codes[problem.code] += 1
        values = self._encode(problem.values).decode()
        line = (problem.row, problem.code, problem.field, values, problem.raw, problem.state)
        self._problems.add(line, len(problem.raw) + len(values))

    def finish(self, **known: Any) -> Manifest:
        """Close both tables, then write the manifest with the `known` rest of its fields."""
        self.close()
        manifest = Manifest(
            format=self.format,
            source_rows=self.rows + self.problems + self.excluded,
            rows=self.rows,
            problems=self.problems,
            excluded=self.excluded,
            problem_codes=dict(self._codes.most_common()),
            content_hash=self._hash.hexdigest(),
            created_at=utc_now(),
            **known,
        )
        write_struct(self.folder / MANIFEST, manifest)
        return manifest

    def close(self) -> None:
        self._rows.close()
        self._problems.close()


class _GroupWriter:
    """Collects lines and writes them as Parquet row groups of bounded size."""

    def __init__(self, path: Path, schema: Any) -> None:
        import pyarrow.parquet

        self._schema = schema
        self._writer = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
        self._lines: list[tuple] = []
        self._size = 0

    def add(self, line: tuple, size: int) -> None:
        self._lines.append(line)
        self._size += size
        if len(self._lines) >= GROUP_ROWS or self._size >= GROUP_CHARACTERS:
            self._flush()

    def close(self) -> None:
        if self._lines:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        columns = zip(*self._lines, strict=True)
        arrays = [_array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))
        self._lines, self._size = [], 0


def _array(values: tuple, kind: Any) -> Any:
    """An Arrow array; conversations are laid out by hand, which is several times faster than from dicts."""
    import pyarrow

    if not pyarrow.types.is_list(kind):
        return pyarrow.array(values, kind)
    turns = [turn for messages in values for turn in messages]
    ends = [0]
    for messages in values:
        ends.append(ends[-1] + len(messages))
    texts = [pyarrow.array([turn[key] for turn in turns], pyarrow.string()) for key in ("role", "content")]
    items = pyarrow.StructArray.from_arrays(texts, names=["role", "content"])
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends, pyarrow.int32()), items, type=kind)


def _rows_schema(format: str) -> Any:
    import pyarrow

    text = pyarrow.string()
    turn = pyarrow.struct([("role", text), ("content", text)])
    trained = (
        [("messages", pyarrow.list_(turn))] if format == MESSAGES_FORMAT else [("prompt", text), ("completion", text)]
    )
    return pyarrow.schema([("row", pyarrow.int64()), *trained, ("raw", text)])


def _problems_schema() -> Any:
    import pyarrow

    names = ("code", "field", "values", "raw", "state")
    return pyarrow.schema([("row", pyarrow.int64()), *((name, pyarrow.string()) for name in names)])


# -- reading -------------------------------------------------------------------------------------------------------


def read_manifest(folder: Path) -> Manifest:
    """
    Raises:
        RefusedInput: there is no whole version in `folder`.
    """
    try:
        return msgspec.json.decode((Path(folder) / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusedInput("data.version_damaged", folder=str(folder)) from error


def read_rows(folder: Path, *, start: int, count: int, search: str | None = None) -> list[Row]:
    """`count` rows from the `start`-th on (from 0); with `search`, of those that hold that text, in any case."""
    with _open_table(folder, ROWS) as file:
        groups = _matching_groups(file, search) if search else _groups(file)
        return [Row(**line) for line in _page(groups, start, count)]


def read_problems(folder: Path, *, start: int, count: int) -> list[Problem]:
    """`count` faults from the `start`-th on (from 0), in row order; excluded rows are among them."""
    with _open_table(folder, PROBLEMS) as file:
        return [_problem(line) for line in _page(_groups(file), start, count)]


def count_problems(folder: Path) -> int:
    """Lines of problems.parquet: faults of open rows, and those of excluded ones."""
    with _open_table(folder, PROBLEMS) as file:
        return file.metadata.num_rows


def iterate_rows(folder: Path) -> Iterator[Row]:
    """Every row in order, in bounded memory."""
    with _open_table(folder, ROWS) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS, use_threads=False):
            yield from (Row(**line) for line in batch.to_pylist())


def iterate_problems(folder: Path) -> Iterator[Problem]:
    with _open_table(folder, PROBLEMS) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS, use_threads=False):
            yield from map(_problem, batch.to_pylist())


def _open_table(folder: Path, name: str) -> Any:
    import pyarrow.parquet
    from pyarrow import ArrowException

    try:
        return pyarrow.parquet.ParquetFile(Path(folder) / name)
    except (OSError, ArrowException) as error:
        raise RefusedInput("data.version_damaged", folder=str(folder)) from error


def _problem(line: dict[str, Any]) -> Problem:
    return Problem(**line | {"values": msgspec.json.decode(line["values"])})


def _groups(file: Any) -> Iterator[tuple[int, Any]]:
    """Each row group's number of rows, and how to read it: a page reads only the groups that it touches."""
    for index in range(file.num_row_groups):
        yield file.metadata.row_group(index).num_rows, lambda index=index: file.read_row_group(index, use_threads=False)


def _matching_groups(file: Any, search: str) -> Iterator[tuple[int, Any]]:
    for _, read in _groups(file):
        table = read()
        found = table.filter(_matches(table, search))
        yield found.num_rows, lambda found=found: found


def _matches(table: Any, search: str) -> Any:
    """Which rows hold the text, in the source (as it is written there) or in what training gets."""
    import pyarrow
    import pyarrow.compute as compute

    mask = compute.match_substring(table["raw"], search, ignore_case=True)
    for name in table.column_names[1:-1]:
        column = table[name].combine_chunks()
        if not pyarrow.types.is_list(column.type):
            mask = compute.or_(mask, compute.match_substring(column, search, ignore_case=True))
            continue
        said = compute.struct_field(compute.list_flatten(column), "content")
        hits = compute.filter(
            compute.list_parent_indices(column), compute.match_substring(said, search, ignore_case=True)
        )
        places = pyarrow.array(range(len(column)), pyarrow.int64())
        mask = compute.or_(mask, compute.is_in(places, value_set=hits.cast(pyarrow.int64())))
    return mask


def _page(groups: Iterator[tuple[int, Any]], start: int, count: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for size, read in groups:
        if len(lines) >= count:
            break
        if start >= size:
            start -= size
            continue
        lines += read().slice(start, count - len(lines)).to_pylist()
        start = 0
    return lines
