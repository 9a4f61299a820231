"""Runs checks over a version: what they found goes to a report, the version stays as it is.

    check(version, {"balance": {}, "leakage": {}}, folder, against=other)  ->  folder/report.json     figures by check
                                                                              folder/findings.parquet rows by check
                                                                              folder/hardest_first.parquet   scores

Used inside jobs only: it brings polars along.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from studio.protocol import write_atomically
from studio.workshop import recipe as recipes
from studio.workshop.cleaning import FindingsWriter
from studio.workshop.recipe import CHECKS
from studio.workshop.reports import FINDINGS, REPORT, SCORES
from studio.workshop.table import load

Phase = Callable[[str], None]
Progress = Callable[[float, float, str], None]
SCORES_GROUP_ROWS = 10_000
"""A page of scores reads one row group, or two."""
_TABLES = ("findings", "scores")
"""Fields of a report that are tables, and are kept beside it."""


def check(
    version: Path,
    checks: dict[str, dict[str, Any]],
    folder: Path,
    *,
    extras: dict[str, Any] | None = None,
    phase: Phase = lambda name: None,
    progress: Progress = lambda done, total, unit: None,
) -> dict[str, dict[str, Any]]:
    """Run each check with its options, in this order; returns the figures by check.

    Args:
        extras: what some checks need besides: `tokens`, an inspection's statistics, `against`, the rows of a second
            data set, and `losses`, what a model makes of these rows. A check gets those that it names as arguments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = load(version)
    found = {}
    with FindingsWriter(folder / FINDINGS) as writer:
        for place, (name, chosen) in enumerate(checks.items()):
            phase(f"data.checks.{name}")
            progress(place, len(checks), "steps")
            run = recipes.module(CHECKS, name).run
            wanted = {key: value for key, value in (extras or {}).items() if key in inspect.signature(run).parameters}
            report = run(rows, recipes.options(CHECKS, name, chosen), **wanted)
            writer.add(name, report.findings)
            if "scores" in report.__struct_fields__:
                hardest_first = report.scores.sort("difficulty", "row", descending=[True, False])
                hardest_first.write_parquet(folder / SCORES, row_group_size=SCORES_GROUP_ROWS)
            figures = {field: getattr(report, field) for field in report.__struct_fields__ if field not in _TABLES}
            found[name] = recipes.plain(figures)
    progress(len(checks), len(checks), "steps")
    write_atomically(folder / REPORT, msgspec.json.format(msgspec.json.encode(found), indent=2))
    return found
