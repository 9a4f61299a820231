"""Takes off for answers that are too long, softly: nothing up to a length, then in a line down to -1.

    max 200, buffer 50 words     150 words   ->   0
                                 175 words   ->  -0.5
                                 200 words   ->  -1, and for everything longer

The soft overlong punishment of DAPO (Yu et al. 2025, arXiv 2503.14476, eq. 13), in words instead of tokens.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from studio.errors import RefusedInput
from studio.graders.length import length_of
from studio.graders.score import Row, Score


class Options(msgspec.Struct, frozen=True, kw_only=True):
    max: Annotated[int, Meta(ge=1, le=100_000)] = 200
    buffer: Annotated[int, Meta(ge=1, le=100_000)] = 50
    unit: Literal["words", "characters"] = "words"


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: every answer would be too long.
    """
    if options.buffer > options.max:
        raise RefusedInput("reward.no_buffer", buffer=options.buffer, max=options.max)


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(length_of(answer, options.unit), options) for answer in answers]


def _score(length: int, options: Options) -> Score:
    over = length - (options.max - options.buffer)
    return Score(-min(1.0, over / options.buffer), "too_long", str(length)) if over > 0 else Score(0.0)
