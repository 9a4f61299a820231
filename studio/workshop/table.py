"""The rows of a version as a polars table, and the texts in it as one long table that every check works on.

    rows     row, messages | prompt and completion | ..., category, split, origin, ...     one line a row
    texts    row, column, turn, role, text                                                 one line a piece of text

    {"row": 7, "messages": [{user, "Hi"}, {assistant, "Hello"}]}  ->  (7, messages, 0, user, Hi)
                                                                      (7, messages, 1, assistant, Hello)
    {"row": 7, "prompt": "Hi", "completion": "Hello"}             ->  (7, prompt, 0, user, Hi)
                                                                      (7, completion, 0, assistant, Hello)

A step looks at `texts`, and hands the pieces it changed to `with_texts`. polars is imported here: the server imports
this room only where it is used.
"""

from pathlib import Path

import polars as pl

from studio.workshop.versions.layout import REASONING
from studio.workshop.versions.old_layouts import up_to_date
from studio.workshop.versions.reader import ROWS

ROLE_OF_COLUMN = {
    "prompt": "user",
    "completion": "assistant",
    "completions": "assistant",
    "chosen": "assistant",
    "rejected": "assistant",
    "text": "text",
}
"""Who speaks in a column that holds plain text."""
TEXT_COLUMNS = ("messages", *ROLE_OF_COLUMN)
TEXTS_SCHEMA = {"row": pl.Int64, "column": pl.String, "turn": pl.Int64, "role": pl.String, "text": pl.String}


def load(version: Path) -> pl.DataFrame:
    """Every usable row of a version, without the source text (`raw`)."""
    return up_to_date(pl.scan_parquet(Path(version) / ROWS).drop("raw", strict=False).collect())


def texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Every piece of text of every row, in row order, columns as `TEXTS_SCHEMA`; `turn` counts from 0 in its column."""
    parts = [_pieces(rows, column) for column in TEXT_COLUMNS if column in rows.columns]
    if not parts:
        return pl.DataFrame(schema=TEXTS_SCHEMA)
    return parts[0] if len(parts) == 1 else pl.concat(parts).sort("row", maintain_order=True)


def reasoning(rows: pl.DataFrame) -> pl.DataFrame:
    """What assistants think before they answer, as `texts` has the rest: column `messages.reasoning_content`."""
    columns = [name for name, kind in rows.schema.items() if _is_turns(kind) and _has(kind, REASONING)]
    parts = [_pieces(rows, name, REASONING) for name in columns]
    return pl.concat(parts) if parts else pl.DataFrame(schema=TEXTS_SCHEMA)


def with_texts(rows: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the pieces in `changed` (`row`, `column`, `turn`, `text`) in place of the old ones; order kept."""
    for column in changed["column"].unique().to_list() if changed.height else []:
        pieces = changed.filter(pl.col("column") == column).select("row", "turn", "text")
        rows = _with_column(rows, column, pieces)
    return rows


def fields(pieces: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """Where each piece of `rows` stands, as findings name it: `messages[2].content`, `completions[1]`, `prompt`."""
    turns = [name for name, kind in rows.schema.items() if _is_turns(kind)]
    lists = [name for name, kind in rows.schema.items() if isinstance(kind, pl.List) and name not in turns]
    column = pl.col("column").str.split(".").list.first()
    place = column + "[" + pl.col("turn").cast(pl.String) + "]"
    named = (
        pl.when(pl.col("column").is_in(turns))
        .then(place + ".content")
        .when(column.is_in(turns))
        .then(place + "." + REASONING)
        .when(pl.col("column").is_in(lists))
        .then(place)
        .otherwise("column")
    )
    return pieces.select(named.alias("field")).to_series()


def whole_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """`row` and `text`: all turns' text, joined by line breaks, without any role mark; in the order of `rows`."""
    columns = [name for name in TEXT_COLUMNS if name in rows.columns]
    if len(columns) == 1 and _is_turns(rows.schema[columns[0]]):  # several times as fast as by pieces
        contents = pl.col(columns[0]).list.eval(pl.element().struct.field("content"))
        return rows.select("row", contents.list.join("\n", ignore_nulls=True).fill_null("").alias("text"))
    joined = texts(rows).group_by("row", maintain_order=True).agg(pl.col("text").str.join("\n"))
    return (
        rows.select("row")
        .join(joined, on="row", how="left", maintain_order="left")
        .with_columns(pl.col("text").fill_null(""))
    )


def prompts(rows: pl.DataFrame) -> pl.DataFrame:
    """`row` and `text`: what is asked, that is everything before the last answer; in the order of `rows`."""
    return _joined(rows, is_answer=False)


def answers(rows: pl.DataFrame) -> pl.DataFrame:
    """`row` and `text`: the last answer; null where a row has none. In the order of `rows`."""
    return _joined(rows, is_answer=True)


def _joined(rows: pl.DataFrame, *, is_answer: bool) -> pl.DataFrame:
    pieces = texts(rows).filter(pl.col("column") != "rejected").with_row_index("place")
    last = pieces.filter(pl.col("role") == "assistant").group_by("row").agg(pl.col("place").max().alias("answer"))
    pieces = pieces.join(last, on="row", how="left", maintain_order="left")
    is_last = pl.col("place") == pl.col("answer")
    wanted = is_last.fill_null(False) if is_answer else (pl.col("place") < pl.col("answer")).fill_null(True)
    joined = pieces.filter(wanted).group_by("row", maintain_order=True).agg(pl.col("text").str.join("\n"))
    return rows.select("row").join(joined, on="row", how="left", maintain_order="left")


def _pieces(rows: pl.DataFrame, column: str, field: str = "content") -> pl.DataFrame:
    kind = rows.schema[column]
    if kind == pl.String:
        return rows.filter(pl.col(column).is_not_null()).select(
            "row",
            pl.lit(column).alias("column"),
            pl.lit(0, pl.Int64).alias("turn"),
            pl.lit(ROLE_OF_COLUMN[column]).alias("role"),
            pl.col(column).alias("text"),
        )
    long = rows.select("row", pl.col(column).alias("piece")).filter(pl.col("piece").list.len() > 0)
    long = long.with_columns(pl.int_ranges(0, pl.col("piece").list.len()).alias("turn")).explode("piece", "turn")
    is_turn = _is_turns(kind)
    role = pl.col("piece").struct.field("role") if is_turn else pl.lit(ROLE_OF_COLUMN[column])
    text = pl.col("piece").struct.field(field) if is_turn else pl.col("piece")
    name = pl.lit(column if field == "content" else f"{column}.{field}")
    return long.select("row", name.alias("column"), "turn", role.alias("role"), text.alias("text")).filter(
        pl.col("text").is_not_null()
    )


def _is_turns(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct)


def _has(kind: pl.List, field: str) -> bool:
    return any(each.name == field for each in kind.inner.fields)


def _with_column(rows: pl.DataFrame, place: str, pieces: pl.DataFrame) -> pl.DataFrame:
    column, _, field = place.partition(".")
    field = field or "content"
    kind = rows.schema[column]
    if kind == pl.String:
        new = pieces.select("row", pl.col("text").alias("_new"))
        rows = rows.join(new, on="row", how="left", maintain_order="left")
        return rows.with_columns(pl.coalesce("_new", column).alias(column)).drop("_new")
    touched = rows.filter(pl.col("row").is_in(pieces["row"].unique().implode())).select(
        "row", pl.col(column).alias("piece")
    )
    long = touched.with_columns(pl.int_ranges(0, pl.col("piece").list.len()).alias("turn")).explode("piece", "turn")
    long = long.join(pieces, on=["row", "turn"], how="left", maintain_order="left")
    if _is_turns(kind):
        old = pl.col("piece").struct
        mended = old.with_fields(pl.coalesce("text", old.field(field)).alias(field))
    else:
        mended = pl.coalesce("text", "piece")
    new = long.select("row", mended.alias("_new")).group_by("row", maintain_order=True).agg("_new")
    rows = rows.join(new, on="row", how="left", maintain_order="left")
    return rows.with_columns(pl.coalesce("_new", column).cast(kind).alias(column)).drop("_new")
