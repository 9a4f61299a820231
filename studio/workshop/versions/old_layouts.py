"""Tables that older layouts wrote, with the fields of today's turns.

    messages: list<struct<role, content>>  ->  list<struct<role, content, name, weight, ..., reasoning_content>>

Whole columns that were not there (`extra`, `split`, ...) are seen to by those who read them.
"""

from typing import TYPE_CHECKING

from studio.workshop.versions.layout import turn_type

if TYPE_CHECKING:
    import polars as pl


def up_to_date(rows: "pl.DataFrame") -> "pl.DataFrame":
    """The rows with every field of a turn; what was not there is null."""
    import polars as pl

    fields = turn_fields()
    old = {}
    for name, kind in rows.schema.items():
        if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
            there = {field.name for field in kind.inner.fields}
            if there != fields.keys():
                old[name] = there
    return rows.with_columns(_completed(name, there, fields) for name, there in old.items())


def turn_fields() -> dict[str, "pl.DataType"]:
    """Name -> type of all that a turn may hold, in the layout's order."""
    import polars as pl
    import pyarrow

    turns = pl.from_arrow(pyarrow.array([], turn_type()))
    return {field.name: field.dtype for field in turns.dtype.fields}


def _completed(column: str, there: set[str], fields: dict[str, "pl.DataType"]) -> "pl.Expr":
    import polars as pl

    turn = pl.element().struct
    whole = (turn.field(name) if name in there else pl.lit(None, kind).alias(name) for name, kind in fields.items())
    return pl.col(column).list.eval(pl.struct(whole))
