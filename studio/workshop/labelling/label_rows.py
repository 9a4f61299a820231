"""What labelling needs of a version's rows: a digest that tells whether it changed, a sample.

    digest(row, "messages")                   ->  "9f1c..."   over what training gets of it, nothing else
    answer(row, "messages")                   ->  "You can change it under Settings."
    sample(folder, by="random", count=50)     ->  [812, 17, ...]

pyarrow is imported where it is used: the server starts without it.
"""

import random
from collections.abc import Iterable
from pathlib import Path

import msgspec
import xxhash

from studio.paths import Workspace
from studio.workshop import reports
from studio.workshop.versions.layout import Row, spoken, trained
from studio.workshop.versions.manifest import ROWS, read_manifest
from studio.workshop.versions.reader import open_table, rows_at

ALL, RANDOM, FINDINGS, DISAGREEMENT = "all", "random", "findings", "disagreement"
SAMPLINGS = (ALL, RANDOM, FINDINGS, DISAGREEMENT)
_REJECTED = "rejected"
USUAL_ROWS = 50
"""So many marks show much already."""


def digest(row: Row, format: str) -> str:
    """Equal while training gets the same of the row; split, category and number do not count."""
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode(trained(row, format), order="deterministic"))


def digests(folder: Path, numbers: Iterable[int]) -> dict[int, str]:
    format = read_manifest(folder).format
    return {number: digest(row, format) for number, row in rows_at(folder, numbers).items()}


def answer(row: Row, format: str) -> str | None:
    """The last answer, which a correction replaces; None where rows have none."""
    turns = [turn for column, some in spoken(row, format) if column != _REJECTED for turn in some]
    return next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), None)


def question(row: Row, format: str) -> str | None:
    """The last thing that was asked."""
    turns = [turn for _, some in spoken(row, format) for turn in some]
    return next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), None)


def is_vague(asked: str | None) -> bool:
    """Whether a question says nothing of what is wanted: the style check's finding, on one question."""
    import polars as pl

    from studio.workshop.checks import style

    if not asked:
        return False
    rows = pl.DataFrame({"row": [1], "prompt": [asked], "completion": ["-"]})
    return style.run(rows, style.Options()).vague > 0


def sample(folder: Path, *, by: str, count: int, seed: int = 42, among: Iterable[int] = ()) -> list[int]:
    """Numbers of at most `count` rows, in the order in which to mark them.

    Args:
        by: all (the first ones, in order), random, or anything else: those `among` that the version has, in order.
    """
    known = _numbers(folder)
    if by == RANDOM:
        return random.Random(seed).sample(known, min(count, len(known)))
    if by != ALL:
        has = set(among)
        known = [number for number in known if number in has]
    return known[:count]


def usual_sample(rows: int) -> tuple[str, int]:
    """How to choose rows of a data set with so many, and how many: `1050` -> `("random", 50)`."""
    return (RANDOM, USUAL_ROWS) if rows > USUAL_ROWS else (ALL, max(1, rows))


def found_rows(workspace: Workspace, folder: Path, by: str) -> set[int]:
    """Rows that the newest look at a version named; for `disagreement` those that this check named. May be none."""
    if by == FINDINGS:
        look = reports.find_last_look(workspace, folder)
        return {found.row for found in reports.iterate_findings(look / reports.FINDINGS)} if look else set()
    kind, version, _ = reports.check_place(workspace, folder, [], {}).name.split("-")
    checks = [found for found in workspace.reports.glob(f"{kind}-{version}-*") if reports.whole(found)]
    tables = [check / reports.FINDINGS for check in checks]
    return {found.row for table in tables for found in reports.iterate_findings(table, step=by)}


def _numbers(folder: Path) -> list[int]:
    with open_table(folder, ROWS) as file:
        return file.read(columns=["row"], use_threads=False)["row"].to_pylist()
