"""Held-out rows and categories that no training row is like: what is tested there was never trained.

    train: 90 rows about refunds   test: "How do I bake bread?"   ->  row named, with the training row nearest to it

The remedy is to add 5 to 10 rows of that kind by hand, to training. A row is covered once a training row reaches
`similarity` (TF-IDF cosine over all turns, weights fitted on the whole version).
"""

from typing import Annotated

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta

from studio.workshop.clean.outcome import MARK, no_findings
from studio.workshop.clean.split import TEST, TRAIN, VALIDATION
from studio.workshop.similarity import vectors as tfidf
from studio.workshop.similarity.findings import lines, rounded_down
from studio.workshop.similarity.matches import nearest

ADVISED = (5, 10)
"""How many rows to add for what is not covered."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """When a row counts as covered."""

    similarity: Annotated[float, Meta(gt=0, le=1)] = 0.2
    """Cosine from which on a training row is like a held-out one at all."""


class CategoryCoverage(msgspec.Struct, frozen=True, kw_only=True):
    category: str
    """Empty for the rows without one."""
    trained: int
    held_out: int
    uncovered: int
    """Held-out rows that no training row is like."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    is_split: bool
    """False where nothing is held out, or nothing trains: there is nothing to compare."""
    trained: int
    held_out: int
    uncovered: int
    categories: list[CategoryCoverage]
    """Those with uncovered rows or without any training row, the least covered first."""
    advised: tuple[int, int]
    """From so many to so many rows to add by hand for each kind of uncovered row."""
    findings: pl.DataFrame


def run(rows: pl.DataFrame, options: Options) -> Report:
    split = rows["split"] if "split" in rows.columns else pl.Series([None] * rows.height, dtype=pl.String)
    trained = np.flatnonzero(split.fill_null(TRAIN) == TRAIN)
    held_out = np.flatnonzero(split.fill_null(TRAIN).is_in([VALIDATION, TEST]))
    is_split = bool(len(trained) and len(held_out))
    uncovered, findings = held_out[:0], no_findings()
    if is_split:
        match, cosine = _nearest(rows, held_out, trained, options)
        is_far = cosine < options.similarity
        uncovered = held_out[is_far]
        findings = _row_findings(rows, split, uncovered, match[is_far], cosine[is_far])
    categories = _categories(rows, trained, held_out, uncovered) if is_split else []
    return Report(
        is_split=is_split,
        trained=len(trained),
        held_out=len(held_out),
        uncovered=len(uncovered),
        categories=categories,
        advised=ADVISED,
        findings=pl.concat([findings, _category_findings(rows, held_out, categories)]).sort("row", maintain_order=True),
    )


def _nearest(
    rows: pl.DataFrame, held_out: np.ndarray, trained: np.ndarray, options: Options
) -> tuple[np.ndarray, np.ndarray]:
    """For each held-out row the place of its nearest training row, -1 where no word is shared; and their cosine."""
    vectors = tfidf.of_texts(tfidf.whole(rows))
    among, first = np.unique(vectors.of_text[trained], return_index=True)
    row_of_vector = np.full(vectors.weights.shape[0] + 1, -1)
    row_of_vector[among] = trained[first]
    asked, place = np.unique(vectors.of_text[held_out], return_inverse=True)
    match, cosine = nearest(vectors.weights, asked, among, enough=options.similarity)
    return row_of_vector[match][place], cosine[place]


def _row_findings(
    rows: pl.DataFrame, split: pl.Series, places: np.ndarray, match: np.ndarray, cosine: np.ndarray
) -> pl.DataFrame:
    numbers = rows["row"].to_numpy()
    found = []
    for code, chosen in (("alone", match < 0), ("far", match >= 0)):
        values = {"side": split.gather(places[chosen])}
        if code == "far":
            values |= {"nearest": numbers[match[chosen]], "similarity": rounded_down(cosine[chosen])}
        found.append(lines(numbers[places[chosen]], f"checks.coverage.{code}", MARK, **values))
    return pl.concat(found)


def _categories(
    rows: pl.DataFrame, trained: np.ndarray, held_out: np.ndarray, uncovered: np.ndarray
) -> list[CategoryCoverage]:
    if "category" not in rows.columns:
        return []
    names = rows["category"].fill_null("")
    counts = [dict(names.gather(places).value_counts().iter_rows()) for places in (trained, held_out, uncovered)]
    found = [
        CategoryCoverage(
            category=name,
            trained=counts[0].get(name, 0),
            held_out=size,
            uncovered=counts[2].get(name, 0),
        )
        for name, size in counts[1].items()
    ]
    weak = [each for each in found if each.uncovered or not each.trained]
    return sorted(weak, key=lambda each: (-each.uncovered / each.held_out, -each.uncovered, each.category))


def _category_findings(rows: pl.DataFrame, held_out: np.ndarray, categories: list[CategoryCoverage]) -> pl.DataFrame:
    """Categories that training lacks, or is like in no row; told of the first held-out row."""
    found = [no_findings()]
    for each in categories:
        if each.category and (not each.trained or each.uncovered == each.held_out):
            first = rows[held_out].filter(pl.col("category") == each.category)["row"].head(1)
            code = "checks.coverage.category" if each.trained else "checks.coverage.untrained"
            found.append(lines(first, code, MARK, category=[each.category], held_out=[each.held_out]))
    return pl.concat(found)
