"""What was found out about single rows, handed on to the versions that are made of them.

    v1: row 1 scored 0.2, row 2 scored 0.9      v2: row 2 left as it was, row 1 mended  ->  v2 knows row 2: 0.9

A row is unchanged where its number and all that training gets of it are the same. Used inside jobs only: it brings
polars along.
"""

from pathlib import Path

import polars as pl

from studio.workshop.reports import DIFFICULTY
from studio.workshop.table import load
from studio.workshop.versions.layout import TRAINED_COLUMNS
from studio.workshop.versions.manifest import read_manifest

LEAST_SHARE = 0.5
"""Where fewer rows have a score, an order by it says nothing."""


def unchanged(before: Path, after: Path) -> pl.DataFrame:
    """`row`, and `place` in `before` (from 0), of every row of `after` that is as it was; in the order of `after`."""
    format = read_manifest(after).format
    if read_manifest(before).format != format:
        return pl.DataFrame(schema={"row": pl.Int64, "place": pl.UInt32})
    old, new = load(before), load(after)
    columns = [name for name in TRAINED_COLUMNS[format] if name in old.columns and name in new.columns]
    old = old.select("row", *(pl.col(name).alias(f"old.{name}") for name in columns)).with_row_index("place")
    joined = new.select("row", *columns).join(old, on="row", how="inner", maintain_order="left")
    same = [pl.col(name).eq_missing(pl.col(f"old.{name}")) for name in columns]
    return joined.filter(pl.all_horizontal(same)).select("row", "place")


def carry_difficulty(parent: Path, folder: Path) -> None:
    """The parent's scores for the rows of `folder` that are unchanged, unless it has its own or most rows are new."""
    if not (parent / DIFFICULTY).is_file() or (folder / DIFFICULTY).is_file():
        return
    rows = unchanged(parent, folder).select("row")
    scores = rows.join(pl.read_parquet(parent / DIFFICULTY), on="row", how="inner", maintain_order="left")
    if scores.height >= max(1, LEAST_SHARE * read_manifest(folder).rows):
        scores.write_parquet(folder / DIFFICULTY)
