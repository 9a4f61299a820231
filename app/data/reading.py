"""Finds rows and problems of a version for a page, however large the version is: only what is shown is read whole.

    find_rows(folder, Wanted(split="test"), start=20, count=10)  ->  Found(rows=[...], start=20, total=105)
    find_problems(folder, "excluded", "clean.duplicates.exact", start=0, count=20)  ->  [Problem(row=3, ...), ...]

pyarrow is imported where it is used: the server starts without it.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.workshop.converting.plain import source_text
from studio.workshop.problems import Problem
from studio.workshop.versions.layout import row_of, spoken
from studio.workshop.versions.reader import PROBLEMS, ROWS, Manifest, Row, read_manifest, read_rows

MOST_CATEGORIES = 200
MOST_EXCERPTS, EXCERPT_CHARACTERS = 100, 160
_FEW_VALUES = ["split", "category", "state", "code"]
MADE_FROM_ROWS = "augment:"
"""How the `origin` of such a row begins."""
NONE = "-"
"""Asks for rows that have no value."""


@dataclass(frozen=True)
class Wanted:
    """Which rows a person asked for; empty: all."""

    search: str = ""
    split: str = ""
    category: str = ""
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Found:
    """A page of rows."""

    rows: list[Row]
    start: int
    total: int | None
    """None: only a search through everything would tell."""
    has_more: bool


def find_rows(folder: Path, wanted: Wanted, *, start: int, count: int) -> Found:
    """`count` of the wanted rows from the `start`-th on."""
    start = max(0, start)
    if wanted.search:
        rows = _searched(folder, wanted, start, count + 1)
        return Found(rows[:count], start, None, len(rows) > count)
    if wanted == Wanted():
        total = read_manifest(folder).rows
        start = min(start, max(0, total - 1))
        return Found(read_rows(folder, start=start, count=count), start, total, start + count < total)
    places = _places(folder, wanted)
    rows = list(_rows_at(folder, places.slice(start, count).to_pylist()))
    return Found(rows, start, len(places), start + count < len(places))


def excerpts(folder: Path, numbers: Iterable[int], format: str) -> dict[int, str]:
    """The beginning of what these rows say, by row number; rows that are not there are left out."""
    wanted = Wanted(numbers=tuple(sorted(set(numbers))[:MOST_EXCERPTS]))
    if not wanted.numbers:
        return {}
    rows = _rows_at(folder, _places(folder, wanted).to_pylist())
    return {row.row: _excerpt(row, format) for row in rows}


def _excerpt(row: Row, format: str) -> str:
    texts = [turn.get("content") or "" for _, turns in spoken(row, format) for turn in turns]
    return " → ".join(" ".join(text[:EXCERPT_CHARACTERS].split()) for text in texts[:3])


def place_of(folder: Path, number: int) -> int:
    """Where the row of this number stands, or the next higher one."""
    import numpy

    with _opened(folder, ROWS) as file:
        numbers = file.read(columns=["row"])["row"].to_numpy()
    return int(numpy.searchsorted(numbers, number))


@functools.lru_cache(maxsize=32)
def categories(folder: Path) -> list[tuple[str, int]]:
    """The categories of a version with their rows, largest first; a version never changes."""
    return _counted(folder, "category")[:MOST_CATEGORIES]


@functools.lru_cache(maxsize=8)
def added(folder: Path) -> list[tuple[int, str]]:
    """Rows that were made here from other rows, by number, each with its origin: `(1001, "augment:synonyms:17")`."""
    import pyarrow.compute as compute

    with _opened(folder, ROWS) as file:
        if "origin" not in file.schema_arrow.names:
            return []
        table = file.read(columns=["row", "origin"])
    made = table.filter(compute.starts_with(table["origin"], MADE_FROM_ROWS))
    return list(zip(made["row"].to_pylist(), made["origin"].to_pylist(), strict=True))


def split_counts(folder: Path) -> dict[str, Counter]:
    """Rows by split side and category: `{"train": Counter({"refund": 80, ...})}`."""
    sides: dict[str, Counter] = {}
    with _opened(folder, ROWS) as file:
        if "split" not in file.schema_arrow.names:
            return {}
        table = file.read(columns=["split", "category"])
    for pair in table.group_by(["split", "category"]).aggregate([([], "count_all")]).to_pylist():
        if pair["split"]:
            sides.setdefault(pair["split"], Counter())[pair["category"] or ""] = pair["count_all"]
    return sides


def _counted(folder: Path, column: str) -> list[tuple[str, int]]:
    with _opened(folder, ROWS) as file:
        if column not in file.schema_arrow.names:
            return []
        held = file.read(columns=[column])[column].value_counts().to_pylist()
    counts = [(each["values"], each["counts"]) for each in held if each["values"] is not None]
    return sorted(counts, key=lambda pair: (-pair[1], pair[0]))


@functools.lru_cache(maxsize=4)
def _places(folder: Path, wanted: Wanted) -> Any:
    """Positions of all wanted rows, the text aside, as an Arrow array; reads the small columns only."""
    import pyarrow
    import pyarrow.compute as compute

    with _opened(folder, ROWS) as file:
        known = file.schema_arrow.names
        needed = [name for name in ("split", "category") if getattr(wanted, name) and name in known]
        table = file.read(columns=needed if needed and not wanted.numbers else ["row", *needed])
    mask = _mask(table, wanted)
    return pyarrow.array(range(len(table))) if mask is None else compute.indices_nonzero(mask)


def _mask(table: Any, wanted: Wanted) -> Any | None:
    """Which lines are wanted, the text aside; None: all of them."""
    import pyarrow
    import pyarrow.compute as compute

    hits = []
    if wanted.numbers:
        hits.append(compute.is_in(table["row"], value_set=pyarrow.array(wanted.numbers, pyarrow.int64())))
    for name in ("split", "category"):
        value = getattr(wanted, name)
        if value and name in table.column_names:
            column = table[name]
            hits.append(
                compute.is_null(column) if value == NONE else compute.is_in(column, value_set=pyarrow.array([value]))
            )
    return functools.reduce(compute.and_, hits) if hits else None


def _rows_at(folder: Path, places: list[int]) -> Iterator[Row]:
    """The rows at these positions, group by group."""
    manifest = read_manifest(folder)
    with _opened(folder, ROWS) as file:
        first = 0
        for index in range(file.num_row_groups):
            size = file.metadata.row_group(index).num_rows
            inside = [place - first for place in places if first <= place < first + size]
            first += size
            if inside:
                lines = file.read_row_group(index, use_threads=False).take(inside).to_pylist()
                yield from (_row(line, manifest) for line in lines)


def _searched(folder: Path, wanted: Wanted, start: int, count: int) -> list[Row]:
    """As `find_rows`, of those that hold the text; groups are read until there are enough."""
    from studio.workshop.versions.reader import matches

    manifest = read_manifest(folder)
    lines: list[dict[str, Any]] = []
    with _opened(folder, ROWS) as file:
        for index in range(file.num_row_groups):
            table = file.read_row_group(index, use_threads=False)
            found = table.filter(matches(table, wanted.search))
            mask = _mask(found, wanted)
            found = found if mask is None else found.filter(mask)
            lines += found.slice(start, count - len(lines)).to_pylist()
            start = max(0, start - len(found))
            if len(lines) >= count:
                break
    return [_row(line, manifest) for line in lines]


def _row(line: dict[str, Any], manifest: Manifest) -> Row:
    fields = row_of(line, manifest.format)
    known = set(Row.__struct_fields__)
    return Row(**{name: value for name, value in fields.items() if name in known} | _raw(fields, manifest))


def _raw(fields: dict[str, Any], manifest: Manifest) -> dict[str, str]:
    return {} if "raw" in fields else {"raw": source_text(fields, manifest)}


# -- problems ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Rows of one kind of problem, or of one reason for which they were taken out."""

    state: str
    code: str
    rows: int
    first: Problem
    """An example."""


def problem_groups(folder: Path) -> list[Group]:
    """Every kind of problem with its rows, open ones first, largest first."""
    with _opened(folder, PROBLEMS) as file:
        if not file.metadata.num_rows:
            return []
        table = file.read(columns=["state", "code", "row"])
    counted = table.group_by(["state", "code"]).aggregate([("row", "count_distinct"), ("row", "min")]).to_pylist()
    counted.sort(key=lambda each: (each["state"] != "open", -each["row_count_distinct"], each["code"]))
    return [
        Group(
            each["state"],
            each["code"],
            each["row_count_distinct"],
            find_problems(folder, each["state"], each["code"], start=0, count=1)[0],
        )
        for each in counted
    ]


def find_problems(folder: Path, state: str, code: str, *, start: int, count: int) -> list[Problem]:
    """`count` problems of this kind from the `start`-th on, in row order."""
    lines: list[dict[str, Any]] = []
    with _opened(folder, PROBLEMS) as file:
        for index in range(file.num_row_groups):
            if len(lines) >= count:
                break
            places = _problem_places(file.read_row_group(index, columns=["state", "code"]), state, code)
            inside = places[start : start + count - len(lines)]
            start = max(0, start - len(places))
            if inside:
                lines += file.read_row_group(index, use_threads=False).take(inside).to_pylist()
    return [_problem(line, read_manifest(folder)) for line in lines]


def problem_rows(folder: Path, state: str, code: str) -> list[int]:
    """The numbers of all rows with this kind of problem."""
    with _opened(folder, PROBLEMS) as file:
        table = file.read(columns=["state", "code", "row"])
    places = _problem_places(table, state, code)
    return sorted(set(table["row"].take(places).to_pylist()))


def _problem_places(table: Any, state: str, code: str) -> list[int]:
    import pyarrow.compute as compute

    is_kind = compute.and_(compute.equal(table["state"], state), compute.equal(table["code"], code))
    return compute.indices_nonzero(is_kind).to_pylist()


def _problem(line: dict[str, Any], manifest: Manifest) -> Problem:
    values = msgspec.json.decode(line["values"])
    if line["code"] == "unknown_role_hint":
        values["count"] = manifest.speakers.get(values["hint"], 0)
    elif line["code"] == "missing_key_hint":
        values["count"] = manifest.rows
    return Problem(**line | {"values": values})


def _opened(folder: Path, name: str) -> Any:
    import pyarrow.parquet
    from pyarrow import ArrowException

    path = Path(folder) / name
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            metadata, few = file.metadata, [column for column in _FEW_VALUES if column in file.schema_arrow.names]
        return pyarrow.parquet.ParquetFile(path, metadata=metadata, read_dictionary=few)
    except (OSError, ArrowException) as error:
        raise RefusedInput("data.version_damaged", folder=str(folder)) from error
