"""How long the rows are, and what share of them each `max_length` would cut.

    tokens of an inspection under the chosen model  ->  512: 12 % cut, 1024: 3 %, 2048: none
    no inspection                                   ->  lengths in characters, and no shares: those would be guesses

The inspection measures up to 2,000 rows spread evenly over the version (`is_sample`). A limit that it did not count at
is answered from the rows' characters and the inspection's tokens a character (`is_estimate`).
"""

from typing import Any

import msgspec
import polars as pl

from studio.workshop.clean.outcome import no_findings
from studio.workshop.table import reasoning, texts

PERCENTILES = (50, 90, 95, 99)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    limits: tuple[int, ...] = (512, 1024, 2048, 4096)
    """Values of max_length to tell the share of cut rows for."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    max_length: int
    cut_share: float
    cut_rows: int
    """Of the whole version; scaled up where a sample was measured."""
    is_estimate: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    """tokens or characters: the unit of all figures but `limits`, which are tokens."""
    rows: int
    is_sample: bool
    p50: int
    p90: int
    p95: int
    p99: int
    max: int
    mean: float
    tokens_per_character: float | None
    limits: list[Limit]
    findings: pl.DataFrame


def run(rows: pl.DataFrame, options: Options, *, tokens: dict[str, Any] | None = None) -> Report:
    """`tokens` is what an inspect job found out about this version under a model."""
    characters = row_lengths(rows)
    figures = tokens["lengths"] if tokens else _statistics(characters)
    ratio = tokens_per_character(characters, tokens)
    limits = [_limit(limit, characters, tokens, ratio) for limit in options.limits] if tokens and ratio else []
    return Report(
        source="tokens" if tokens else "characters",
        rows=rows.height,
        is_sample=bool(tokens and tokens["is_sample"]),
        **{name: figures[name] for name in ("p50", "p90", "p95", "p99", "max", "mean")},
        tokens_per_character=ratio,
        limits=limits,
        findings=no_findings(),
    )


def row_lengths(rows: pl.DataFrame) -> pl.Series:
    """Characters of each row's texts and reasoning, roles and field names not counted; in the order of `rows`."""
    summed = (
        pl.concat([texts(rows), reasoning(rows)])
        .group_by("row")
        .agg(pl.col("text").str.len_chars().cast(pl.Int64).sum().alias("length"))
    )
    joined = rows.select("row").join(summed, on="row", how="left", maintain_order="left")
    return joined["length"].fill_null(0)


def tokens_per_character(characters: pl.Series, tokens: dict[str, Any] | None) -> float | None:
    """Tokens of an average row to its characters, what the chat template adds included."""
    mean = characters.mean() if len(characters) else None
    return tokens["lengths"]["mean"] / mean if tokens and mean else None


def _limit(limit: int, characters: pl.Series, tokens: dict[str, Any], ratio: float) -> Limit:
    measured = tokens["share_above"].get(str(limit))
    share = measured if measured is not None else float((characters * ratio > limit).mean())
    rows = round(share * len(characters))
    return Limit(max_length=limit, cut_share=round(share, 4), cut_rows=rows, is_estimate=measured is None)


def _statistics(lengths: pl.Series) -> dict[str, Any]:
    if lengths.is_empty():
        return dict.fromkeys(("p50", "p90", "p95", "p99", "max"), 0) | {"mean": 0.0}
    percentiles = {f"p{p}": int(lengths.quantile(p / 100, "higher")) for p in PERCENTILES}
    return percentiles | {"max": int(lengths.max()), "mean": round(float(lengths.mean()), 2)}
