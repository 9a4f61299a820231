"""The cleaning steps: one file each, each a pure function over a version's rows with typed options.

    run(rows, options) -> Outcome(rows, findings)

`rows` is a table as `studio.workshop.table` describes it. A step removes lines or changes texts of it, and says so in
its findings, one line for each thing it did or only marked. It never reorders rows and never changes their numbers. The
same table and options give the same outcome.
"""

from dataclasses import dataclass

import polars as pl

REMOVE, CHANGE, MARK = "remove", "change", "mark"
"""What a finding says of its row: taken out; a text of it changed; only to be looked at."""

FINDINGS_SCHEMA = {
    "row": pl.Int64,
    "code": pl.String,  # the sentence is problems.<code>
    "field": pl.String,  # messages[2].content, completion, or empty for the whole row
    "action": pl.String,
    "values": pl.String,  # JSON object that fills the sentence
    "before": pl.String,  # of a change: the text as it was, or the part of it that shows the change
    "after": pl.String,
}


@dataclass(frozen=True)
class Outcome:
    """What a step made of a table."""

    rows: pl.DataFrame
    findings: pl.DataFrame
    """Columns as `FINDINGS_SCHEMA`."""


def no_findings() -> pl.DataFrame:
    return pl.DataFrame(schema=FINDINGS_SCHEMA)
