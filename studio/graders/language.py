"""Is the answer in the wanted language?

    language zh       "车站在第二条街的左边。"    ->  1
    language same     asked in English, answered in English   ->  1

An answer too short to tell (under 20 letters) has no score but where its letters can only be of one kind: Han
characters are never English. What `studio.workshop.texts.language` reads: code and addresses do not count.
"""

from collections.abc import Sequence

import msgspec

from studio.errors import RefusedInput
from studio.graders.score import Row, Score, missing, passed

SAME = "same"
_MOST_READ = 2000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    language: str = SAME
    """An ISO 639 code such as en, zh, de; same: that of the question."""


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no code of two or three small letters.
    """
    code = options.language
    if code != SAME and not (code.isascii() and code.isalpha() and code.islower() and 2 <= len(code) <= 3):
        raise RefusedInput("reward.bad_language", language=code[:40])


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    said = _languages([answer[:_MOST_READ] for answer in answers])
    wanted = [options.language] * len(rows)
    if options.language == SAME:
        wanted = _languages([row.question[:_MOST_READ] for row in rows])
    return [_score(answer, ours, theirs) for answer, ours, theirs in zip(answers, said, wanted, strict=True)]


def _score(answer: str, said: str | None, wanted: str | None) -> Score:
    if wanted is None:
        return missing("question_language")
    if not answer.strip():
        return Score(0.0, "empty")
    if said is None:
        return missing("language_unclear")
    return passed(said == wanted, "other_language", said)


def _languages(texts: list[str]) -> list[str | None]:
    import polars as pl

    from studio.workshop.texts.language import languages

    whole = [text.encode("utf-8", "replace").decode() for text in texts]  # half a surrogate pair is no UTF-8
    found = languages(pl.Series(whole, dtype=pl.String))["language"].to_list() if texts else []
    return [language or _by_script(text) for text, language in zip(texts, found, strict=True)]


def _by_script(text: str) -> str | None:
    """A few letters tell where they are Han without kana: Chinese."""
    letters = [each for each in text if each.isalpha()]
    is_han = letters and all("\u3400" <= each <= "\u9fff" for each in letters)
    return "zh" if is_han else None
