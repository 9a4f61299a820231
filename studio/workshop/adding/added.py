"""New rows made from rows of a table: copies with a number, an origin and other texts of their own.

    copied(rows, [17], ["augment:synonyms:17"], first=1001)  ->  row 1001: as row 17, origin "augment:synonyms:17"

A copy trains where the table is split; of what the source said besides (`extra`: ids, dates) it has nothing.
"""

import polars as pl

from studio.workshop.clean.split import TRAIN


def copied(rows: pl.DataFrame, parents: list[int], origins: list[str], *, first: int) -> pl.DataFrame:
    """One copy for each of `parents`, numbered from `first`."""
    wanted = pl.DataFrame({"row": parents}, schema={"row": pl.Int64})
    is_split = "split" in rows.columns and rows["split"].is_not_null().any()
    return (
        wanted.join(rows, on="row", how="left", maintain_order="left")
        .with_columns(
            pl.Series("row", range(first, first + len(parents)), dtype=pl.Int64),
            pl.Series("origin", origins, dtype=pl.String),
            pl.lit(TRAIN if is_split else None, pl.String).alias("split"),
        )
        .with_columns(pl.lit(None, pl.String).alias(name) for name in ("extra",) if name in rows.columns)
    )


def training_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that train and were made by nobody."""
    trains = rows if "split" not in rows.columns else rows.filter(pl.col("split").fill_null(TRAIN) == TRAIN)
    return trains if "origin" not in rows.columns else trains.filter(pl.col("origin").is_null())
