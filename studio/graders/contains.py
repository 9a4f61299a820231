"""Do certain words stand in the answer?

    texts "refund", "14 days"   "You get a refund."   ->  any: 1     all: 0     share: 0.5

Case does not count. As a penalty: words that must not be said.
"""

import unicodedata
from collections.abc import Sequence
from typing import Literal

import msgspec

from studio.errors import RefusedInput
from studio.graders.score import Row, Score


class Options(msgspec.Struct, frozen=True, kw_only=True):
    texts: tuple[str, ...] = ()
    how_many: Literal["any", "all", "share"] = "any"


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no text.
    """
    if not any(_folded(each) for each in options.texts):
        raise RefusedInput("reward.no_texts")


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    texts = [folded for each in options.texts if (folded := _folded(each))]
    return [_score(_folded(answer), texts, options.how_many) for answer in answers]


def _score(answer: str, texts: list[str], how_many: str) -> Score:
    found = [text for text in texts if text in answer]
    lacking = next((text for text in texts if text not in found), "")
    if how_many == "share":
        return Score(len(found) / len(texts), "lacks" if lacking else "", lacking[:40])
    if how_many == "any":
        return Score(1.0, "has", found[0][:40]) if found else Score(0.0, "lacks_all")
    return Score(0.0, "lacks", lacking[:40]) if lacking else Score(1.0)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
