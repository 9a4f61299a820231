"""What tells two rows of the same text apart: labels, tools, tool calls, reasoning.

{"prompt": "Hi", "completion": "Ho", "label": true} and the same with "label": false  ->  two numbers
"""

import numpy as np
import polars as pl

from studio.workshop.versions.layout import REASONING


def variants(rows: pl.DataFrame) -> np.ndarray:
    """A number for each row, equal where all that is trained beside its text is equal."""
    parts = [part for name, kind in rows.schema.items() for part in _beside_text(name, kind)]
    if not parts:
        return np.zeros(rows.height, np.int64)
    joined = rows.select(pl.concat_str([part.fill_null("") for part in parts], separator="\x00").alias("variant"))
    return joined["variant"].rank("dense").to_numpy().astype(np.int64)


def _beside_text(name: str, kind: pl.DataType) -> list[pl.Expr]:
    column = pl.col(name)
    if name in ("tools", "label"):
        return [column.cast(pl.String)]
    if name == "labels":
        return [column.cast(pl.List(pl.String)).list.join(",")]
    if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
        known = {field.name for field in kind.inner.fields}
        held = [pl.element().struct.field(each).fill_null("") for each in ("tool_calls", REASONING) if each in known]
        return [column.list.eval(each).list.join("\x01") for each in held]
    return []
