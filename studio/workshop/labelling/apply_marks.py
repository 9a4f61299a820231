"""A version made from what a label round came to: rows left out with their reason, answers as they were corrected.

    apply_marks(v3, folder, left_out={17: ("labels.rating_below", {"rating": "2", ...})}, corrections={4: "Yes."}, ...)
        ->  v4; row 17 stands in problems.parquet as excluded, row 4's old and new answer in changes.parquet

A correction takes the place of the last answer as training gets it: what cleaning did to the rest of the row stays.
Used inside jobs only: it brings polars along.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from studio.errors import RefusedInput
from studio.workshop import table
from studio.workshop.clean.outcome import CHANGE, REMOVE, no_findings
from studio.workshop.cleaning import FindingsWriter
from studio.workshop.found import Findings
from studio.workshop.labelling.marks import Reason
from studio.workshop.reports import CHANGES
from studio.workshop.versions.reader import Manifest, Step, write_version

OPERATION = "labels"
CORRECTED = "labels.corrected"


def apply_marks(
    parent: Path,
    folder: Path,
    *,
    round_name: str,
    left_out: Mapping[int, Reason],
    corrections: Mapping[int, str],
    only: list[int] | None = None,
) -> Manifest:
    """Write the version.

    Args:
        only: rows that somebody marked; all others are left out as unmarked. None: those stay.

    Raises:
        RefusedInput: no row would be left, or nothing would change.
    """
    rows = table.load(parent)
    excluded = _excluded(rows, round_name, left_out, only)
    kept = rows.filter(~pl.col("row").is_in(excluded["row"].implode()))
    if not kept.height:
        raise RefusedInput("data.no_rows_left")
    changes = _changes(kept, round_name, corrections)
    if not changes.height and not excluded.height:
        raise RefusedInput("labels.nothing_to_do", round=round_name)
    kept = table.with_texts(kept, _answers(kept, corrections))
    folder.mkdir(parents=True, exist_ok=True)
    with FindingsWriter(folder / CHANGES) as writer:
        writer.add(OPERATION, changes)
    parameters = {"round": round_name, "left_out": excluded.height, "corrected": changes.height}
    step = Step(operation=OPERATION, parameters=parameters, rows_in=rows.height, rows_out=kept.height)
    return write_version(folder, parent=parent, rows=kept, excluded=excluded, steps=[step])


def _excluded(
    rows: pl.DataFrame, round_name: str, left_out: Mapping[int, Reason], only: list[int] | None
) -> pl.DataFrame:
    has = set(rows["row"])
    reasons = {row: reason for row, reason in left_out.items() if row in has}
    if only is not None:
        reasons |= {row: ("labels.unmarked", {"round": round_name}) for row in has - set(only)}
    found = Findings()
    for row, (code, values) in reasons.items():
        found.add(row, code, "", REMOVE, **values)
    return found.frame().select("row", "code", "field", "values") if reasons else no_findings()


def _answers(rows: pl.DataFrame, corrections: Mapping[int, str]) -> pl.DataFrame:
    """The last answer's piece of each corrected row, with the text that it is to have, and had (`before`)."""
    chosen = rows.filter(pl.col("row").is_in(list(corrections)))
    pieces = table.texts(chosen).filter((pl.col("role") == "assistant") & (pl.col("column") != "rejected"))
    last = pieces.group_by("row", maintain_order=True).last()
    new = pl.Series([corrections[row] for row in last["row"]], dtype=pl.String)
    return last.with_columns(pl.col("text").alias("before"), new.alias("text")).filter(
        pl.col("text") != pl.col("before")
    )


def _changes(rows: pl.DataFrame, round_name: str, corrections: Mapping[int, str]) -> pl.DataFrame:
    answers = _answers(rows, corrections)
    found = Findings()
    fields = table.fields(answers, rows)
    for field, line in zip(fields, answers.iter_rows(named=True), strict=True):
        texts = {"before": line["before"], "after": line["text"]}
        found.add_change(line["row"], CORRECTED, field, CHANGE, round=round_name, **texts)
    return found.frame()


def from_job(parent: Path, folder: Path, values: Mapping[str, Any]) -> Manifest:
    """`apply_marks` as a job's spec asks for it, JSON as it is."""
    return apply_marks(
        parent,
        folder,
        round_name=values["round"],
        left_out=msgspec.convert(values["left_out"], dict[int, tuple[str, dict[str, Any]]], strict=False),
        corrections=msgspec.convert(values["corrections"], dict[int, str], strict=False),
        only=values["only"],
    )
