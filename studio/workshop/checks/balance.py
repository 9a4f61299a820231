"""Are the classes of a data set of like size? And the remedy: rows of small classes more than once.

    900 rows of "refund", 100 of "delivery"  ->  ratio 9; resampling would add 400 rows, to 500, with max_factor 5
                                                 weights 0.56 and 5, by which a loss would count each row

Only rows that train are counted: those held out stay as they are. A repeated row is a new row whose `origin` names the
one it repeats, so the version before it is one step back.
"""

import random
from typing import Annotated

import msgspec
import polars as pl
from msgspec import Meta

from studio.workshop.clean.outcome import no_findings


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """When classes count as unbalanced, and how far resampling goes."""

    ratio: Annotated[float, Meta(ge=1)] = 3.0
    """Largest class to smallest, above which they are called unbalanced."""
    max_factor: Annotated[int, Meta(ge=1, le=20)] = 5
    """A row is repeated at most until it stands this often: more would be learned by heart."""
    seed: int = 42


class ClassBalance(msgspec.Struct, frozen=True, kw_only=True):
    category: str
    rows: int
    share: float
    weight: float
    """rows of all classes / (classes x rows of this one), as scikit-learn's `balanced` has it."""
    target: int
    """Rows after resampling."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    categories: list[ClassBalance]
    uncategorised: int
    ratio: float | None
    """Largest class to smallest; None with fewer than two classes."""
    is_balanced: bool
    added: int
    """Rows that resampling would add."""
    findings: pl.DataFrame


def run(rows: pl.DataFrame, options: Options) -> Report:
    trained = trains(rows)
    counts = (
        trained.filter(pl.col("category").is_not_null())
        .group_by("category")
        .len()
        .sort("len", "category", descending=[True, False])
    )
    sizes = dict(counts.iter_rows())
    total, largest = sum(sizes.values()), max(sizes.values(), default=0)
    classes = [
        ClassBalance(
            category=category,
            rows=size,
            share=size / total,
            weight=round(total / (len(sizes) * size), 4),
            target=min(largest, size * options.max_factor),
        )
        for category, size in sizes.items()
    ]
    ratio = largest / min(sizes.values()) if len(sizes) > 1 else None
    return Report(
        categories=classes,
        uncategorised=trained.height - total,
        ratio=ratio,
        is_balanced=ratio is None or ratio <= options.ratio,
        added=sum(each.target - each.rows for each in classes),
        findings=no_findings(),
    )


def resample(rows: pl.DataFrame, options: Options, *, above: int) -> pl.DataFrame:
    """`rows` and, behind them, repeated rows of small classes, numbered from `above` + 1 on."""
    trained, repeated = trains(rows), []
    for each in run(rows, options).categories:
        own = trained.filter(pl.col("category") == each.category)
        whole, rest = divmod(each.target - each.rows, each.rows)
        some = sorted(random.Random(f"{options.seed}:{each.category}").sample(range(own.height), rest))
        repeated += [own] * whole + [own[some]]
    if not repeated:
        return rows
    added = pl.concat(repeated).with_columns(origin=pl.lit("balance:") + pl.col("row").cast(pl.String))
    numbers = pl.int_range(above + 1, above + 1 + added.height, dtype=pl.Int64)
    return pl.concat([rows, added.with_columns(row=numbers)], how="vertical")


def trains(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that training sees: all of them before a split was made."""
    return rows.filter(pl.col("split").is_null() | (pl.col("split") == "train"))
