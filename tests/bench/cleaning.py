"""CPU seconds of cleaning 200,000 chat rows with the recommended recipe, against scikit-learn's TfidfVectorizer.

    python -m tests.bench.cleaning [--rows 200000] [--runs 2] [--end-to-end]

The rows are those of `tests.bench.import_speed` (230 MB of real chats), imported once. Each measured run is a process
of its own; what counts is its user and system time, all threads together, after its imports. Also printed: seconds of
each step, peak memory, and milliseconds for a page of rows and of findings at the beginning, the middle and the end.
`--end-to-end` imports, looks, cleans, compares and exports (use it with --rows 1000000), each with its peak memory.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.machine import load

PAGE_ROWS = 50


def _tell(name: str, began: tuple[float, float]) -> None:
    seconds, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name}: {seconds:.1f} s, {cpu:.2f} CPU s, peak {peak:.0f} MiB, load {load()}")  # noqa: T201


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def run_import(folder: Path) -> None:
    from studio.workshop.versions.build import import_file

    began = _now()
    import_file(folder / "rows.jsonl", folder / "v1")
    _tell("import", began)


def run_vectorizer(folder: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    from studio.workshop.table import load as load_rows
    from studio.workshop.table import whole_texts

    texts = whole_texts(load_rows(folder / "v1"))["text"].to_list()
    began = _now()
    TfidfVectorizer().fit_transform(texts)
    _tell("TfidfVectorizer", began)


def run_clean(folder: Path) -> None:
    from studio.workshop import cleaning, recipe

    recommended = recipe.recommended()
    began = _now()
    manifest, steps = cleaning.apply(folder / "v1", recommended, folder / "v2")
    for step in steps:
        counts = f"{step.rows_in} in, {step.rows_out} out, {step.changed} changed, {step.marked} marked"
        print(f"  {step.step}: {step.seconds:.1f} s, {counts}")  # noqa: T201
    _tell("clean", began)


def run_look(folder: Path) -> None:
    from studio.workshop import cleaning, recipe

    began = _now()
    cleaning.look(folder / "v1", recipe.recommended(), folder / "look")
    _tell("look", began)


def run_diff(folder: Path) -> None:
    from studio.workshop.versions.diff import compare

    began = _now()
    compare(folder / "v1", folder / "v2", folder / "diff")
    _tell("diff", began)


def run_export(folder: Path) -> None:
    from studio.workshop.versions.export import export

    began = _now()
    export(folder / "v2", folder / "out.jsonl")
    _tell("export", began)


def run_page(folder: Path) -> None:
    from studio.workshop import reports
    from studio.workshop.versions.reader import read_manifest, read_rows

    rows = read_manifest(folder / "v1").rows
    read_rows(folder / "v1", start=0, count=1)
    for name, start in (("first", 0), ("middle", rows // 2), ("last", rows - PAGE_ROWS)):
        began = time.perf_counter()
        assert len(read_rows(folder / "v1", start=start, count=PAGE_ROWS)) == PAGE_ROWS
        print(f"  page of rows, {name}: {1000 * (time.perf_counter() - began):.1f} ms")  # noqa: T201
    if not (folder / "look").exists():
        return
    for name, start in (("first", 0), ("last", max(0, reports.count_findings(folder / "look") - PAGE_ROWS))):
        began = time.perf_counter()
        reports.read_findings(folder / "look", start=start, count=PAGE_ROWS)
        print(f"  page of findings, {name}: {1000 * (time.perf_counter() - began):.1f} ms")  # noqa: T201


STAGES = {
    "import": run_import,
    "vectorizer": run_vectorizer,
    "clean": run_clean,
    "look": run_look,
    "diff": run_diff,
    "export": run_export,
    "page": run_page,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--end-to-end", action="store_true")
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.stage:
        return STAGES[asked.stage](asked.folder)
    from tests.bench.import_speed import write_chats

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_chats(folder / "rows.jsonl", asked.rows)
        stages = ["import", *["vectorizer", "clean"] * asked.runs, "look", "page"]
        if asked.end_to_end:
            stages = ["import", "look", "clean", "diff", "export", "page"]
        for stage in stages:
            command = [sys.executable, "-m", "tests.bench.cleaning", "--stage", stage, "--folder", name]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
