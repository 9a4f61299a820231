"""Rows that say the same: one of them stays.

    1 "What is AI?"  2 "what is  AI?"  3 "Tell me, what is AI?"   ->  2 goes (same as 1, exactly), 3 may go (near 1)

Exact: the text of all turns is equal once normalised. Near: its TF-IDF vectors have a cosine of at least `similarity`.
A row goes only if a row stays that is so much like it; where rows hang together in a long chain, several stay.

Never removed for each other: the same question with answers that are not near-duplicates themselves (both are marked),
the same text with another label, chosen answer, tool or tool call.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta

from studio.workshop.clean.outcome import FINDINGS_SCHEMA, MARK, REMOVE, Outcome
from studio.workshop.labelling.taught import read_ratings
from studio.workshop.similarity import vectors as tfidf
from studio.workshop.similarity.clusters import clusters
from studio.workshop.similarity.findings import lines, rounded_down
from studio.workshop.similarity.join import SLACK, cosines
from studio.workshop.similarity.variants import variants


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as a duplicate, and which of them stays."""

    similarity: Annotated[float, Meta(ge=0.5, le=1)] = 0.95
    """Cosine from which two rows are near-duplicates."""
    near: bool = True
    """Near-duplicates too, not only rows of the same text."""
    keep: Literal["first", "longest", "highest_rated", "highest_marked"] = "first"
    """Which row of a cluster stays."""
    rating: str = "rating"
    """For highest_rated: the source column that holds the number."""
    ratings: str = ""
    """For highest_marked: file of the annotators' ratings (studio.workshop.labelling.taught); the desk fills it in."""
    same_prompt: bool = True
    """Mark rows that ask the same and are answered differently."""


def run(rows: pl.DataFrame, options: Options) -> Outcome:
    vectors = tfidf.of_texts(tfidf.whole(rows))
    if options.near:
        cluster = clusters(vectors.weights, options.similarity)[vectors.of_text]
    else:
        cluster = np.unique(vectors.digests, return_inverse=True)[1]
    sizes = np.bincount(cluster, minlength=1)
    places = np.flatnonzero(sizes[cluster] > 1)
    choice = _Choice(rows[places], vectors, places, options)
    kept, similarity = choice.made(cluster[places])

    gone = np.flatnonzero(kept >= 0)
    is_exact = vectors.digests[places[gone]] == vectors.digests[places[kept[gone]]]
    numbers = rows["row"].to_numpy()
    removed = lines(
        numbers[places[gone]],
        np.where(is_exact, "clean.duplicates.exact", "clean.duplicates.near"),
        REMOVE,
        kept=numbers[places[kept[gone]]],
        similarity=rounded_down(similarity[gone]),
        size=sizes[cluster[places[gone]]],
    )
    stays = np.ones(rows.height, bool)
    stays[places[gone]] = False
    rows = rows.filter(pl.Series(stays))
    marked = _same_prompt(rows) if options.same_prompt else removed.clear()
    return Outcome(rows, pl.concat([removed, marked]).sort("row", maintain_order=True))


class _Choice:
    """Decides which of some rows stay; `places` says where each stands among all texts."""

    def __init__(self, rows: pl.DataFrame, vectors: tfidf.Vectors, places: np.ndarray, options: Options) -> None:
        self._weights, self._of_text = vectors.weights, vectors.of_text[places]
        self._least = options.similarity - SLACK if options.near else 0.0
        self._variants = variants(rows)
        self._prompts = tfidf.digests(tfidf.prompts(rows))
        self._answers = tfidf.of_texts(tfidf.answers(rows))
        self._preference = _preference(rows, options)

    def made(self, cluster: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row -> the row that stays for it, -1 if it stays itself; row -> their cosine.

        The preferred row of each cluster stays and those near it go; then the preferred of what is left, and so on.
        """
        kept, similarity = np.full(len(cluster), -1), np.zeros(len(cluster))
        left = np.lexsort((np.arange(len(cluster)), self._preference, cluster))
        while len(left):
            leads = np.diff(cluster[left], prepend=-1) != 0
            leaders = np.repeat(left[leads], np.diff(np.flatnonzero(leads), append=len(left)))[~leads]
            left = left[~leads]
            cosine = self._cosines(leaders, left)
            goes = (cosine >= self._least) & ~self._contradict(leaders, left)
            kept[left[goes]], similarity[left[goes]] = leaders[goes], cosine[goes]
            left = left[~goes]
        return kept, similarity

    def _cosines(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        found = np.ones(len(one))
        one, other = self._of_text[one], self._of_text[other]
        differ = one != other
        found[differ] = cosines(self._weights, one[differ], other[differ])
        return np.minimum(found, 1)

    def _contradict(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        found = self._variants[one] != self._variants[other]
        answers = self._answers.of_text
        same = np.flatnonzero((self._prompts[one] == self._prompts[other]) & (answers[one] != answers[other]))
        cosine = cosines(self._answers.weights, answers[one[same]], answers[other[same]])
        found[same[cosine < self._least]] = True
        return found


def _preference(rows: pl.DataFrame, options: Options) -> np.ndarray:
    """A number for each row: the lowest stays."""
    if options.keep == "longest":
        lengths = [part.str.len_chars().to_numpy() for part in tfidf.whole(rows)]
        return -np.concatenate([np.empty(0), *lengths])
    if options.keep == "highest_rated" and "extra" in rows.columns:
        return np.array([-_rating(text, options.rating) for text in rows["extra"].to_list()])
    if options.keep == "highest_marked":
        known = read_ratings(Path(options.ratings))
        return np.array([-known.get(row, -np.inf) for row in rows["row"].to_list()])
    return np.zeros(rows.height)


def _rating(extra: str | None, key: str) -> float:
    """The number under `key`; below all numbers where there is none."""
    value = msgspec.json.decode(extra).get(key) if extra else None
    try:
        number = float(value) if isinstance(value, int | float | str) else -np.inf
    except ValueError:
        return -np.inf
    return number if number == number else -np.inf


def _same_prompt(rows: pl.DataFrame) -> pl.DataFrame:
    """Marks for rows of one question with several answers; where several are the rule, for none."""
    if "messages" not in rows.columns and "completion" not in rows.columns or "label" in rows.columns:
        return pl.DataFrame(schema=FINDINGS_SCHEMA)
    asked = pl.DataFrame(
        {
            "row": rows["row"],
            "prompt": tfidf.digests(tfidf.prompts(rows)),
            "answer": tfidf.digests(tfidf.answers(rows)),
        }
    ).filter(pl.col("prompt") != tfidf.EMPTY)
    group = asked.with_columns(
        pl.col("answer").n_unique().over("prompt").alias("answers"),
        pl.len().over("prompt").alias("size"),
        pl.col("row").first().over("prompt").alias("first"),
        pl.col("row").filter(pl.col("row") != pl.col("row").first()).first().over("prompt").alias("second"),
    ).filter(pl.col("answers") > 1)
    other = group.select(pl.when(pl.col("row") == pl.col("first")).then("second").otherwise("first")).to_series()
    return lines(
        group["row"], "clean.duplicates.same_prompt", MARK, other=other, answers=group["answers"], size=group["size"]
    )
