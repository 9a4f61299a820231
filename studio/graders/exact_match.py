"""Is it the wanted answer?

    "Richard Nixon."                    wanted "richard nixon"   ->  1
    "It was Richard Nixon, in 1969."    wanted "Richard Nixon"   ->  1 if it may stand among other words, else 0

Compared as `studio.graders.answers` does: case and punctuation do not count, unless `strict`.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from studio.graders.answers import exact_match, names
from studio.graders.score import Row, Score, missing, passed


class Options(msgspec.Struct, frozen=True, kw_only=True):
    match: Literal["whole", "named", "strict"] = "whole"
    """whole: the answer is these words; named: they stand among its first 40 words; strict: the same characters."""


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(answer, row, options) for answer, row in zip(answers, rows, strict=True)]


def _score(answer: str, row: Row, options: Options) -> Score:
    if row.reference is None or not row.reference.strip():
        return missing("no_reference")
    if options.match == "strict":
        holds = answer.strip() == row.reference.strip()
    else:
        holds = (names if options.match == "named" else exact_match)(answer, row.reference)
    return passed(holds, "another_answer")
