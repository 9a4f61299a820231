"""Versions with rows worded anew: `studio.workshop.clean.augment` over a version.

    augment(v1, {"per_row": 2}, folder)  ->  v1's rows and new ones; folder/changes.parquet tells each with its parent

Off unless a person asks for it, and only under 1,000 rows. New rows can be looked at (`reports.read_changes(version,
step="augment", action="add")`) and left out again. polars is imported where it is used: the server starts without it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import RefusedInput
from studio.workshop import recipe as recipes
from studio.workshop.reports import CHANGES
from studio.workshop.versions.manifest import Manifest, Step, read_manifest

if TYPE_CHECKING:
    import polars as pl

STEP = "augment"
AUGMENT = {STEP: "studio.workshop.clean.augment"}
"""As `recipe.STEPS`: for `recipe.options` and `recipe.options_of`."""
MOST_ROWS = 999


def check(version: Path, chosen: dict[str, Any]) -> None:
    """
    Raises:
        RefusedInput: too many rows, an unknown option, or a value that cannot be.
    """
    recipes.options(AUGMENT, STEP, chosen)
    rows = read_manifest(version).rows
    if rows > MOST_ROWS:
        raise RefusedInput("data.augment.too_many", rows=rows, most=MOST_ROWS + 1)


def augment(version: Path, chosen: dict[str, Any], folder: Path) -> tuple[Manifest, dict[str, int]]:
    """Write the version with the new rows; returns also how many there are of each kind.

    Raises:
        RefusedInput: too many rows, or none that could be worded anew.
    """
    from studio.workshop.table import load

    check(version, chosen)
    options = recipes.options(AUGMENT, STEP, chosen)
    rows = load(version)
    outcome = recipes.module(AUGMENT, STEP).run(rows, options, above=read_manifest(version).source_rows)
    if not outcome.findings.height:
        raise RefusedInput("data.augment.nothing")
    kinds = outcome.findings["code"].str.split(".").list.last()
    counts = dict(kinds.value_counts().sort(kinds.name).iter_rows())
    step = Step(
        operation=STEP,
        parameters=recipes.plain(options) | {"added": counts},
        rows_in=rows.height,
        rows_out=outcome.rows.height,
    )
    return write_added(folder, parent=version, rows=outcome.rows, told=outcome.findings, step=step), counts


def write_added(  # noqa: PLR0913 - a version has this many sides
    folder: Path,
    *,
    parent: Path,
    rows: "pl.DataFrame",
    told: "pl.DataFrame",
    step: Step,
    excluded: "pl.DataFrame | None" = None,
    format: str | None = None,
) -> Manifest:
    """A version with added rows, and beside it a changes.parquet that tells of each.

    Args:
        told: one finding a new row.
        excluded: rows of the parent that are left out.
        format: of the new rows, where it is not the parent's; then they stand alone.
    """
    from studio.workshop.clean.outcome import no_findings
    from studio.workshop.cleaning import FindingsWriter
    from studio.workshop.versions.rewrite import write_version

    folder.mkdir(parents=True, exist_ok=True)
    with FindingsWriter(folder / CHANGES) as changes:
        changes.add(step.operation, told)
    out = no_findings() if excluded is None else excluded
    return write_version(folder, parent=parent, rows=rows, excluded=out, steps=[step], format=format)
