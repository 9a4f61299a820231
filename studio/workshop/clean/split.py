"""Which rows train, and which are held out for validation and test: fills the column `split`.

    200 rows, 2 categories, 10 % test  ->  180 train, 20 test, each category in its share

Rows that are near-duplicates of one another, or ask the same, stand on one side, and so does all that hangs together
through them. Rows that were made from others (augmented, repeated) train, and so do those that they were made from.
The order is that of a hash of text and seed: the same rows are split the same way, and appended rows move few others.
"""

from typing import Annotated

import msgspec
import numpy as np
import polars as pl
import xxhash
from msgspec import Meta

from studio.workshop.clean.outcome import CHANGE, MARK, Outcome
from studio.workshop.similarity import vectors as tfidf
from studio.workshop.similarity.clusters import clusters, merged
from studio.workshop.similarity.findings import lines
from studio.workshop.stratify import assign, quotas

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_MADE = r"^(?:augment|balance):(?:.*:)?(\d+)$"
"""Origins of rows that were made from a row of this table, whose number comes last."""
_MADE_SOMEWHERE = r"(?:^|<)(?:augment|balance):"
"""Those, and rows that were made in another data set before they were mixed in: all of them train only."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How much is held out, and what has to stay on one side."""

    test: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    """Share of the rows for the final test."""
    validation: Annotated[float, Meta(ge=0, le=0.4)] = 0.0
    """Share of the rows that is looked at during training."""
    stratify: bool = True
    """Each category in its share on each side."""
    similarity: Annotated[float, Meta(ge=0.5, le=1)] = 0.95
    """Rows at this cosine or above stand on one side."""
    same_prompt: bool = True
    """So do rows that ask the same, unless half of all rows do."""
    seed: int = 42


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a split."""

    side: str
    rows: int
    share: float
    categories: dict[str, int]
    """Rows by category; rows without one under the empty name."""
    distance: float
    """How far its categories' shares are from the whole's: 0 the same, 1 nothing in common (total variation)."""
    missing: list[str]
    """Categories without any row here."""


def run(rows: pl.DataFrame, options: Options) -> Outcome:
    sides = pl.Series("split", _sides(rows, options), dtype=pl.String)
    made = rows.with_columns(sides)
    told = made.select(
        "row", after="split", before=rows["split"] if "split" in rows.columns else pl.lit(None, pl.String)
    )
    told = told.filter(pl.col("after") != pl.col("before").fill_null(TRAIN))
    code = "clean.split." + told["after"]
    changes = lines(told["row"], code, CHANGE, before=told["before"], after=told["after"])
    return Outcome(made, pl.concat([changes, _marks(made, options)]).sort("row", maintain_order=True))


def report(rows: pl.DataFrame) -> list[Side]:
    """Rows by side and category of a split table, and how like the whole each side is; sides without rows left out."""
    names = _names(rows)
    whole = dict(names.value_counts().iter_rows())
    found = []
    for side in (TRAIN, VALIDATION, TEST):
        own = names.filter(rows["split"] == side)
        if len(own) == 0:
            continue
        counts = dict(own.value_counts().sort("count", "category", descending=[True, False]).iter_rows())
        gaps = [abs(counts.get(name, 0) / len(own) - count / rows.height) for name, count in whole.items()]
        found.append(
            Side(
                side=side,
                rows=len(own),
                share=len(own) / rows.height,
                categories=counts,
                distance=round(sum(gaps) / 2, 6),
                missing=sorted(whole.keys() - counts.keys()),
            )
        )
    return found


def _sides(rows: pl.DataFrame, options: Options) -> np.ndarray:
    if not rows.height:
        return np.empty(0, str)
    vectors = tfidf.of_texts(tfidf.whole(rows))
    groups, is_made = _groups(rows, vectors, options)
    names = _names(rows) if options.stratify else pl.repeat("", rows.height, eager=True)
    categories = names.rank("dense").to_numpy().astype(int) - 1
    sizes = np.bincount(categories[~is_made], minlength=categories.max() + 1)
    wanted = quotas(sizes, [options.test, options.validation])
    places = assign(_in_order(groups, vectors.digests, options.seed), categories, wanted, is_made)
    return np.array([TRAIN, TEST, VALIDATION])[places]


def _groups(rows: pl.DataFrame, vectors: tfidf.Vectors, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Row -> the first row of those that have to stand on its side; mask of the rows that were made from others."""
    groups = _firsts(clusters(vectors.weights, options.similarity)[vectors.of_text])
    if options.same_prompt:
        prompts = tfidf.digests(tfidf.prompts(rows))
        _, place, sizes = np.unique(prompts, return_inverse=True, return_counts=True)
        asks_alike = np.flatnonzero((prompts != tfidf.EMPTY) & (sizes[place] > 1) & (2 * sizes[place] < rows.height))
        groups = merged(groups, asks_alike, _firsts(prompts)[asks_alike])
    if "origin" not in rows.columns:
        return groups, np.zeros(rows.height, bool)
    source = rows["origin"].str.extract(_MADE).cast(pl.Int64)
    links = pl.DataFrame({"row": source}).with_row_index("made").drop_nulls()
    links = links.join(rows.select("row").with_row_index("source"), on="row", how="inner")
    made = rows["origin"].str.contains(_MADE_SOMEWHERE).fill_null(False).to_numpy()
    return merged(groups, links["made"].to_numpy(), links["source"].to_numpy()), made


def _firsts(names: np.ndarray) -> np.ndarray:
    """Place -> the first place of the same name."""
    _, first, place = np.unique(names, return_index=True, return_inverse=True)
    return first[place]


def _in_order(groups: np.ndarray, digests: np.ndarray, seed: int) -> np.ndarray:
    """Groups numbered anew, in the order of a hash of their first row's text."""
    firsts, place = np.unique(groups, return_inverse=True)
    mixed = [xxhash.xxh3_64_intdigest(digest.tobytes(), seed) for digest in digests[firsts]]
    return np.argsort(np.argsort(np.array(mixed, np.uint64), kind="stable"))[place]


def _names(rows: pl.DataFrame) -> pl.Series:
    """Row -> its category, empty where it has none."""
    if "category" in rows.columns:
        return rows["category"].fill_null("")
    return pl.repeat("", rows.height, dtype=pl.String, eager=True).alias("category")


def _marks(rows: pl.DataFrame, options: Options) -> pl.DataFrame:
    """What could not be had: a side without rows, a category without rows on a side; told of its first row."""
    found = [lines([], "", MARK)]
    wanted = {TEST: options.test, VALIDATION: options.validation} if rows.height else {}
    names = _names(rows)
    firsts = dict(pl.DataFrame({"name": names, "row": rows["row"]}).unique("name", keep="first").iter_rows())
    sizes = dict(names.value_counts().iter_rows())
    sides = {each.side: each for each in report(rows)} if rows.height else {}
    for side in (side for side, share in wanted.items() if share > 0):
        if side not in sides:
            found.append(lines(rows["row"].head(1), f"clean.split.no_{side}", MARK, count=[rows.height]))
        elif options.stratify:
            small = [name for name in sides[side].missing if name]
            row, size = [firsts[name] for name in small], [sizes[name] for name in small]
            found.append(lines(row, f"clean.split.small_{side}", MARK, category=small, size=size))
    return pl.concat(found)
