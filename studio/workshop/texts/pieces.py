"""The last answer of every row and the question before it, with the place where each stands.

row, field, text, question      one line a row that has an answer
7, "messages[3].content", "It is 4.", "What is 2 + 2?"
"""

import polars as pl

from studio.workshop import table


def texts_with_fields(rows: pl.DataFrame, *, with_reasoning: bool = False) -> pl.DataFrame:
    """`table.texts` with the `field` of each piece as findings name it; if asked, what assistants think is among it."""
    pieces = table.texts(rows)
    if with_reasoning and (thoughts := table.reasoning(rows)).height:
        pieces = pl.concat([pieces, thoughts]).sort("row", maintain_order=True)
    return pieces.with_columns(table.fields(pieces, rows))


def last_answers(pieces: pl.DataFrame) -> pl.DataFrame:
    """Columns row, field, text, question, of `texts_with_fields`; an answer in `rejected` is none."""
    said = pieces.filter(pl.col("column") != "rejected").with_row_index("place")
    answers = (
        said.filter(pl.col("role") == "assistant")
        .group_by("row", maintain_order=True)
        .agg(pl.col("place", "field", "text").last())
    )
    asked = (
        said.filter(pl.col("role") == "user")
        .select("row", "place", question="text")
        .join(answers.select("row", answer_place="place"), on="row")
        .filter(pl.col("place") < pl.col("answer_place"))
        .group_by("row", maintain_order=True)
        .agg(pl.col("question").last())
    )
    return answers.drop("place").join(asked, on="row", how="left", maintain_order="left")
