"""Finds rows of a version by filter and search, however large it is: only what is shown is read whole.

    find_rows(folder, Wanted(split="test"), start=20, count=10)  ->  Found(rows=[...], start=20, total=105)
    place_of(folder, 1204)                                       ->  1187   where that row stands

Where they stand is found by `scanning.py`, as far as is asked; problems are found in `problem_groups.py`. pyarrow is
imported where it is used: the server starts without it.
"""

import functools
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from studio.workshop.versions.layout import Row, spoken
from studio.workshop.versions.manifest import ROWS, read_manifest
from studio.workshop.versions.reader import open_table, read_rows, row_from, row_spans, rows_at, whole_columns
from studio.workshop.versions.scanning import NONE, Wanted, scan_of

__all__ = [
    "NONE",
    "Found",
    "Wanted",
    "added",
    "categories",
    "excerpts",
    "find_rows",
    "place_of",
    "split_counts",
]

MOST_CATEGORIES = 200
MOST_EXCERPTS, EXCERPT_CHARACTERS = 100, 160
MADE_FROM_ROWS = "augment:"
"""How the `origin` of such a row begins."""


@dataclass(frozen=True)
class Found:
    """A page of rows."""

    rows: list[Row]
    start: int
    total: int | None
    """None while nobody has looked that far."""
    has_more: bool
    share: float = 1.0
    """How much of the version was looked through for them."""

    @property
    def is_unfinished(self) -> bool:
        """Whether the search was stopped before the page was full: asked again, it goes on from there."""
        return self.share < 1 and not self.has_more


def find_rows(folder: Path, wanted: Wanted, *, start: int, count: int, seconds: float | None = None) -> Found:
    """`count` of the wanted rows from the `start`-th on.

    Args:
        seconds: look no longer than this and give what was found. None: until the page is full; all that a filter finds
            are counted then, which a search leaves.
    """
    start = max(0, start)
    if wanted == Wanted():
        total = read_manifest(folder).rows
        start = min(start, max(0, total - 1))
        return Found(read_rows(folder, start=start, count=count), start, total, start + count < total)
    scan = scan_of(folder, wanted)
    enough = start + count + 1 if wanted.search or seconds is not None else inf
    scan.go_on(enough=enough, seconds=inf if seconds is None else seconds)
    rows = list(_rows_of(folder, scan.places[start : start + count]))
    known = len(scan.places)
    return Found(rows, start, known if scan.is_done else None, start + count < known, scan.share)


def excerpts(folder: Path, numbers: Iterable[int], format: str) -> dict[int, str]:
    """The beginning of what these rows say, by row number; rows that are not there are left out."""
    wanted = sorted(set(numbers))[:MOST_EXCERPTS]
    return {number: _excerpt(row, format) for number, row in rows_at(folder, wanted).items()} if wanted else {}


def _excerpt(row: Row, format: str) -> str:
    texts = [turn.get("content") or "" for _, turns in spoken(row, format) for turn in turns]
    return " → ".join(" ".join(text[:EXCERPT_CHARACTERS].split()) for text in texts[:3])


def place_of(folder: Path, number: int) -> int:
    """Where the row of this number stands, or the next higher one."""
    first = 0
    with open_table(folder, ROWS) as file:
        for index, span in enumerate(row_spans(file)):
            size = file.metadata.row_group(index).num_rows
            if span is None or number <= span[1]:
                numbers = file.read_row_group(index, columns=["row"], use_threads=False)["row"].to_numpy()
                place = int(numbers.searchsorted(number))
                if place < size:
                    return first + place
            first += size
    return first


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


# -- rows at places ---------------------------------------------------------------------------------------------------


def _rows_of(folder: Path, places: Sequence[int]) -> Iterator[Row]:
    """The rows at these positions, which rise; only their row groups are read."""
    if not places:
        return
    manifest = read_manifest(folder)
    with open_table(folder, ROWS) as file:
        first = 0
        for index in range(file.num_row_groups):
            after = first + file.metadata.row_group(index).num_rows
            inside = places[bisect_left(places, first) : bisect_left(places, after)]
            if inside:
                table = file.read_row_group(index, use_threads=False)
                lines = table.take([place - first for place in inside]).to_pylist()
                yield from (row_from(line, manifest) for line in lines)
            first = after
