"""Is the answer neither too short nor too long?

    min 5, max 60 words          7 words   ->  1
    with slack 10               65 words   ->  0.5: half of the slack is used up
                                80 words   ->  0

Words are those of `studio.graders.answers`: a Han or kana character is one.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from studio.errors import RefusedInput
from studio.graders.answers import words
from studio.graders.score import Row, Score

Amount = Annotated[int, Meta(ge=0, le=100_000)]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    min: Amount = 1
    max: Amount = 200
    slack: Amount = 0
    """So far beyond a bound the score falls in a line to 0."""
    unit: Literal["words", "characters"] = "words"


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no length lies between the bounds.
    """
    if options.min > options.max:
        raise RefusedInput("reward.no_band", min=options.min, max=options.max)


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(length_of(answer, options.unit), options) for answer in answers]


def length_of(answer: str, unit: str) -> int:
    return len(words(answer)) if unit == "words" else len(answer.strip())


def _score(length: int, options: Options) -> Score:
    beyond = max(options.min - length, length - options.max, 0)
    if not beyond:
        return Score(1.0)
    value = max(0.0, 1 - beyond / (options.slack + 1)) if options.slack else 0.0
    return Score(value, "too_short" if length < options.min else "too_long", str(length))
