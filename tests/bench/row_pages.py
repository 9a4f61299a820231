"""What a person waits for on the Rows tab and at an upload: milliseconds, best of five random places, and the load.

    python tests/bench/row_pages.py [--rows 1000000] [--marked 20000]

The version is made first (half a minute for a million rows). `first` and `middle` are pages of a filter or a search
that nobody asked for before, `later` one whose places are known. `search, one row` looks for a row in the middle until
the end, in as many answers as the page takes. `rated` is a page of the rows that a labelling round of `--marked` rows
rated well, from the marks in the registry on; `filters` are the choices with their counts above the rows. `upload` is
what is shown once a file lies here: its shape and first rows.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.context import Context
from app.data import judged
from app.data.import_look import look_at
from app.data.rows import SEARCH_SECONDS
from studio.db import datasets, jobs, label_results, labels
from studio.db.datasets import DatasetSummary
from studio.jobs.lifecycle import ENDED
from studio.opening import open_studio
from studio.paths import workspace
from studio.workshop.labelling.mark_files import marks_in
from studio.workshop.labelling.marks import stars
from studio.workshop.versions import scanning
from studio.workshop.versions.finding import Wanted, categories, find_rows, place_of

REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--marked", type=int, default=20_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = written(Path(scratch), asked.rows)
        opened = open_studio(workspace(Path(scratch) / "luthier"))
        try:
            context = Context("en", opened.desk, opened.registry)
            chosen = imported(context, source)
            pages(Path(chosen.path), asked.rows)
            rated(context, chosen, asked.marked)
            uploads(context, source)
        finally:
            opened.close()


def written(scratch: Path, count: int) -> Path:
    source = scratch / "rows.jsonl"
    with source.open("w") as file:
        for number in range(count):
            row = {"prompt": f"Question number {number} ?", "completion": "word " * 24, "category": f"c{number % 12}"}
            file.write(json.dumps(row) + "\n")
    return source


def imported(context: Context, source: Path) -> DatasetSummary:
    job_id = context.desk.import_dataset(source, "large")
    while True:
        time.sleep(0.5)
        with context.registry.session() as session:
            if jobs.job(session, job_id).state in ENDED:
                return datasets.dataset(session, "large")


def pages(version: Path, count: int) -> None:
    """Pages by place, by filter and by search; `first` and `middle` when nothing was found before."""

    def filtered(start: int) -> None:
        find_rows(version, Wanted(category="c7"), start=start, count=10, seconds=SEARCH_SECONDS)

    def searched() -> None:
        find_rows(version, Wanted(search="question number 77"), start=0, count=10, seconds=SEARCH_SECONDS)

    report("page", lambda: find_rows(version, Wanted(), start=random.randrange(count), count=10))
    report("filter, first", lambda: filtered(0), is_fresh=True)
    report("filter, middle", lambda: filtered(count // 26), is_fresh=True)
    find_rows(version, Wanted(category="c7"), start=0, count=10)
    report("filter, later", lambda: filtered(random.randrange(count // 13)))
    report("search, first", searched, is_fresh=True)
    report("search, again", searched)
    report("go to a row", lambda: place_of(version, random.randrange(count)))
    report("categories", lambda: categories.__wrapped__(version))
    middle = Wanted(search=f"Number {count // 2} ")
    waits: list[float] = []
    report("search, one row", lambda: waits.extend(answers(version, middle)), is_fresh=True)
    sys.stdout.write(f"    its longest answer       {1000 * max(waits):8.1f} ms\n")
    report("search, found before", lambda: answers(version, middle))


def answers(version: Path, wanted: Wanted) -> list[float]:
    """Seconds of each answer until the whole version was looked through, as the page asks for them."""
    spent, is_unfinished = [], True
    while is_unfinished:
        began = time.perf_counter()
        is_unfinished = find_rows(version, wanted, start=0, count=10, seconds=SEARCH_SECONDS).is_unfinished
        spent.append(time.perf_counter() - began)
    return spent


def rated(context: Context, chosen: DatasetSummary, marked: int) -> None:
    """Pages of what was marked: a round of rows chosen at random, each with one mark."""
    labelling, version = context.desk.labelling, Path(chosen.path)
    number = labelling.start_round("large", "bench", scale=stars(), by="random", count=min(marked, chosen.rows))
    with context.registry.session() as session:
        rows = labels.task_rows(session, number)
    lines = [json.dumps({"row": row, "annotator": "Ann", "rating": row % 5 + 1}) for row in rows]
    labelling.take_marks(number, marks_in("\n".join(lines), "marks.jsonl"))

    def page() -> None:
        with context.registry.session() as session:
            numbers = judged.rows(session, "large", rating="high", tag="")
        find_rows(version, Wanted(numbers=numbers), start=random.randrange(len(numbers)), count=10)

    def settled() -> None:
        with context.registry.session() as session:
            label_results.ratings_and_tags(session, "large")

    report(f"settled, {len(rows)}", settled)
    report(f"rated, {len(rows)}", page)
    report(f"filters, {len(rows)}", lambda: judged.filters(context, chosen, rating="high", tag=""))


def uploads(context: Context, source: Path) -> None:
    """The first look at these rows as lines, as many more lines, and as one JSON array."""
    more, array = source.with_name("more.jsonl"), source.with_name("array.json")
    with more.open("wb") as file:
        for _ in range(8):
            file.write(source.read_bytes())
    array.write_bytes(b"[" + source.read_bytes().rstrip().replace(b"\n", b",") + b"]")
    for path in (source, more, array):
        size = f"{path.stat().st_size >> 20} MB"
        report(f"upload, {path.suffix[1:]}, {size}", lambda path=path: look_at(context, path, {}))


def report(name: str, read: Callable[[], object], *, is_fresh: bool = False) -> None:
    spent = []
    for _ in range(REPEATS):
        if is_fresh:
            scanning._kept_scan.cache_clear()
        began = time.perf_counter()
        read()
        spent.append(time.perf_counter() - began)
    sys.stdout.write(f"{name:24} {1000 * min(spent):8.1f} ms   load {os.getloadavg()[0]:.1f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
