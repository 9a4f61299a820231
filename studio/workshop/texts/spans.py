"""What no cleaning step may touch inside a text: code, `<think>` blocks, a text that is JSON as a whole.

    protected("Run `ls  -l` now")  ->  [(4, 12)]
    outside("Run `ls  -l`  now", lambda part: part.replace("  ", " "))  ->  "Run `ls  -l` now"

A fence that is not closed reaches to the end of the text. Lines that begin with four spaces or a tab are code too, as
Markdown has it.
"""

import re
from collections.abc import Callable, Iterator

import msgspec

Span = tuple[int, int]
Edit = tuple[int, int, str]
"""Start, end, and what comes in place of it."""

_PROTECTED = re.compile(
    r"""
    (?P<fence>`{3,}).*?(?:(?P=fence)|\Z)
    | ^[ ]{0,3}~{3,}.*?(?:^[ ]{0,3}~{3,}|\Z)
    | <think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)
    | ``[^\n]*?``
    | `[^`\n]+`
    | ^(?:[ ]{4}|\t)[^\n]*\S[^\n]*(?:\n(?:[ ]{4}|\t)[^\n]*\S[^\n]*)*
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_MAYBE_PROTECTED = re.compile(r"`|~~~|<think|^(?: {4}|\t)", re.MULTILINE)


def protected(text: str) -> list[Span]:
    """The stretches that stay as they are, in order."""
    if is_json(text):
        return [(0, len(text))]
    if not _MAYBE_PROTECTED.search(text):
        return []
    return [found.span() for found in _PROTECTED.finditer(text)]


def outside(text: str, change: Callable[[str], str]) -> str:
    """`text` with `change` applied to each stretch between the protected ones."""
    spans = protected(text)
    if not spans:
        return change(text)
    parts, at = [], 0
    for start, end in spans:
        parts += [change(text[at:start]), text[start:end]]
        at = end
    return "".join([*parts, change(text[at:])])


def free(pattern: re.Pattern[str], text: str, spans: list[Span]) -> Iterator[re.Match[str]]:
    """The matches of `pattern` that touch no stretch in `spans`, which are in order."""
    left = iter(spans)
    span = next(left, None)
    for found in pattern.finditer(text):
        while span and span[1] <= found.start():
            span = next(left, None)
        if not span or found.end() <= span[0]:
            yield found


def apply(text: str, edits: list[Edit]) -> str:
    """`text` after the edits; of two that overlap the first counts."""
    parts, at = [], 0
    for start, end, new in sorted(edits):
        if start >= at:
            parts += [text[at:start], new]
            at = end
    return "".join([*parts, text[at:]])


def is_json(text: str) -> bool:
    """Is the whole text one JSON object or list?"""
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] not in ("{}", "[]"):
        return False
    try:
        msgspec.json.decode(stripped, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True
