"""Finds rows of a version by filter and search, however large it is: only what is shown is read whole.

    find_rows(folder, Wanted(split="test"), start=20, count=10)  ->  Found(rows=[...], start=20, total=105)
    place_of(folder, 1204)                                       ->  1187   where that row stands

Problems are found in `problem_groups.py`. pyarrow is imported where it is used: the server starts without it.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.workshop.versions.layout import Row, spoken
from studio.workshop.versions.manifest import ROWS, read_manifest
from studio.workshop.versions.reader import open_table, read_rows, row_from, rows_at, whole_columns

MOST_CATEGORIES = 200
MOST_EXCERPTS, EXCERPT_CHARACTERS = 100, 160
MADE_FROM_ROWS = "augment:"
"""How the `origin` of such a row begins."""
NONE = "-"
"""Asks for rows that have no value."""
_UNSAID = ("split", "origin")
"""Columns that a search leaves alone: neither the source nor training has them."""


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
    rows = list(_rows_of(folder, places.slice(start, count).to_pylist()))
    return Found(rows, start, len(places), start + count < len(places))


def excerpts(folder: Path, numbers: Iterable[int], format: str) -> dict[int, str]:
    """The beginning of what these rows say, by row number; rows that are not there are left out."""
    wanted = sorted(set(numbers))[:MOST_EXCERPTS]
    return {number: _excerpt(row, format) for number, row in rows_at(folder, wanted).items()} if wanted else {}


def _excerpt(row: Row, format: str) -> str:
    texts = [turn.get("content") or "" for _, turns in spoken(row, format) for turn in turns]
    return " → ".join(" ".join(text[:EXCERPT_CHARACTERS].split()) for text in texts[:3])


def place_of(folder: Path, number: int) -> int:
    """Where the row of this number stands, or the next higher one."""
    import numpy

    with open_table(folder, ROWS) as file:
        numbers = file.read(columns=["row"])["row"].to_numpy()
    return int(numpy.searchsorted(numbers, number))


# -- what there is to choose from ------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def categories(folder: Path) -> list[tuple[str, int]]:
    """The categories of a version with their rows, largest first; a version never changes."""
    with open_table(folder, ROWS) as file:
        if "category" not in file.schema_arrow.names:
            return []
        held = whole_columns(file, ["category"])["category"].value_counts().to_pylist()
    counts = [(each["values"], each["counts"]) for each in held if each["values"] is not None]
    return sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:MOST_CATEGORIES]


@functools.lru_cache(maxsize=8)
def added(folder: Path) -> list[tuple[int, str]]:
    """Rows that were made here from other rows, by number, each with its origin: `(1001, "augment:synonyms:17")`."""
    import pyarrow.compute as compute

    with open_table(folder, ROWS) as file:
        if "origin" not in file.schema_arrow.names:
            return []
        table = file.read(columns=["row", "origin"])
    made = table.filter(compute.starts_with(table["origin"], MADE_FROM_ROWS))
    return list(zip(made["row"].to_pylist(), made["origin"].to_pylist(), strict=True))


def split_counts(folder: Path) -> dict[str, Counter]:
    """Rows by split side and category: `{"train": Counter({"refund": 80, ...})}`."""
    sides: dict[str, Counter] = {}
    with open_table(folder, ROWS) as file:
        if "split" not in file.schema_arrow.names:
            return {}
        table = whole_columns(file, ["split", "category"])
    for pair in table.group_by(["split", "category"]).aggregate([([], "count_all")]).to_pylist():
        if pair["split"]:
            sides.setdefault(pair["split"], Counter())[pair["category"] or ""] = pair["count_all"]
    return sides


# -- filters ---------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def _places(folder: Path, wanted: Wanted) -> Any:
    """Positions of all wanted rows, the text aside, as an Arrow array; reads the small columns only."""
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    with open_table(folder, ROWS) as file:
        known = file.schema_arrow.names
        needed = [name for name in ("split", "category") if getattr(wanted, name) and name in known]
        table = file.read(columns=needed if needed and not wanted.numbers else ["row", *needed])
    mask = _mask(table, wanted)
    return pyarrow.array(numpy.arange(len(table))) if mask is None else compute.indices_nonzero(mask)


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


def _rows_of(folder: Path, places: list[int]) -> Iterator[Row]:
    """The rows at these positions, group by group."""
    manifest = read_manifest(folder)
    with open_table(folder, ROWS) as file:
        first = 0
        for index in range(file.num_row_groups):
            size = file.metadata.row_group(index).num_rows
            inside = [place - first for place in places if first <= place < first + size]
            first += size
            if inside:
                lines = file.read_row_group(index, use_threads=False).take(inside).to_pylist()
                yield from (row_from(line, manifest) for line in lines)


# -- search ----------------------------------------------------------------------------------------------------------


def _searched(folder: Path, wanted: Wanted, start: int, count: int) -> list[Row]:
    """As `find_rows`, of those that hold the text, in any case; groups are read until there are enough."""
    manifest = read_manifest(folder)
    lines: list[dict[str, Any]] = []
    with open_table(folder, ROWS) as file:
        for index in range(file.num_row_groups):
            table = file.read_row_group(index, use_threads=False)
            found = table.filter(_holding(table, wanted.search))
            mask = _mask(found, wanted)
            found = found if mask is None else found.filter(mask)
            lines += found.slice(start, count - len(lines)).to_pylist()
            start = max(0, start - len(found))
            if len(lines) >= count:
                break
    return [row_from(line, manifest) for line in lines]


def _holding(table: Any, search: str) -> Any:
    """Which rows hold the text, in the source (as it is written there) or in what training gets."""
    import pyarrow

    mask = pyarrow.array([False] * len(table))
    for name in table.column_names:
        if name not in _UNSAID and (hits := _hits(table[name].combine_chunks(), search)):
            mask = pyarrow.compute.or_(mask, hits)
    return mask


def _hits(column: Any, search: str) -> Any | None:
    """Which rows of a column hold the text; None for one that holds no texts."""
    import pyarrow
    import pyarrow.compute as compute

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
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
