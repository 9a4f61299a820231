"""How hard is each row? A score from 0 (easy) to 1 (hard), for a curriculum that begins with the easy ones.

    "What is 2 + 2?" -> "4"                     0.05
    five turns about eigenvalues of a Hessian   0.97

Three things are ranked over the whole version and averaged by weight: how long a row is, how rare its words are (mean
inverse document frequency over the row's different words; a Chinese character is a word), and how many turns it has.
Where a model was asked, a fourth joins them: its loss on the row's answers (`studio.workshop.row_losses`). Ranks, not
values: one endless row does not make all others easy.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import polars as pl
from msgspec import Meta

from studio.workshop.checks.lengths import row_lengths
from studio.workshop.clean.outcome import no_findings
from studio.workshop.row_losses import LossReport, RowLosses
from studio.workshop.table import texts, whole_texts

WORDS = r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}\p{N}_&&[^\p{Han}\p{Hiragana}\p{Katakana}]]+"
CHUNK_ROWS = 20_000
"""Rows whose words are held at once."""
EXTREMES = 5
BARS = 10

Weight = Annotated[float, Meta(ge=0, le=1)]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    length: Weight = 1.0
    """Weight of the number of characters."""
    rare_words: Weight = 1.0
    """Weight of how rare the words are."""
    turns: Weight = 1.0
    """Weight of the number of turns."""
    loss: Weight = 1.0
    """Weight of a model's loss, where one was measured."""


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    edges: list[float]
    counts: list[int]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    mean: float
    histogram: Bars
    easiest: list[int]
    """Row numbers."""
    hardest: list[int]
    scores: pl.DataFrame
    """row, difficulty, and loss where a model was asked."""
    losses: LossReport | None
    """What asking the model came to."""
    findings: pl.DataFrame


def run(rows: pl.DataFrame, options: Options, losses: RowLosses | None = None) -> Report:
    """
    Args:
        losses: a model's losses on these very rows, in this order.
    """
    loss = losses.table["loss"] if losses else None
    scored = rows.select("row").with_columns(difficulty=_scores(rows, options, loss))
    ordered = scored.sort("difficulty", "row")["row"]
    bars = (scored["difficulty"] * BARS).floor().clip(0, BARS - 1).cast(pl.Int64).value_counts()
    counts = dict(bars.iter_rows())
    return Report(
        mean=round(float(scored["difficulty"].mean() or 0), 4),
        histogram=Bars(edges=[bar / BARS for bar in range(BARS)], counts=[counts.get(bar, 0) for bar in range(BARS)]),
        easiest=ordered.head(EXTREMES).to_list(),
        hardest=ordered.tail(EXTREMES).reverse().to_list(),
        scores=scored if loss is None else scored.with_columns(loss=loss),
        losses=losses.report if losses else None,
        findings=no_findings(),
    )


def _scores(rows: pl.DataFrame, options: Options, loss: pl.Series | None) -> pl.Series:
    turns = texts(rows).group_by("row").len("turns")
    turns = rows.select("row").join(turns, on="row", how="left", maintain_order="left")["turns"].fill_null(0)
    parts = [
        (options.length, lambda: row_lengths(rows)),
        (options.rare_words, lambda: _rarity(rows)),
        (options.turns, lambda: turns),
        (options.loss if loss is not None else 0.0, lambda: loss),
    ]
    total = sum(weight for weight, _ in parts) or 1.0
    score = pl.repeat(0.0, rows.height, eager=True)
    for weight, measure in parts:
        if weight:
            score += _ranked(measure()) * (weight / total)
    return score.round(4)


def _ranked(values: pl.Series) -> pl.Series:
    """0 for the smallest, 1 for the largest; equal values share their mean rank, an unknown one gets the middle."""
    known = len(values) - values.null_count()
    if known < 2:
        return pl.repeat(0.5, len(values), eager=True)
    return ((values.rank("average") - 1) / (known - 1)).fill_null(0.5)


def _rarity(rows: pl.DataFrame) -> pl.Series:
    """Mean inverse document frequency of each row's different words; 0 for a row without words."""
    counted = pl.concat(
        [words.group_by("word").len("rows") for words in _words(rows)]
        or [pl.DataFrame(schema={"word": pl.UInt64, "rows": pl.UInt32})]
    )
    frequency = counted.group_by("word").agg(pl.col("rows").sum())
    frequency = frequency.select("word", idf=((1 + rows.height) / (1 + pl.col("rows"))).log() + 1)
    means = [words.join(frequency, on="word").group_by("row").agg(pl.col("idf").mean()) for words in _words(rows)]
    if not means:
        return pl.repeat(0.0, rows.height, eager=True)
    joined = rows.select("row").join(pl.concat(means), on="row", how="left", maintain_order="left")
    return joined["idf"].fill_null(0.0)


def _words(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Row and hash of each different word, a chunk of rows at a time."""
    for chunk in rows.iter_slices(CHUNK_ROWS):
        words = whole_texts(chunk).with_columns(word=pl.col("text").str.to_lowercase().str.extract_all(WORDS))
        long = words.select("row", "word").explode("word").filter(pl.col("word").is_not_null())
        yield long.select("row", word=pl.col("word").hash(0)).unique()
