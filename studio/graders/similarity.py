"""How like the reference answer is it?

    measure rouge_l    "The cat sat on the mat." wanted "The cat is on the mat."   ->  0.833
    measure chrf       the same                                                   ->  0.672

ROUGE-L: F1 of the longest common subsequence of words (Lin 2004). chrF: F2 of runs of 1 to 6 characters, blanks left
out, averaged (Popović 2015; as sacrebleu's chrF with its own defaults, whose package would bring four others along for
these lines). A Han or kana character is a word.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from rapidfuzz.distance import LCSseq

from studio.graders.answers import words
from studio.graders.score import Row, Score, missing

LONGEST_RUN = 6
BETA = 2
MOST_WORDS, MOST_CHARACTERS = 20_000, 50_000
"""What comes after is not compared."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    measure: Literal["rouge_l", "chrf"] = "rouge_l"
    to: Literal["reference", "source"] = "reference"
    least: Annotated[float, Meta(ge=0, le=0.95)] = 0.0
    """Likeness up to here is worth nothing: two texts of one language always share some words."""


def needs(options: Options) -> tuple[str, ...]:
    return (options.to,)


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(answer, row, options) for answer, row in zip(answers, rows, strict=True)]


def rouge_l(said: str, wanted: str) -> float:
    """F1, from 0 to 1; 0 where either has no word."""
    ours, theirs = words(said)[:MOST_WORDS], words(wanted)[:MOST_WORDS]
    if not ours or not theirs:
        return 0.0
    return 2 * LCSseq.similarity(ours, theirs) / (len(ours) + len(theirs))


def chrf(said: str, wanted: str) -> float:
    """F2, from 0 to 1. Lengths of runs that one of the two is too short for do not count."""
    ours, theirs = ("".join(text[:MOST_CHARACTERS].split()) for text in (said, wanted))
    precision = recall = 0.0
    orders = min(LONGEST_RUN, len(ours), len(theirs))
    for length in range(1, orders + 1):
        mine, others = _runs(ours, length), _runs(theirs, length)
        shared = (mine & others).total()
        precision += shared / mine.total()
        recall += shared / others.total()
    if not precision or not recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def _score(answer: str, row: Row, options: Options) -> Score:
    wanted = row.reference if options.to == "reference" else row.source
    if wanted is None or not wanted.strip():
        return missing(f"no_{options.to}")
    value = (rouge_l if options.measure == "rouge_l" else chrf)(answer, wanted)
    scaled = max(0.0, (value - options.least) / (1 - options.least))
    return Score(min(1.0, scaled), "" if value > 0.999 else "unlike", f"{100 * value:.0f}")


def _runs(text: str, length: int) -> Counter[str]:
    return Counter(text[start : start + length] for start in range(len(text) - length + 1))
