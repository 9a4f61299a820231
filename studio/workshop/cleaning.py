"""Runs a recipe over a version: `look` tells what it would do, `apply` makes the new version.

    look(version, recipe, folder)    folder/report.json, folder/findings.parquet; the version stays as it is
    apply(version, recipe, folder)   folder/ is a new version: rows taken out are listed as excluded with the finding's
                                     code; changes.parquet tells what every step took out or changed, the manifest how

Each step sees the table as the steps before it leave it. A step that takes out a row without a finding, or one that it
did not name, stops everything: no row is lost uncounted. Used inside jobs only: it brings polars along.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet

from studio.errors import RefusedInput
from studio.protocol import write_struct
from studio.workshop import recipe as recipes
from studio.workshop.checks.lengths import row_lengths, tokens_per_character
from studio.workshop.clean.outcome import CHANGE, MARK, REMOVE, Outcome, no_findings
from studio.workshop.recipe import STEPS, Recipe, RecipeStep
from studio.workshop.reports import (
    CHANGES,
    EDGES,
    FINDING_COLUMNS,
    FINDINGS,
    REPORT,
    CodeReport,
    Finding,
    Histogram,
    LookReport,
    StepReport,
)
from studio.workshop.table import load
from studio.workshop.versions.reader import Manifest, Step, write_version

Phase = Callable[[str], None]
Progress = Callable[[float, float, str], None]

FIRST, SHORT_CHARACTERS = 3, 400
GROUP_LINES = 2000


def look(
    version: Path,
    recipe: Recipe,
    folder: Path,
    *,
    tokens: dict[str, Any] | None = None,
    phase: Phase = lambda name: None,
    progress: Progress = lambda done, total, unit: None,
) -> LookReport:
    """Run every step, those that are off too (they hand nothing on), and write what they found to `folder`.

    Args:
        tokens: what an inspect job found out about this version under a model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = load(version)
    lengths = row_lengths(rows)
    before = after = _counted(lengths)
    characters, ratio = int(lengths.sum()), tokens_per_character(lengths, tokens)
    rows_before, reports = rows.height, []
    with FindingsWriter(folder / FINDINGS) as writer:
        for place, step in enumerate(recipe.steps):
            phase(f"data.step.{step.step}")
            progress(place, len(recipe.steps), "steps")
            outcome, report = _run(rows, step, after)
            reports.append(report)
            writer.add(step.step, outcome.findings)
            if step.enabled:
                rows, after = outcome.rows, report.histogram_out
    progress(len(recipe.steps), len(recipe.steps), "steps")
    made = LookReport(
        recipe=recipes.to_document(recipe),
        rows_before=rows_before,
        rows_after=rows.height,
        characters_before=characters,
        characters_after=int(row_lengths(rows).sum()),
        histogram_before=before,
        histogram_after=after,
        tokens_per_character=ratio,
        steps=reports,
    )
    write_struct(folder / REPORT, made)
    return made


def apply(
    version: Path,
    recipe: Recipe,
    folder: Path,
    *,
    phase: Phase = lambda name: None,
    progress: Progress = lambda done, total, unit: None,
) -> tuple[Manifest, list[StepReport]]:
    """Run the steps that are on and write the version that they leave.

    Raises:
        RefusedInput: no row would be left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = load(version)
    after = _counted(row_lengths(rows))
    enabled = [step for step in recipe.steps if step.enabled]
    removed, reports = [], []
    with FindingsWriter(folder / CHANGES) as changes:
        for place, step in enumerate(enabled):
            phase(f"data.step.{step.step}")
            progress(place, len(enabled) + 1, "steps")
            outcome, report = _run(rows, step, after)
            reports.append(report)
            changes.add(step.step, outcome.findings.filter(pl.col("action") != MARK))
            removed.append(_excluded(outcome.findings))
            rows, after = outcome.rows, report.histogram_out
    if not rows.height:
        raise RefusedInput("data.no_rows_left")
    phase("data.writing")
    progress(len(enabled), len(enabled) + 1, "steps")
    manifest = write_version(
        folder,
        parent=version,
        rows=rows,
        excluded=pl.concat([_excluded(no_findings()), *removed]),
        steps=[_step_entry(report) for report in reports],
    )
    progress(len(enabled) + 1, len(enabled) + 1, "steps")
    return manifest, reports


def _counted(lengths: pl.Series) -> Histogram:
    bars = np.searchsorted(EDGES, lengths.to_numpy(), side="right") - 1
    return Histogram(counts=tuple(np.bincount(bars, minlength=len(EDGES)).tolist()))


def _run(rows: pl.DataFrame, step: RecipeStep, before: Histogram) -> tuple[Outcome, StepReport]:
    options = recipes.options(STEPS, step.step, step.options)
    began = time.perf_counter()
    outcome = recipes.module(STEPS, step.step).run(rows, options)
    seconds = time.perf_counter() - began
    _check_accounts(step.step, rows, outcome)
    findings = outcome.findings
    distinct = {
        action: findings.filter(pl.col("action") == action)["row"].n_unique() for action in (REMOVE, CHANGE, MARK)
    }
    is_other = outcome.rows.height != rows.height or distinct[CHANGE]
    return outcome, StepReport(
        step=step.step,
        enabled=step.enabled,
        options=recipes.plain(options),
        rows_in=rows.height,
        rows_out=outcome.rows.height,
        removed=distinct[REMOVE],
        changed=distinct[CHANGE],
        marked=distinct[MARK],
        codes=_codes(step.step, findings),
        histogram_in=before,
        histogram_out=_counted(row_lengths(outcome.rows)) if is_other else before,
        seconds=round(seconds, 3),
    )


def _check_accounts(step: str, rows: pl.DataFrame, outcome: Outcome) -> None:
    """Rows in = rows out + rows that a finding takes out, each by its number, and the order is kept."""
    told = outcome.findings.filter(pl.col("action") == REMOVE)["row"].unique()
    expected = rows.filter(~pl.col("row").is_in(told.implode()))["row"]
    assert expected.equals(outcome.rows["row"]), f"step {step} took out or moved rows that its findings do not name"


def _codes(step: str, findings: pl.DataFrame) -> list[CodeReport]:
    reports = []
    for (code, action), group in findings.group_by("code", "action", maintain_order=True):
        first = [example(step, line) for line in group.head(FIRST).to_dicts()]
        rows = group["row"].n_unique()
        reports.append(CodeReport(code=code, action=action, findings=group.height, rows=rows, first=first))
    return reports


def example(step: str, line: dict[str, Any]) -> Finding:
    """A line of findings as a value, its texts cut to what a card shows."""
    values = msgspec.json.decode(line["values"]) if line["values"] else {}
    cut = {name: _cut(line[name]) for name in ("before", "after")}
    same = {name: line[name] or "" for name in ("code", "field", "action")}
    return Finding(row=line["row"], step=step, values=values, **same, **cut)


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= SHORT_CHARACTERS else text[: SHORT_CHARACTERS - 1] + "…"


def _excluded(findings: pl.DataFrame) -> pl.DataFrame:
    """One line a row that was taken out: its first reason."""
    taken = findings.filter(pl.col("action") == REMOVE).unique("row", keep="first", maintain_order=True)
    return taken.select("row", "code", "field", "values")


def _step_entry(report: StepReport) -> Step:
    counts = {each.code: each.rows for each in report.codes}
    return Step(
        operation=report.step,
        parameters=report.options | {"counts": counts},
        rows_in=report.rows_in,
        rows_out=report.rows_out,
    )


class FindingsWriter:
    """Writes findings as they come, by step, code, action and row; a row group holds those alike in the first three."""

    def __init__(self, path: Path) -> None:
        text = pyarrow.string()
        types = {"row": pyarrow.int64()} | {name: text for name in FINDING_COLUMNS[1:]}
        self._schema = pyarrow.schema([(name, types[name]) for name in FINDING_COLUMNS])
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> "FindingsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, step: str, findings: pl.DataFrame) -> None:
        for part in self._parts(findings.with_columns(pl.lit(step).alias("step"))):
            table = part.select(FINDING_COLUMNS).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._schema)
            self._writer.write_table(table, row_group_size=GROUP_LINES)

    def _parts(self, findings: pl.DataFrame) -> Iterator[pl.DataFrame]:
        for code, action in findings.select("code", "action").unique().sort("code", "action").iter_rows():
            alike = (pl.col("code") == code) & (pl.col("action") == action)
            yield findings.filter(alike).sort("row", maintain_order=True)
