"""A page of rows anywhere in a large version, as the data page reads it: milliseconds, median of nine random places.

    python tests/bench/row_pages.py [--rows 1000000]

The version is made first (half a minute for a million rows). `filtered, first` is the first page of a filter, whose
places are then kept; `search` reads until a page is full, here in a place that only a scan finds.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from studio.workshop.versions.build import import_file
from studio.workshop.versions.finding import Wanted, categories, find_rows, place_of

REPEATS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as scratch:
        version = made(Path(scratch), count)
        middle = Wanted(search=f"number {count // 2} ")
        report("page", lambda: find_rows(version, Wanted(), start=random.randrange(count), count=10))
        report("filtered, first", lambda: find_rows(version, Wanted(category=f"c{next(turn)}"), start=0, count=10))
        report(
            "filtered", lambda: find_rows(version, Wanted(category="c7"), start=random.randrange(count // 13), count=10)
        )
        report("go to a row", lambda: place_of(version, random.randrange(count)))
        report("categories", lambda: categories(version))
        report("search", lambda: find_rows(version, middle, start=0, count=10))


turn = iter(range(10_000))


def made(scratch: Path, count: int) -> Path:
    source = scratch / "rows.jsonl"
    with source.open("w") as file:
        for number in range(count):
            row = {"prompt": f"Question number {number} ?", "completion": "word " * 24, "category": f"c{number % 12}"}
            file.write(json.dumps(row) + "\n")
    import_file(source, scratch / "v1")
    return scratch / "v1"


def report(name: str, read: Callable[[], object]) -> None:
    spent = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        read()
        spent.append(time.perf_counter() - began)
    sys.stdout.write(f"{name:16} {1000 * statistics.median(spent):8.1f} ms\n")


if __name__ == "__main__":
    main()
