"""What can be wrong with one row: a code, a place, the values that fill its sentence. Words: `problems.<code>`.

A problem never stops an import; it keeps the row out of training and says why. Errors that concern a whole file are
`StudioError`s under `errors.data`.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from studio.messages import has, say

SHORT_CHARACTERS = 60
"""A value in a message is cut to this; the whole row stays in `raw`."""

_UNSEEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")

OPEN, EXCLUDED = "open", "excluded"


class Problem(msgspec.Struct, kw_only=True):
    """One fault of one source row."""

    row: int
    """Number in the source, from 1: the line of a JSONL file, the record of every other."""
    code: str
    field: str = ""
    """Where in the row: `messages[2].content`, counted from 0 as JSON paths are; empty for the whole row."""
    values: dict[str, Any] = {}
    raw: str = ""
    """The source row as JSON text, or the broken text itself."""
    state: str = OPEN
    """open, or excluded: by hand, or by a cleaning step, whose finding `code` then is."""
    offset: int | None = None
    """Byte of the file (inside an archive: of the file there) at which the row begins; None where none is known."""

    def message(self, language: str = "en") -> str:
        """The fault in plain words, behind the file and the line where it comes from an archive of several."""
        values = values_in_words(self.code, self.values, language)
        unit = values.pop("member_unit", None)
        code = (
            f"{self.code}_counted" if self.values.get("count") and has(f"problems.{self.code}_counted") else self.code
        )
        words = say(f"problems.{code}", language, row=self.row, field=self.field, **values)
        return say(f"members.in_{unit}", language, words=words, **values) if unit else words


class RowFault(msgspec.Struct, frozen=True):
    """A fault as row conversion finds it, before anyone knows the row's number."""

    code: str
    field: str = ""
    values: dict[str, Any] = {}

    def at(self, row: int, raw: str, offset: int | None = None) -> Problem:
        return Problem(row=row, code=self.code, field=self.field, values=self.values, raw=raw, offset=offset)


def suggested_fix(problem: Problem) -> str | None:
    """The row's JSON text with this fault mended, where one thing was certainly meant; see `fixes.py`."""
    from studio.workshop.converting.fixes import suggested_fix

    return suggested_fix(problem)


def shorten(value: object) -> str:
    """`value` on one line, short enough for a sentence, what cannot be shown as �."""
    text = " ".join(str(value)[: SHORT_CHARACTERS * 4].split())
    text = _UNSEEN.sub("\ufffd", text)
    return text if len(text) <= SHORT_CHARACTERS else text[: SHORT_CHARACTERS - 1] + "…"


def kind_of(value: object) -> str:
    """The name of a JSON value's type, a key below `problems.types`."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return {str: "text", list: "list", dict: "object", type(None): "nothing"}.get(type(value), "other")


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    matches = difflib.get_close_matches(word.strip().lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unread_keys_text(keys: dict[str, int], language: str = "en") -> str:
    """What turns say that training does not read: `{"id": 7}` -> `Turns also hold “id” (7 rows). ...`"""
    named = (say("data.unread.key", language, key=shorten(key), count=count) for key, count in keys.items())
    return say("data.unread.note", language, keys=say("data.unread.between", language).join(named))


def values_in_words(code: str, values: dict[str, Any], language: str) -> dict[str, Any]:
    """`values` as a sentence of `code` takes them: what the studio has a word for is told in that word.

    {"wanted": "number|nothing"} -> {"wanted": "a number / nothing (null)"}
    """
    if code == "reading.member_not_read":
        return values | {"why": say(f"errors.{values['why']}", language, **values)}
    return {name: _in_words(code, name, value, language) for name, value in values.items()}


def _in_words(code: str, name: str, value: Any, language: str) -> Any:
    if name in ("found", "wanted") and isinstance(value, str):
        return " / ".join(_word(f"problems.types.{kind}", kind, language) for kind in value.split("|"))
    if name in ("value", "usual") and code in ("checks.style.form", "checks.style.closing"):
        return _word(f"problems.{code}s.{value}", value, language)
    return value


def _word(key: str, otherwise: str, language: str) -> str:
    return say(key, language) if has(key) else otherwise
