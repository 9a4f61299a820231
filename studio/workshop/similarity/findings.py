"""Many findings of one kind at once, from columns.

lines([7, 9], "clean.duplicates.near", REMOVE, kept=[1, 2])  ->  two lines with the columns of FINDINGS_SCHEMA
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from studio.workshop.clean.outcome import FINDINGS_SCHEMA

Column = Sequence | np.ndarray | pl.Series


def lines(row: Column, code: Column | str, action: str, *, field: str = "", **values: Column) -> pl.DataFrame:
    """One line a row; `before` and `after` go where a change says them, all other values fill the sentence."""
    told = pl.DataFrame(
        {"row": pl.Series(row, dtype=pl.Int64)} | {name: pl.Series(each) for name, each in values.items()}
    )
    spoken = [name for name in values if name not in ("before", "after")]
    as_json = pl.struct(*spoken).struct.json_encode() if spoken else pl.lit("{}")
    code = pl.lit(code) if isinstance(code, str) else pl.Series(code).cast(pl.String)
    texts = {name: pl.col(name) if name in values else pl.lit(None, pl.String) for name in ("before", "after")}
    return told.select(
        "row",
        code.alias("code"),
        pl.lit(field).alias("field"),
        pl.lit(action).alias("action"),
        as_json.alias("values"),
        **texts,
    ).cast(FINDINGS_SCHEMA)


def rounded_down(cosine: np.ndarray) -> np.ndarray:
    """To four digits, and never up to a threshold that was not reached."""
    return np.floor(np.asarray(cosine) * 10_000 + 1e-6) / 10_000
