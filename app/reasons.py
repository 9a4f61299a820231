"""Why a value was filled in and who says so, in the page's language."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.context import Context

if TYPE_CHECKING:
    from studio.advisor.prefill import Filled

# "KNOWHOW 2 and 8 (A, B)" -> A, B; "ours, measured" -> measured, ours
_NAMED = re.compile(r"\b(?:([A-E])\b(?!['’])|(trl|measured|ours|paper))")
_ORDER = ("A", "B", "C", "D", "E", "measured", "trl", "paper", "ours")


def reason_text(context: Context, filled: "Filled") -> str:
    """Why a value was filled in."""
    return reason_words(context, filled.reason, filled.values)


def reason_words(context: Context, reason: str, values: Mapping[str, Any]) -> str:
    return context.say(f"reasons.{reason}", **values)


def source_text(context: Context, source: str) -> str:
    """The documents behind a value by what they are: "A, D" -> "a parameter guide; notes from practice"."""
    head = source.partition(":")[0].partition(", on ")[0]
    found = {letter or word for letter, word in _NAMED.findall(head)}
    return context.say("common.list_comma").join(context.say(f"sources.{name}") for name in _ORDER if name in found)
