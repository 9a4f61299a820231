"""Brings excluded rows back: a version in which they can be used again, as they were when they were taken out.

    restore(v3, [v2, v1], folder, code="clean.duplicates.near")  ->  v4: v3 with those rows in their old places

A row is taken from the newest version that could still use it, so what cleaning had changed by then (masked personal
data) stays changed. One that never could be used is an open problem again.
"""

import heapq
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from studio.errors import RefusedInput
from studio.workshop.problems import EXCLUDED, OPEN, Problem
from studio.workshop.versions.reader import (
    Manifest,
    Row,
    Step,
    VersionWriter,
    iterate_problems,
    iterate_rows,
    read_manifest,
)

Progress = Callable[[float, float, str], None]
REPORT_EVERY_ROWS = 2000


def restore(
    version: Path,
    ancestors: list[Path],
    folder: Path,
    *,
    rows: list[int] | None = None,
    code: str | None = None,
    progress: Progress = lambda done, total, unit: None,
) -> Manifest:
    """Write a version with the excluded rows of these numbers, or all of this reason, back in.

    Args:
        ancestors: earlier versions of the data set, newest first.

    Raises:
        RefusedInput: none of them is excluded.
    """
    known = read_manifest(version)
    chosen = _chosen(version, set(rows or ()), code)
    back = _as_they_were(chosen, ancestors)
    writer = VersionWriter(folder, format=known.format)
    try:
        for count, (row, problems) in enumerate(_in_order(version, chosen, back), 1):
            if row:
                writer.add(row.row, row.raw, row, split=row.split, origin=row.origin)
            for problem in problems:
                writer.add_problem(problem)
            if count % REPORT_EVERY_ROWS == 0:
                progress(count, known.source_rows, "rows")
    finally:
        writer.close()
    progress(known.source_rows, known.source_rows, "rows")
    parameters: dict[str, Any] = {"code": code} if code else {"rows": sorted(chosen)}
    step = Step(operation="restore", parameters=parameters, rows_in=known.rows, rows_out=writer.rows)
    return writer.finish(
        shape=known.shape,
        columns=known.columns,
        source=known.source,
        parent=known.content_hash,
        steps=[*known.steps, step],
        blank_lines=known.blank_lines,
        speakers=known.speakers,
    )


def _chosen(version: Path, rows: set[int], code: str | None) -> set[int]:
    excluded = {problem.row: problem.code for problem in iterate_problems(version) if problem.state == EXCLUDED}
    chosen = {row for row, reason in excluded.items() if row in rows or (code and reason == code)}
    missing = rows - excluded.keys()
    if missing:
        raise RefusedInput("data.restore.not_excluded", row=min(missing))
    if not chosen:
        known = ", ".join(sorted(set(excluded.values()))) or "–"
        raise RefusedInput("data.restore.no_such_reason", code=code or "–", known=known)
    return chosen


def _as_they_were(chosen: set[int], ancestors: list[Path]) -> dict[int, Row]:
    """Each row as the newest ancestor holds it that can use it."""
    found: dict[int, Row] = {}
    for folder in ancestors:
        if found.keys() == chosen:
            break
        found |= {row.row: row for row in _rows_of(folder, chosen - found.keys())}
    return found


def _rows_of(folder: Path, numbers: set[int]) -> Iterator[Row]:
    yield from (row for row in iterate_rows(folder) if row.row in numbers)


def _in_order(version: Path, chosen: set[int], back: dict[int, Row]) -> Iterator[tuple[Row | None, list[Problem]]]:
    """Usable rows, rows that come back, and rows that stay out, merged by row number."""
    usable = ((row.row, row, []) for row in iterate_rows(version))
    returned = ((number, back[number], []) for number in sorted(back))
    grouped = groupby(iterate_problems(version), lambda problem: problem.row)
    out = ((number, None, _opened(list(group), chosen)) for number, group in grouped if number not in back)
    for _, row, problems in heapq.merge(usable, returned, out, key=lambda item: item[0]):
        yield row, problems


def _opened(problems: list[Problem], chosen: set[int]) -> list[Problem]:
    for problem in problems:
        if problem.row in chosen:
            problem.state = OPEN
    return problems
