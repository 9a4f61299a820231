"""What looking at a version found out, kept on disk and read a page at a time: looks, checks and comparisons.

    <workspace>/cache/reports/look-<version>-<recipe>/report.json          counts and first examples
                                                       findings.parquet    every finding: by step, then code, then row

A report is named by what it was made from, so the same question is answered without a second job. Jobs write reports
(`studio.workshop.cleaning`, `.checking`, `.diff`); this module names and reads them. pyarrow is imported where it is
used: the server starts without it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.messages import say
from studio.paths import Workspace
from studio.workshop import recipe as recipes
from studio.workshop.problems import values_in_words
from studio.workshop.recipe import Recipe
from studio.workshop.versions.manifest import MANIFEST

REPORT, FINDINGS, CHANGES = "report.json", "findings.parquet", "changes.parquet"
DIFF, SCORES, DIFFICULTY = "diff.parquet", "hardest_first.parquet", "difficulty.parquet"
FINDING_COLUMNS = ("row", "step", "code", "field", "action", "values", "before", "after")
EDGES = (0, *(2**power for power in range(4, 18)))
"""Lower edges, in characters, of a length histogram's bars; the last bar is open."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a step or check found in one row."""

    row: int
    step: str
    code: str
    field: str = ""
    action: str = "mark"
    """remove, change or mark."""
    values: dict[str, Any] = {}
    before: str | None = None
    after: str | None = None

    def message(self, language: str = "en") -> str:
        """The finding in plain words."""
        values = values_in_words(self.code, self.values, language)
        return say(f"problems.{self.code}", language, row=self.row, field=self.field, **values)


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows are how long."""

    counts: tuple[int, ...]
    """`counts[i]` rows have edges[i] <= characters < edges[i + 1]."""
    edges: tuple[int, ...] = EDGES

    def plus(self, other: "Histogram", sign: int = 1) -> "Histogram":
        return Histogram(counts=tuple(a + sign * b for a, b in zip(self.counts, other.counts, strict=True)))


class CodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """All findings of one kind."""

    code: str
    action: str
    findings: int
    rows: int
    """Distinct ones."""
    first: list[Finding]
    """Examples; long texts are cut."""


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one step did, or would do."""

    step: str
    enabled: bool
    options: dict[str, Any]
    """Complete, defaults included."""
    rows_in: int
    rows_out: int
    removed: int
    changed: int
    """Distinct rows with a changed text."""
    marked: int
    codes: list[CodeReport]
    histogram_in: Histogram
    histogram_out: Histogram
    seconds: float


class LookReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe would do to a version."""

    recipe: dict[str, Any]
    rows_before: int
    rows_after: int
    characters_before: int
    characters_after: int
    histogram_before: Histogram
    histogram_after: Histogram
    tokens_per_character: float | None
    """Under the model that was named, where an inspection of it exists."""
    steps: list[StepReport]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """Before and after, for one choice of steps."""

    rows_before: int
    rows_after: int
    before: Histogram
    after: Histogram


class DiffReport(msgspec.Struct, frozen=True, kw_only=True):
    """How two versions differ, by row number and content."""

    added: int
    removed: int
    changed: int
    same: int


class DiffRow(msgspec.Struct, frozen=True, kw_only=True):
    row: int
    kind: str
    """added, removed or changed."""
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    fields: list[str]
    """Columns that differ, of a changed row."""


# -- where a report lies ---------------------------------------------------------------------------------------------


def place(workspace: Workspace, kind: str, folders: Iterable[Path], parameters: Any = None) -> Path:
    """The folder of the report of this kind on these versions, whether it exists or not."""
    versions = "-".join(_digest((Path(folder) / MANIFEST).read_bytes()) for folder in folders)
    return workspace.reports / f"{kind}-{versions}-{_digest(msgspec.json.encode(parameters, order='sorted'))}"


def look_place(workspace: Workspace, folder: Path, recipe: Recipe) -> Path:
    return place(workspace, "look", [folder], recipes.digest(recipe))


def check_place(
    workspace: Workspace,
    folder: Path,
    checks: list[str],
    options: dict[str, Any],
    *,
    against_folder: Path | None = None,
    model: str | None = None,
) -> Path:
    folders = [folder, *([against_folder] if against_folder else [])]
    return place(workspace, "check", folders, [sorted(checks), options, model])


def diff_place(workspace: Workspace, folder_a: Path, folder_b: Path) -> Path:
    return place(workspace, "diff", [folder_a, folder_b])


def find_look(workspace: Workspace, folder: Path, recipe: Recipe) -> Path | None:
    """The kept look at this version with this recipe."""
    return whole(look_place(workspace, folder, recipe))


def find_last_look(workspace: Workspace, folder: Path) -> Path | None:
    """The newest look at this version, whatever the recipe."""
    version = _digest((Path(folder) / MANIFEST).read_bytes())
    kept = [found for found in workspace.reports.glob(f"look-{version}-*") if whole(found)]
    return max(kept, key=lambda found: (found / REPORT).stat().st_mtime_ns, default=None)


def find_check(*arguments: Any, **named: Any) -> Path | None:
    """The kept report of these checks; arguments as for `check_place`."""
    return whole(check_place(*arguments, **named))


def find_diff(workspace: Workspace, folder_a: Path, folder_b: Path) -> Path | None:
    return whole(diff_place(workspace, folder_a, folder_b))


def whole(folder: Path) -> Path | None:
    """The report's folder if it is complete: report.json is written last."""
    return folder if (folder / REPORT).is_file() else None


# -- reading ---------------------------------------------------------------------------------------------------------


def read_look(folder: Path) -> LookReport:
    return _read(folder, LookReport)


def read_checks(folder: Path) -> dict[str, dict[str, Any]]:
    """Each check's report, by its name."""
    return _read(folder, dict[str, dict[str, Any]])


def read_diff(folder: Path) -> DiffReport:
    return _read(folder, DiffReport)


def after_toggling(report: LookReport, enabled: set[str]) -> Preview:
    """Before and after if exactly these steps were on: the sum of what each was seen to do by itself.

    Exact where steps do not meet in one row; a new look tells the rest.
    """
    rows, after = report.rows_before, report.histogram_before
    for step in report.steps:
        if step.step in enabled:
            rows += step.rows_out - step.rows_in
            after = after.plus(step.histogram_out).plus(step.histogram_in, -1)
    after = Histogram(counts=tuple(max(0, count) for count in after.counts))
    return Preview(rows_before=report.rows_before, rows_after=max(0, rows), before=report.histogram_before, after=after)


def read_findings(
    folder: Path, *, start: int, count: int, step: str | None = None, code: str | None = None
) -> list[Finding]:
    """`count` findings from the `start`-th on (from 0), of that step and code; ordered by step, code and row."""
    return [_finding(line) for line in _page(Path(folder) / FINDINGS, start, count, step=step, code=code)]


def count_findings(folder: Path, *, step: str | None = None, code: str | None = None) -> int:
    return sum(size for _, size in _groups(Path(folder) / FINDINGS, step=step, code=code))


def read_changes(
    version: Path, *, start: int, count: int, step: str | None = None, action: str = "change"
) -> list[Finding]:
    """What cleaning changed on the way to this version (action remove: took out); nothing for one not cleaned."""
    path = Path(version) / CHANGES
    return [_finding(line) for line in _page(path, start, count, step=step, action=action)] if path.exists() else []


def count_changes(version: Path, *, step: str | None = None, action: str = "change") -> int:
    path = Path(version) / CHANGES
    return sum(size for _, size in _groups(path, step=step, action=action)) if path.exists() else 0


def iterate_findings(table: Path, *, step: str | None = None, action: str | None = None) -> Iterator[Finding]:
    """Every finding of a findings.parquet or changes.parquet, in bounded memory."""
    for read, _ in _groups(table, step=step, action=action):
        yield from map(_finding, read().to_pylist())


def has_scores(folder: Path) -> bool:
    """Whether these checks said how hard each row is."""
    return (Path(folder) / SCORES).is_file()


def read_scores(folder: Path, *, start: int, count: int) -> tuple[list[dict[str, Any]], int]:
    """`count` rows from the `start`-th on with their scores, hardest first; and how many there are."""
    lines = _page(Path(folder) / SCORES, start, count)
    return lines, sum(size for _, size in _groups(Path(folder) / SCORES))


def read_diff_rows(folder: Path, *, start: int, count: int, kind: str | None = None) -> list[DiffRow]:
    """`count` differing rows from the `start`-th on; those of one kind are in row order."""
    lines = _page(folder / DIFF, start, count, kind=kind)
    decoded = {name: [_decoded(line[name]) for line in lines] for name in ("before", "after", "fields")}
    return [
        DiffRow(row=line["row"], kind=line["kind"], **{name: values[place] for name, values in decoded.items()})
        for place, line in enumerate(lines)
    ]


def _read(folder: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode((Path(folder) / REPORT).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusedInput("data.cleaning.no_report") from error


def _finding(line: dict[str, Any]) -> Finding:
    return Finding(**line | {"values": _decoded(line["values"]) or {}})


def _decoded(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _page(path: Path, start: int, count: int, **wanted: str | None) -> list[dict[str, Any]]:
    """Lines of a table whose row groups each hold one value of every column in `wanted`: no other group is read."""
    lines: list[dict[str, Any]] = []
    for read, size in _groups(path, **wanted):
        if len(lines) >= count:
            break
        if start < size:
            lines += read().slice(start, count - len(lines)).to_pylist()
        start = max(0, start - size)
    return lines


def _groups(path: Path, **wanted: str | None) -> Iterator[tuple[Any, int]]:
    """How to read each matching row group, and its number of lines."""
    import pyarrow.parquet
    from pyarrow import ArrowException

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, ArrowException) as error:
        raise RefusedInput("data.cleaning.no_report") from error
    with file:
        places = {file.schema_arrow.names.index(name): value for name, value in wanted.items() if value is not None}
        for index in range(file.num_row_groups):
            group = file.metadata.row_group(index)
            if all(group.column(at).statistics.min == value for at, value in places.items()):
                yield lambda index=index: file.read_row_group(index, use_threads=False), group.num_rows
