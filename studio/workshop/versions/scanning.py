"""Where the wanted rows of a version stand, found row group by row group and only as far as somebody asks.

    scan = scan_of(folder, Wanted(search="refund"))
    scan.go_on(enough=11)     scan.places[:11]  ->  [4, 90, 113, ...]     scan.share  ->  0.02
    scan.go_on(enough=21)     goes on where it stopped

What was found is kept for the filters and searches that were asked last: a version never changes. pyarrow is imported
where it is used: the server starts without it.
"""

import functools
import threading
import time
from array import array
from bisect import bisect_left
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from studio.workshop.versions.manifest import ROWS
from studio.workshop.versions.reader import open_table, row_spans

NONE = "-"
"""Asks for rows that have no value."""
KEPT_SCANS = 32
COUNTING_SECONDS = 0.02
"""So long a scan goes on for the count alone once there are enough places: that of a small version is soon whole."""
MOST_GROUPS = 64
"""A filter looks at so many row groups at once in the end, at one at first; a search at one all the time."""
_CHOSEN = ("split", "category")
"""Columns that are filtered by value."""
_UNSAID = ("split", "origin")
"""Columns that a search leaves alone: neither the source nor training has them."""


@dataclass(frozen=True)
class Wanted:
    """Which rows a person asked for; empty: all."""

    search: str = ""
    split: str = ""
    category: str = ""
    numbers: tuple[int, ...] = ()


def scan_of(folder: Path, wanted: Wanted) -> "Scan":
    """The scan for these rows, as far as it is by now."""
    return _kept_scan(folder, replace(wanted, numbers=tuple(sorted(wanted.numbers))))


@functools.lru_cache(maxsize=KEPT_SCANS)
def _kept_scan(folder: Path, wanted: Wanted) -> "Scan":
    return Scan(folder, wanted)


class Scan:
    """Looks through the row groups of rows.parquet in order."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.places = array("q")
        """Positions of wanted rows, from 0, rising."""
        self.share = 0.0
        """How much of the version was looked through; at 1 `places` holds all of them."""
        self._folder = folder
        self._wanted = wanted
        self._lock = threading.Lock()
        self._groups = self._rows = 0
        """Row groups that were looked through, and their rows."""
        self._step = 1

    @property
    def is_done(self) -> bool:
        return self.share == 1

    def go_on(self, *, enough: float, seconds: float = inf) -> None:
        """Find `enough` places, or what there is of them, but stop after `seconds`."""
        began = time.monotonic()
        with self._lock:
            if self.is_done or len(self.places) >= enough:
                return
            with open_table(self._folder, ROWS) as file:
                while not self.is_done:
                    self._take_next(file)
                    spent = time.monotonic() - began
                    if spent >= seconds or len(self.places) >= enough and spent >= COUNTING_SECONDS:
                        return

    def _take_next(self, file: Any) -> None:
        """Look at the next row groups."""
        groups = range(self._groups, min(self._groups + self._step, file.num_row_groups))
        if _may_hold(file, groups, self._wanted.numbers):
            columns = [name for name in file.schema_arrow.names if _is_needed(name, self._wanted)] or ["row"]
            table = file.read_row_groups(groups, columns=columns, use_threads=False)
            self.places.extend((_indices(table, self._wanted) + self._rows).tolist())
        self._groups = groups.stop
        self._rows += sum(file.metadata.row_group(index).num_rows for index in groups)
        self._step = 1 if self._wanted.search else min(2 * self._step, MOST_GROUPS)
        self.share = 1.0 if self._groups >= file.num_row_groups else self._rows / file.metadata.num_rows


def _may_hold(file: Any, groups: range, numbers: tuple[int, ...]) -> bool:
    """Whether one of the numbers may be in these groups; they are sorted."""
    spans = row_spans(file, groups) if numbers else []
    if not numbers or None in spans:
        return True
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    at = bisect_left(numbers, low)
    return at < len(numbers) and numbers[at] <= high


def _is_needed(name: str, wanted: Wanted) -> bool:
    if name == "row":
        return bool(wanted.numbers)
    if name in _CHOSEN and getattr(wanted, name):
        return True
    return bool(wanted.search) and name not in _UNSAID


# -- one group -------------------------------------------------------------------------------------------------------


def _indices(table: Any, wanted: Wanted) -> Any:
    """Positions of the wanted lines within a group, as a numpy array."""
    import numpy
    import pyarrow.compute as compute

    chosen = _chosen(table, wanted)
    if chosen is None and not wanted.search:
        return numpy.arange(len(table))
    if chosen is None:
        return compute.indices_nonzero(_holding(table, wanted.search)).to_numpy()
    places = compute.indices_nonzero(chosen).to_numpy()
    if not wanted.search or not len(places):
        return places
    held = table if len(places) == len(table) else table.take(places)
    return places[compute.indices_nonzero(_holding(held, wanted.search)).to_numpy()]


def _chosen(table: Any, wanted: Wanted) -> Any | None:
    """Which lines are wanted, the search aside; None: all of them."""
    import pyarrow
    import pyarrow.compute as compute

    hits = []
    if wanted.numbers:
        hits.append(_numbered(table["row"], wanted.numbers))
    for name in _CHOSEN:
        value = getattr(wanted, name)
        if value and name in table.column_names:
            column = table[name]
            hits.append(
                compute.is_null(column) if value == NONE else compute.is_in(column, value_set=pyarrow.array([value]))
            )
    return functools.reduce(compute.and_, hits) if hits else None


def _numbered(column: Any, numbers: tuple[int, ...]) -> Any:
    """Which row numbers are among the wanted ones."""
    import numpy
    import pyarrow

    rows, wanted = column.to_numpy(), _sorted(numbers)
    places = numpy.searchsorted(wanted, rows).clip(max=len(wanted) - 1)
    return pyarrow.array(wanted[places] == rows)


@functools.lru_cache(maxsize=2)
def _sorted(numbers: tuple[int, ...]) -> Any:
    import numpy

    return numpy.array(numbers, numpy.int64)


def _holding(table: Any, search: str) -> Any:
    """Which rows hold the text, in any case: in the source (as it is written there) or in what training gets."""
    import pyarrow
    import pyarrow.compute as compute

    found = [
        hits
        for name in table.column_names
        if name not in _UNSAID and (hits := _hits(table[name].combine_chunks(), search)) is not None
    ]
    return functools.reduce(compute.or_, found) if found else pyarrow.array([False] * len(table))


def _hits(column: Any, search: str) -> Any | None:
    """Which rows of a column hold the text; None where none can."""
    import pyarrow
    import pyarrow.compute as compute

    kind = column.type
    if column.null_count == len(column):
        return None
    if pyarrow.types.is_dictionary(kind):
        return _held(column.dictionary, search).take(column.indices).fill_null(False)
    if pyarrow.types.is_string(kind):
        return _held(column, search)
    if not pyarrow.types.is_list(kind):
        return None
    items = column.flatten()
    if pyarrow.types.is_struct(kind.value_type):
        items = compute.struct_field(items, "content")
    if not pyarrow.types.is_string(items.type):
        return None
    parents = compute.filter(compute.list_parent_indices(column), _held(items, search))
    places = pyarrow.array(range(len(column)), pyarrow.int64())
    return compute.is_in(places, value_set=parents.cast(pyarrow.int64()))


def _held(texts: Any, search: str) -> Any:
    """Which texts hold the search; what has no capitals is looked for as it is, which is quicker."""
    import pyarrow.compute as compute

    has_cases = search.lower() != search.upper()
    return compute.match_substring(texts, search, ignore_case=has_cases).fill_null(False)
