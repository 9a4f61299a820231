"""Versions that answer a check: classes brought to like size, rows scored for a curriculum.

    balance(v1, {"max_factor": 3}, folder)   rows of small classes repeated, `origin` "balance:17"
    order(v1, {}, folder)                    v1's rows and, beside them, difficulty.parquet: row, difficulty

Going back is a rollback. Used inside jobs only: it brings polars along.
"""

from pathlib import Path
from typing import Any

from studio.errors import RefusedInput
from studio.workshop import recipe as recipes
from studio.workshop.checks import balance as balance_check
from studio.workshop.checks import difficulty
from studio.workshop.clean.outcome import no_findings
from studio.workshop.recipe import CHECKS
from studio.workshop.reports import DIFFICULTY
from studio.workshop.row_losses import RowLosses
from studio.workshop.table import load
from studio.workshop.versions.reader import Manifest, Step, read_manifest, write_version


def balance(version: Path, chosen: dict[str, Any], folder: Path) -> Manifest:
    """Repeat rows of small classes.

    Raises:
        RefusedInput: there is nothing to balance.
    """
    options = recipes.options(CHECKS, "balance", chosen)
    rows = load(version)
    before = balance_check.run(rows, options)
    if not before.added:
        raise RefusedInput("data.balance.nothing", classes=len(before.categories))
    above = max(read_manifest(version).source_rows, int(rows["row"].max()))
    resampled = balance_check.resample(rows, options, above=above)
    counts = {each.category: each.target - each.rows for each in before.categories if each.target > each.rows}
    parameters = recipes.plain(options) | {"added": counts}
    step = Step(operation="balance", parameters=parameters, rows_in=rows.height, rows_out=resampled.height)
    return write_version(folder, parent=version, rows=resampled, excluded=no_findings(), steps=[step])


def order(version: Path, chosen: dict[str, Any], folder: Path, *, losses: RowLosses | None = None) -> Manifest:
    """Score every row, by a model's losses too where they are given; the rows themselves stay as they are."""
    options = recipes.options(CHECKS, "difficulty", chosen)
    rows = load(version)
    folder.mkdir(parents=True, exist_ok=True)
    difficulty.run(rows, options, losses).scores.write_parquet(folder / DIFFICULTY)
    parameters = recipes.plain(options) | ({"model": losses.report.model} if losses else {})
    step = Step(operation="difficulty", parameters=parameters, rows_in=rows.height, rows_out=rows.height)
    return write_version(folder, parent=version, rows=rows, excluded=no_findings(), steps=[step])
