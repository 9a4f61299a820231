"""Does the answer match a regular expression that a person wrote?

    pattern "[A-Z]{2}-\\d+"   "AB-123"   ->  1

A pattern can be written that takes for ever on some text. Each search has `SECONDS`, all that ran out together
`BATCH_SECONDS`: after that the remaining answers are not tried, and their scores are missing.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
import regex

from studio.errors import RefusedInput
from studio.graders.score import Row, Score, missing, passed

SECONDS = 0.2
BATCH_SECONDS = 2.0
MOST_CHARACTERS = 1000
"""Of a pattern."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    pattern: str = ""
    match: Literal["whole", "anywhere"] = "whole"
    ignore_case: bool = False


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no pattern, one too long, or one that is none.
    """
    if not options.pattern:
        raise RefusedInput("reward.no_pattern")
    if len(options.pattern) > MOST_CHARACTERS:
        raise RefusedInput("reward.long_pattern", most=MOST_CHARACTERS)
    try:
        _compiled(options.pattern, options.ignore_case)
    except (regex.error, RecursionError, MemoryError, OverflowError) as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise RefusedInput("reward.bad_pattern", pattern=options.pattern[:80], detail=detail) from None


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    compiled = _compiled(options.pattern, options.ignore_case)
    find = compiled.fullmatch if options.match == "whole" else compiled.search
    scores: list[Score] = []
    lost = 0.0
    for answer in answers:
        if lost > BATCH_SECONDS:
            scores.append(missing("pattern_given_up"))
            continue
        began = time.monotonic()
        try:
            text = answer.strip() if options.match == "whole" else answer
            scores.append(passed(find(text, timeout=SECONDS) is not None, "no_match"))
        except TimeoutError:
            lost += time.monotonic() - began
            scores.append(missing("pattern_slow"))
    return scores


@lru_cache(maxsize=64)
def _compiled(pattern: str, ignore_case: bool) -> Any:
    return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
