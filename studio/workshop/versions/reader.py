"""Reads a data set version: a page at a time, by row number, or row by row in bounded memory. It is never changed.

    read_rows(folder, start=0, count=20)  ->  [Row(row=1, raw='{"messages": ...}', messages=[...]), ...]
    rows_at(folder, [17, 4])              ->  {4: Row(...), 17: Row(...)}

Filters and search are in `finding.py`. The names that write versions are here too, so that one import serves:
`VersionWriter`, `write_version`. pyarrow is imported where it is used: the server starts without it.
"""

import functools
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.workshop.converting.plain import source_text
from studio.workshop.members import within
from studio.workshop.problems import Problem
from studio.workshop.versions.layout import Row, TrainingRow, row_of
from studio.workshop.versions.manifest import MANIFEST, PROBLEMS, ROWS, Manifest, Step, read_manifest
from studio.workshop.versions.rewrite import write_version
from studio.workshop.versions.writer import VersionWriter

__all__ = [
    "MANIFEST",
    "PROBLEMS",
    "ROWS",
    "Manifest",
    "Row",
    "Step",
    "TrainingRow",
    "VersionWriter",
    "count_problems",
    "iterate_problems",
    "iterate_rows",
    "open_table",
    "problem_from",
    "read_manifest",
    "read_problems",
    "read_rows",
    "row_from",
    "row_spans",
    "rows_at",
    "whole_columns",
    "write_version",
]

READ_ROWS = 512
_FEW_VALUES = ("split", "category", "state", "code")
"""Columns whose values repeat: read as dictionaries, they are filtered and counted several times faster."""


def read_rows(folder: Path, *, start: int, count: int) -> list[Row]:
    """`count` rows from the `start`-th on (from 0)."""
    manifest = read_manifest(folder)
    with open_table(folder, ROWS) as file:
        return [row_from(line, manifest) for line in _page(file, start, count)]


def rows_at(folder: Path, numbers: Iterable[int]) -> dict[int, Row]:
    """The rows of these numbers that the version has, without their source text, in the version's order.

    A row is found without reading the others: row groups that cannot hold a wanted number are left alone.
    """
    import pyarrow
    import pyarrow.compute as compute

    wanted = sorted(set(numbers))
    manifest, found = read_manifest(folder), {}
    places = pyarrow.array(wanted, pyarrow.int64())
    for table in _groups_with(folder, wanted):
        lines = table.filter(compute.is_in(table["row"], value_set=places)).to_pylist()
        found |= {line["row"]: Row(**row_of(line, manifest.format)) for line in lines}
    return found


def read_problems(folder: Path, *, start: int, count: int) -> list[Problem]:
    """`count` faults from the `start`-th on (from 0), in row order; excluded rows are among them."""
    manifest = read_manifest(folder)
    with open_table(folder, PROBLEMS) as file:
        return [problem_from(line, manifest) for line in _page(file, start, count)]


def count_problems(folder: Path) -> int:
    """Lines of problems.parquet: faults of open rows, and those of excluded ones."""
    with open_table(folder, PROBLEMS) as file:
        return file.metadata.num_rows


def iterate_rows(folder: Path) -> Iterator[Row]:
    """Every row in order, in bounded memory."""
    manifest = read_manifest(folder)
    with open_table(folder, ROWS) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS, use_threads=False):
            yield from (row_from(line, manifest) for line in batch.to_pylist())


def iterate_problems(folder: Path) -> Iterator[Problem]:
    manifest = read_manifest(folder)
    with open_table(folder, PROBLEMS) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS, use_threads=False):
            yield from (problem_from(line, manifest) for line in batch.to_pylist())


# -- tables and their lines ------------------------------------------------------------------------------------------


def open_table(folder: Path, name: str) -> Any:
    """A version's table as a `pyarrow.parquet.ParquetFile`, to be closed.

    Raises:
        RefusedInput: it is not there or not whole.
    """
    import pyarrow.parquet
    from pyarrow import ArrowException

    path = Path(folder) / name
    try:
        seen = path.stat()
        metadata, few = _known_of(path, seen.st_mtime_ns, seen.st_size)
        return pyarrow.parquet.ParquetFile(path, metadata=metadata, read_dictionary=few)
    except (OSError, ArrowException) as error:
        raise RefusedInput("data.version_damaged", folder=str(folder)) from error


@functools.lru_cache(maxsize=16)
def _known_of(path: Path, modified_ns: int, size: int) -> tuple[Any, list[str]]:
    """A table's metadata, which of many row groups takes long to read, and its columns whose values repeat."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        return file.metadata, [column for column in _FEW_VALUES if column in file.schema_arrow.names]


def row_spans(file: Any, groups: Iterable[int] | None = None) -> list[tuple[int, int] | None]:
    """The lowest and the highest row number of row groups of rows.parquet, all or these; None where it is not told."""
    at = file.schema_arrow.names.index("row")
    chosen = range(file.num_row_groups) if groups is None else groups
    told = (file.metadata.row_group(index).column(at).statistics for index in chosen)
    return [(each.min, each.max) if each is not None and each.has_min_max else None for each in told]


def whole_columns(file: Any, names: list[str]) -> Any:
    """Columns of a table as one Arrow table; each row group's own dictionaries become one, as counting needs them."""
    return file.read(columns=names).unify_dictionaries()


def row_from(line: dict[str, Any], manifest: Manifest) -> Row:
    """A line of rows.parquet as a row, with its source text."""
    fields = row_of(line, manifest.format)
    if "raw" not in fields:
        fields["raw"] = source_text(fields, manifest)
    return Row(**fields)


def problem_from(line: dict[str, Any], manifest: Manifest) -> Problem:
    """A line of problems.parquet as a problem."""
    values = msgspec.json.decode(line["values"])
    place = within(manifest.source, line["row"]) if line["code"] != "reading.member_not_read" else {}
    return Problem(**line | {"values": place | values | _others(line["code"], values, manifest)})


def _others(code: str, values: dict[str, Any], manifest: Manifest) -> dict[str, int]:
    """How many other rows do it right, which only the whole file tells: `{"count": 1204}` for a misspelt speaker."""
    if code == "unknown_role_hint":
        return {"count": manifest.speakers.get(values["hint"], 0)}
    return {"count": manifest.rows} if code == "missing_key_hint" else {}


def _page(file: Any, start: int, count: int) -> list[dict[str, Any]]:
    """Lines of a table; only the row groups that they touch are read."""
    lines: list[dict[str, Any]] = []
    for index in range(file.num_row_groups):
        if len(lines) >= count:
            break
        size = file.metadata.row_group(index).num_rows
        if start < size:
            lines += file.read_row_group(index, use_threads=False).slice(start, count - len(lines)).to_pylist()
        start = max(0, start - size)
    return lines


def _groups_with(folder: Path, wanted: list[int]) -> Iterator[Any]:
    """Row groups that may hold one of the numbers, without the source text."""
    with open_table(folder, ROWS) as file:
        columns = [name for name in file.schema_arrow.names if name != "raw"]
        for index, span in enumerate(row_spans(file)):
            if span is None or _has_between(wanted, *span):
                yield file.read_row_group(index, columns=columns, use_threads=False)


def _has_between(numbers: list[int], low: int, high: int) -> bool:
    at = bisect_left(numbers, low)
    return at < len(numbers) and numbers[at] <= high
