"""Small things that must hold of an answer, chosen from a fixed list; the score is the share of them that hold.

    checks single_line, ends_with_stop    "Yes."    ->  1
                                          "Yes"     ->  0.5: ends_with_stop

No code of a person runs here, and none of an answer: `is_python` reads it and runs nothing.
"""

import ast
import re
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from typing import Literal, get_args

import msgspec

from studio.errors import RefusedInput
from studio.graders.json_answer import unfenced
from studio.graders.score import Row, Score

MOST_CODE_CHARACTERS = 20_000
_EMAIL = re.compile(r"[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_ADDRESS = re.compile(r"https?://|www\.", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9-]{0,30}(?:\s[^<>]{0,500})?/?>")
_MARKDOWN = re.compile(r"^#{1,6} |^\s{0,8}[-*] |\*\*|```", re.MULTILINE)
_STOPS = ".!?。！？…"
_CLOSING = "\"'”’」』)）】*"

Check = Literal[
    "not_empty",
    "single_line",
    "ends_with_stop",
    "starts_with_capital",
    "is_integer",
    "is_date",
    "is_email",
    "no_addresses",
    "no_html",
    "no_markdown",
    "no_question_back",
    "not_the_question",
    "balanced_brackets",
    "is_python",
]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    checks: tuple[Check, ...] = ("not_empty",)


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: nothing to check.
    """
    if not options.checks:
        raise RefusedInput("reward.no_checks", known=", ".join(get_args(Check)))


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(answer, row, options.checks) for answer, row in zip(answers, rows, strict=True)]


def _score(answer: str, row: Row, checks: Sequence[str]) -> Score:
    text = answer.strip()
    failed = [name for name in checks if not _CHECKS[name](text, row)]
    return Score(1 - len(failed) / len(checks), "check_failed" if failed else "", failed[0] if failed else "")


def _is_python(text: str, row: Row) -> bool:
    code, _ = unfenced(text)
    if not code.strip() or len(code) > MOST_CODE_CHARACTERS:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return bool(ast.parse(code).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_date(text: str, row: Row) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _has_balanced_brackets(text: str, row: Row) -> bool:
    pairs, opened = {")": "(", "]": "[", "}": "{", "）": "（", "】": "【"}, []
    for each in text:
        if each in pairs.values():
            opened.append(each)
        elif each in pairs and (not opened or opened.pop() != pairs[each]):
            return False
    return not opened


def _starts_with_capital(text: str, row: Row) -> bool:
    """Of a script without capitals any letter will do."""
    first = next((each for each in text if each.isalpha()), "")
    return bool(first) and not first.islower()


_CHECKS: dict[str, Callable[[str, Row], bool]] = {
    "not_empty": lambda text, row: bool(text),
    "single_line": lambda text, row: bool(text) and len(text.splitlines()) == 1,
    "ends_with_stop": lambda text, row: text.rstrip(_CLOSING)[-1:] in tuple(_STOPS),
    "starts_with_capital": _starts_with_capital,
    "is_integer": lambda text, row: bool(re.fullmatch(r"[-+]?\d{1,400}", text, re.ASCII)),
    "is_date": _is_date,
    "is_email": lambda text, row: bool(_EMAIL.fullmatch(text)),
    "no_addresses": lambda text, row: not _ADDRESS.search(text),
    "no_html": lambda text, row: not _TAG.search(text),
    "no_markdown": lambda text, row: not _MARKDOWN.search(text),
    "no_question_back": lambda text, row: text.rstrip(_CLOSING)[-1:] not in ("?", "？"),
    "not_the_question": lambda text, row: (
        not row.question.strip() or row.question.strip().casefold() not in text.casefold()
    ),
    "balanced_brackets": _has_balanced_brackets,
    "is_python": _is_python,
}
