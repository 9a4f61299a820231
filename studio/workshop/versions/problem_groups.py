"""The problems of a version by kind: how many rows each kind has, an example, a page of them.

    problem_groups(folder)                                            ->  [Group("open", "no_json", 12, ...)]
    find_problems(folder, "excluded", "x.exact", start=0, count=20)   ->  [Problem(row=3, ...), ...]

pyarrow is imported where it is used: the server starts without it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.workshop.problems import Problem
from studio.workshop.versions.manifest import PROBLEMS, read_manifest
from studio.workshop.versions.reader import open_table, problem_from, whole_columns


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
    with open_table(folder, PROBLEMS) as file:
        if not file.metadata.num_rows:
            return []
        table = whole_columns(file, ["state", "code", "row"])
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
    with open_table(folder, PROBLEMS) as file:
        for index in range(file.num_row_groups):
            if len(lines) >= count:
                break
            places = _problem_places(file.read_row_group(index, columns=["state", "code"]), state, code)
            inside = places[start : start + count - len(lines)]
            start = max(0, start - len(places))
            if inside:
                lines += file.read_row_group(index, use_threads=False).take(inside).to_pylist()
    manifest = read_manifest(folder)
    return [problem_from(line, manifest) for line in lines]


def problem_rows(folder: Path, state: str, code: str) -> list[int]:
    """The numbers of all rows with this kind of problem."""
    with open_table(folder, PROBLEMS) as file:
        table = whole_columns(file, ["state", "code", "row"])
    places = _problem_places(table, state, code)
    return sorted(set(table["row"].take(places).to_pylist()))


def _problem_places(table: Any, state: str, code: str) -> list[int]:
    import pyarrow.compute as compute

    is_kind = compute.and_(compute.equal(table["state"], state), compute.equal(table["code"], code))
    return compute.indices_nonzero(is_kind).to_pylist()
