"""Takes off for saying the same words again: the share of n-grams that stood there before.

    n 3, none allowed    "the cat sat the cat sat the cat sat"   ->  -0.571: 4 of 7 are repeated
                         "every word is new here"                ->   0

An n-gram penalty as Yeo et al. 2025 (arXiv 2502.03373) use against repetition, here one share for the whole answer.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from studio.graders.answers import words
from studio.graders.score import Row, Score


class Options(msgspec.Struct, frozen=True, kw_only=True):
    n: Annotated[int, Meta(ge=1, le=20)] = 4
    allowed: Annotated[float, Meta(ge=0, le=0.9)] = 0.1
    """Share that costs nothing: lists and tables repeat words too."""


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(words(answer), options) for answer in answers]


def _score(said: list[str], options: Options) -> Score:
    count = len(said) - options.n + 1
    if count < 2:
        return Score(0.0)
    share = 1 - len(set(zip(*(said[start:] for start in range(options.n)), strict=False))) / count
    if share <= options.allowed:
        return Score(0.0)
    return Score(-(share - options.allowed) / (1 - options.allowed), "repeats", f"{100 * share:.0f}")
