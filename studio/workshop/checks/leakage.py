"""Rows of one side that stand on another side too: what is tested was seen in training.

    train "What is AI?"   test "what is  AI?"                  ->  exact
                          test "Tell me, what is AI?"          ->  near (cosine 0.95 or more), or suspicious (0.8)
                          test "What is AI?" with other answer ->  same_prompt

Each held-out row is compared with training, and test with validation; every row with a second data set, if one is
given. The weights are fitted on all rows that take part. A row is told once, under the gravest of the four.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta

from studio.workshop.clean.outcome import MARK, no_findings
from studio.workshop.clean.split import TEST, TRAIN, VALIDATION
from studio.workshop.similarity import vectors as tfidf
from studio.workshop.similarity.findings import lines, rounded_down
from studio.workshop.similarity.join import SLACK
from studio.workshop.similarity.matches import matches, nodes

KINDS = ("exact", "near", "same_prompt", "suspicious")
"""From the gravest down."""
OTHER, ALL = "other", "all"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """From which cosine on two rows are too much alike."""

    similarity: Annotated[float, Meta(ge=0.5, le=1)] = 0.95
    suspicious: Annotated[float, Meta(ge=0.3, le=1)] = 0.8
    """Worth a look by eye."""


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    """One set of rows against another."""

    side: str
    """all stands for every row of this version."""
    against: str
    """train, validation, or other: the second data set."""
    rows: int
    found: dict[str, int]
    """Rows by kind of leak: exact, near, same_prompt, suspicious."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    pairings: list[Pairing]
    is_split: bool
    """False where nothing is held out, so that there is nothing to compare within the version."""
    findings: pl.DataFrame


def run(rows: pl.DataFrame, options: Options, against: pl.DataFrame | None = None) -> Report:
    compared = _Compared(rows, against)
    pairings, found = [], [no_findings()]
    for side, other, wanted, among in compared.pairings():
        kind, match, cosine = compared.leaks(wanted, among, options)
        counts = {name: int((kind == place).sum()) for place, name in enumerate(KINDS)}
        pairings.append(Pairing(side=side, against=other, rows=int(wanted.sum()), found=counts))
        found += [
            _findings(compared, np.flatnonzero(kind == place), match, cosine, other, name)
            for place, name in enumerate(KINDS)
        ]
    findings = pl.concat(found).sort("row", maintain_order=True)
    return Report(pairings=pairings, is_split=compared.is_split, findings=findings)


class _Compared:
    """All rows that take part, one after the other."""

    def __init__(self, rows: pl.DataFrame, against: pl.DataFrame | None) -> None:
        tables = [rows] if against is None else [rows, against]
        split = rows["split"] if "split" in rows.columns else pl.Series([None] * rows.height, dtype=pl.String)
        others = pl.repeat(OTHER, sum(table.height for table in tables[1:]), dtype=pl.String, eager=True)
        self._sides = pl.concat([split.fill_null(TRAIN).rename(""), others.rename("")]).to_numpy()
        self.numbers = np.concatenate([table["row"].to_numpy() for table in tables])
        self._vectors = tfidf.of_texts(part for table in tables for part in tfidf.whole(table))
        self._prompts = tfidf.digests(part for table in tables for part in tfidf.prompts(table))
        self.is_split = bool(np.isin(self._sides, (VALIDATION, TEST)).any())

    def pairings(self) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
        """Names and masks of the sets that are compared."""
        for side, other in ((VALIDATION, TRAIN), (TEST, TRAIN), (TEST, VALIDATION), (ALL, OTHER)):
            among = self._sides == other
            wanted = ~among if side == ALL else self._sides == side
            if wanted.any() and among.any():
                yield side, other, wanted, among

    def leaks(self, wanted: np.ndarray, among: np.ndarray, options: Options) -> tuple[np.ndarray, ...]:
        """For each row its kind of leak, as its place in `KINDS` or -1; its match; the cosine of the similar ones."""
        weights, node, first = nodes(self._vectors, wanted + 2 * among)
        sides = (wanted + 2 * among)[first]
        lowest = min(options.suspicious, options.similarity)
        found = matches(weights, lowest, wanted=sides == 1, among=sides == 2, enough=options.similarity)
        similar, cosine = first[found[0]][node], found[1][node]
        exact = _same(self._vectors.digests, wanted, among)
        asked = _same(self._prompts, wanted, among)
        holds = [exact >= 0, cosine >= options.similarity - SLACK, asked >= 0, cosine > 0]
        return np.select(holds, range(len(KINDS)), -1), np.select(holds, [exact, similar, asked, similar], -1), cosine


def _same(digests: np.ndarray, wanted: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Place -> the first place in `among` with the same digest, -1 where there is none or the text is empty."""
    found = np.full(len(digests), -1)
    places = np.flatnonzero(among & (digests != tfidf.EMPTY))
    known, first = np.unique(digests[places], return_index=True)
    if len(known):
        here = np.minimum(np.searchsorted(known, digests), len(known) - 1)
        hits = wanted & (known[here] == digests)
        found[hits] = places[first[here[hits]]]
    return found


def _findings(
    compared: _Compared, leaks: np.ndarray, match: np.ndarray, cosine: np.ndarray, other: str, kind: str
) -> pl.DataFrame:
    place = "elsewhere" if other == OTHER else "within"
    values = {"other": compared.numbers[match[leaks]], "side": [other] * len(leaks)}
    if kind in ("near", "suspicious"):
        values["similarity"] = rounded_down(cosine[leaks])
    return lines(compared.numbers[leaks], f"checks.leakage.{kind}_{place}", MARK, **values)
