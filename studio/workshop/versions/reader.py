"""Reads a data set version: a page at a time, or row by row in bounded memory. A version is never changed.

    read_rows(folder, start=0, count=20)  ->  [Row(row=1, raw='{"messages": ...}', messages=[...]), ...]

The names that write versions are here too, so that one import serves: `VersionWriter`, `write_version`. pyarrow is
imported where it is used: the server starts without it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.workshop.converting.plain import source_text
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
    "read_manifest",
    "read_problems",
    "read_rows",
    "write_version",
]

READ_ROWS = 512


def read_rows(folder: Path, *, start: int, count: int, search: str | None = None) -> list[Row]:
    """`count` rows from the `start`-th on (from 0); with `search`, of those that hold that text, in any case."""
    manifest = read_manifest(folder)
    with _open_table(folder, ROWS) as file:
        groups = _matching_groups(file, search) if search else _groups(file)
        return [_row(line, manifest) for line in _page(groups, start, count)]


def read_problems(folder: Path, *, start: int, count: int) -> list[Problem]:
    """`count` faults from the `start`-th on (from 0), in row order; excluded rows are among them."""
    manifest = read_manifest(folder)
    with _open_table(folder, PROBLEMS) as file:
        return [_problem(line, manifest) for line in _page(_groups(file), start, count)]


def count_problems(folder: Path) -> int:
    """Lines of problems.parquet: faults of open rows, and those of excluded ones."""
    with _open_table(folder, PROBLEMS) as file:
        return file.metadata.num_rows


def iterate_rows(folder: Path) -> Iterator[Row]:
    """Every row in order, in bounded memory."""
    manifest = read_manifest(folder)
    with _open_table(folder, ROWS) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS, use_threads=False):
            yield from (_row(line, manifest) for line in batch.to_pylist())


def iterate_problems(folder: Path) -> Iterator[Problem]:
    manifest = read_manifest(folder)
    with _open_table(folder, PROBLEMS) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS, use_threads=False):
            yield from (_problem(line, manifest) for line in batch.to_pylist())


def _open_table(folder: Path, name: str) -> Any:
    import pyarrow.parquet
    from pyarrow import ArrowException

    try:
        return pyarrow.parquet.ParquetFile(Path(folder) / name)
    except (OSError, ArrowException) as error:
        raise RefusedInput("data.version_damaged", folder=str(folder)) from error


def _row(line: dict[str, Any], manifest: Manifest) -> Row:
    fields = row_of(line, manifest.format)
    if "raw" not in fields:
        fields["raw"] = source_text(fields, manifest)
    return Row(**fields)


def _problem(line: dict[str, Any], manifest: Manifest) -> Problem:
    values = msgspec.json.decode(line["values"])
    return Problem(**line | {"values": values | _others(line["code"], values, manifest)})


def _others(code: str, values: dict[str, Any], manifest: Manifest) -> dict[str, int]:
    """How many other rows do it right, which only the whole file tells: `{"count": 1204}` for a misspelt speaker."""
    if code == "unknown_role_hint":
        return {"count": manifest.speakers.get(values["hint"], 0)}
    return {"count": manifest.rows} if code == "missing_key_hint" else {}


def _groups(file: Any) -> Iterator[tuple[int, Any]]:
    """Each row group's number of rows, and how to read it: a page reads only the groups that it touches."""
    for index in range(file.num_row_groups):
        yield file.metadata.row_group(index).num_rows, lambda index=index: file.read_row_group(index, use_threads=False)


def _matching_groups(file: Any, search: str) -> Iterator[tuple[int, Any]]:
    for _, read in _groups(file):
        table = read()
        found = table.filter(matches(table, search))
        yield found.num_rows, lambda found=found: found


def matches(table: Any, search: str) -> Any:
    """Which rows hold the text, in the source (as it is written there) or in what training gets."""
    import pyarrow

    mask = pyarrow.array([False] * len(table))
    for name in table.column_names:
        if hits := _hits(table[name].combine_chunks(), search):
            mask = pyarrow.compute.or_(mask, hits)
    return mask


def _hits(column: Any, search: str) -> Any | None:
    """Which rows of a column hold the text; None for one that holds no texts."""
    import pyarrow
    import pyarrow.compute as compute

    kind = column.type
    if pyarrow.types.is_string(kind):
        return compute.match_substring(column, search, ignore_case=True).fill_null(False)
    if not pyarrow.types.is_list(kind):
        return None
    items = column.flatten()
    if pyarrow.types.is_struct(kind.value_type):
        items = compute.struct_field(items, "content")
    if not pyarrow.types.is_string(items.type):
        return None
    found = compute.match_substring(items, search, ignore_case=True).fill_null(False)
    parents = compute.filter(compute.list_parent_indices(column), found)
    places = pyarrow.array(range(len(column)), pyarrow.int64())
    return compute.is_in(places, value_set=parents.cast(pyarrow.int64()))


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
