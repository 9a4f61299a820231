"""Questions that are nearly the same, but whose short answers or labels differ: one of the two is probably wrong.

    "Is the parcel late?" -> "delivery"    "is the parcel late" -> "refund"    ->  both named, each with the other

Only short answers are looked at: two long ones may differ in words and both be right.
"""

from typing import Annotated

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta

from studio.workshop.clean.outcome import MARK
from studio.workshop.similarity import vectors as tfidf
from studio.workshop.similarity.findings import lines, rounded_down
from studio.workshop.similarity.matches import matches, nodes


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is alike, and what is short."""

    similarity: Annotated[float, Meta(ge=0.5, le=1)] = 0.9
    """Cosine of two questions from which on their answers should agree."""
    max_words: Annotated[int, Meta(ge=1)] = 5
    """Answers of at most so many words, or Chinese characters, count as labels."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    compared: int
    """Rows with a question and a short answer or a label."""
    disagreeing: int
    findings: pl.DataFrame


def run(rows: pl.DataFrame, options: Options) -> Report:
    asked, labels = _questions(rows)
    is_short = labels["text"].str.count_matches(tfidf.TOKEN).is_between(1, options.max_words).to_numpy()
    vectors = tfidf.of_texts(asked)
    is_compared = is_short & (vectors.digests != tfidf.EMPTY)
    kinds = 1 + labels["label"].rank("dense").to_numpy().astype(int)
    kinds[~is_compared] = 0
    weights, node, first = nodes(vectors, kinds)
    there = kinds[first] > 0
    found = matches(
        weights, options.similarity, wanted=there, among=there, kinds=kinds[first], enough=options.similarity
    )
    match, cosine = first[found[0]][node], found[1][node]
    here = np.flatnonzero((found[0][node] >= 0) & is_compared)
    numbers, texts = rows["row"].to_numpy(), labels["text"]
    findings = lines(
        numbers[here],
        "checks.disagreement.label",
        MARK,
        other=numbers[match[here]],
        similarity=rounded_down(cosine[here]),
        answer=texts.gather(here),
        other_answer=texts.gather(match[here]),
    )
    return Report(compared=int(is_compared.sum()), disagreeing=len(here), findings=findings)


def _questions(rows: pl.DataFrame) -> tuple[list[pl.Series], pl.DataFrame]:
    """The questions in parts, and for each row its answer as text and a number that tells answers apart.

    Where rows have a label column (good or bad answers), the question is all of the text and the answer the label.
    """
    if "label" in rows.columns:
        text = rows["label"].cast(pl.String).fill_null("")
        return list(tfidf.whole(rows)), pl.DataFrame({"text": text, "label": text})
    parts = [pl.Series([], dtype=pl.String), *tfidf.answers(rows)]
    answers = pl.concat([part.rename("") for part in parts])
    return list(tfidf.prompts(rows)), pl.DataFrame(
        {"text": answers.str.strip_chars(), "label": tfidf.digests([answers])}
    )
