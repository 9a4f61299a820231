"""Joins data sets by ratio: all rows of one, and so many of others that each makes up its share of the whole.

    mix(support (950 rows), [general: share 0.05])  ->  1,000 rows, 50 of them `origin` "mix:general@2:17"
    a row that was itself made from another one says so behind it:   "mix:general@2:1017<augment:synonyms:17"

Which rows are drawn depends on the seed alone. Rows held out for validation or test of the other data set are never
drawn. Formats must agree; prompt and completion become a conversation only where that is asked for. Used inside jobs:
it brings polars along.
"""

import random
from pathlib import Path

import msgspec
import polars as pl

from studio.errors import RefusedInput
from studio.workshop.clean.outcome import no_findings
from studio.workshop.table import load
from studio.workshop.versions.layout import BESIDE_CONTENT, MESSAGES, PROMPT_COMPLETION, TRAINED_COLUMNS
from studio.workshop.versions.old_layouts import turn_fields
from studio.workshop.versions.reader import Manifest, Step, read_manifest, write_version


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A data set that is mixed in."""

    dataset: str
    version: int
    path: str
    """Folder of the version."""
    share: float
    """Of the rows of the result."""


def mix(base: Path, parts: list[Part], folder: Path, *, seed: int = 42, convert: bool = False) -> Manifest:
    """Write the version that holds `base` and its share of each part.

    Raises:
        RefusedInput: a part whose rows have another format.
    """
    known = read_manifest(base)
    rows = load(base)
    number = known.source_rows if rows["row"].is_empty() else max(known.source_rows, int(rows["row"].max()))
    is_split = bool(known.splits)
    drawn, taken = [], []
    for part in parts:
        wanted = _wanted(rows.height, part.share, parts)
        chosen = _draw(_available(part, known.format, convert=convert), wanted, seed)
        taken.append(
            {"dataset": f"{part.dataset}@{part.version}", "share": part.share, "wanted": wanted, "taken": chosen.height}
        )
        own = ("<" + pl.col("origin")).fill_null("") if "origin" in chosen.columns else pl.lit("")
        origin = pl.lit(f"mix:{part.dataset}@{part.version}:") + pl.col("row").cast(pl.String) + own
        drawn.append(
            chosen.with_columns(origin=origin, split=pl.lit("train" if is_split else None, pl.String)).with_columns(
                row=pl.int_range(number + 1, number + 1 + chosen.height, dtype=pl.Int64)
            )
        )
        number += chosen.height
    mixed = pl.concat([rows, *drawn], how="diagonal")
    step = Step(
        operation="mix",
        parameters={"parts": taken, "seed": seed, "convert": convert},
        rows_in=rows.height,
        rows_out=mixed.height,
    )
    return write_version(folder, parent=base, rows=mixed, excluded=no_findings(), steps=[step])


def _wanted(base_rows: int, share: float, parts: list[Part]) -> int:
    """Rows of one part, so that it has its share of base and all parts together."""
    rest = 1 - sum(part.share for part in parts)
    return max(1, round(base_rows * share / rest))


def _available(part: Part, format: str, *, convert: bool) -> pl.DataFrame:
    theirs = read_manifest(Path(part.path)).format
    rows = load(Path(part.path))
    if theirs != format:
        if not (convert and (theirs, format) == (PROMPT_COMPLETION, MESSAGES)):
            code = "data.mix.convertible" if (theirs, format) == (PROMPT_COMPLETION, MESSAGES) else "data.mix.format"
            raise RefusedInput(code, name=part.dataset, theirs=theirs, ours=format)
        rows = rows.with_columns(messages=_conversation()).drop("prompt", "completion")
    kept = ["row", *(name for name in (*TRAINED_COLUMNS[format], "extra", "category") if name in rows.columns)]
    if "split" in rows.columns:
        rows = rows.filter(pl.col("split").is_null() | (pl.col("split") == "train"))
    return rows.select(kept)


def _conversation() -> pl.Expr:
    """One question and one answer, of the layout's own type."""
    kinds = turn_fields()
    empty = [pl.lit(None, kinds[name]).alias(name) for name in BESIDE_CONTENT]
    turns = [
        pl.struct(pl.lit(role).alias("role"), pl.col(column).alias("content"), *empty)
        for role, column in (("user", "prompt"), ("assistant", "completion"))
    ]
    return pl.concat_list(turns)


def _draw(rows: pl.DataFrame, wanted: int, seed: int) -> pl.DataFrame:
    places = random.Random(seed).sample(range(rows.height), min(wanted, rows.height))
    return rows[sorted(places)]
