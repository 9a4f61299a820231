"""Noise inside one text: where it stands and what a mended text has in its place. Plain text in, edits out.

    html("<p>Hi &amp; bye</p>", [])    ->  [(0, 3, ""), (6, 11, "&"), (15, 19, "\n")]
    html("List<int> a < b", [])        ->  []
    control("a\u200bb", [])            ->  [(1, 2, "")]

Each function takes the text and its protected spans (`studio.workshop.texts.spans`) and leaves those alone.
"""

import html as entities
import re
from collections.abc import Callable

import ftfy

from studio.workshop.texts.patterns import EMAIL, URL
from studio.workshop.texts.phrases import phrases
from studio.workshop.texts.spans import Edit, Span, free

_BLOCK = "p|div|li|ul|ol|tr|td|th|table|tbody|thead|h[1-6]|section|article|header|footer|nav|aside|main|blockquote"
_BLOCK += "|pre|figure|figcaption|form|dl|dt|dd|title|head|body|html"
_INLINE = "span|a|b|i|u|s|em|strong|small|sub|sup|font|center|strike|label|button|abbr|cite|code|iframe|video|option"
_VOID = "br|hr|img|input|meta|link|wbr"
_REST_OF_TAG = r"(?P<attributes>\s+[a-z][a-z0-9:-]*\s*=[^<>]*)?\s*/?>"
MAYBE_HTML = (
    rf"(?i)</?(?:{_BLOCK}|{_INLINE}|{_VOID}|script|style|noscript){_REST_OF_TAG}"
    r"|<!--|<!doctype|&(?:[a-z]+|#[0-9]+);"
)
_TAG = re.compile(rf"<(?P<close>/?)(?P<name>{_BLOCK}|{_INLINE}|{_VOID}){_REST_OF_TAG}", re.IGNORECASE)
_OPENER = re.compile(r"<(?P<name>script|style|noscript)\b[^<>]*>|<!--|<!doctype[^<>]*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:nbsp|amp|lt|gt|quot|apos|copy|reg|hellip|mdash|ndash|[lr][sd]quo|middot|bull|#\d{2,6});")
_IS_VOID = re.compile(rf"(?:{_VOID})\Z", re.IGNORECASE)
_IS_BREAK = re.compile(rf"(?:{_BLOCK}|br|hr)\Z", re.IGNORECASE)

MAYBE_CONTROL = (
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u{ad}\u{180e}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{2064}"
    r"\u{2066}-\u{206f}\u{feff}\u{fff9}-\u{fffb}]"
)
_CONTROL = re.compile(
    "\x1b\\[[0-9;?]*[A-Za-z]"
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb]"
)
_DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_JOINER = re.compile("[\u200c\u200d]")
_LATIN_OR_CJK = re.compile("[\\s\x21-\u024f\u2e80-\ud7ff\uff00-\uffef]")

MAYBE_MOJIBAKE = r"[ÂÃâäåæçèéïðÐÑØÙ][\x{80}-\x{bf}‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ€]"

_LINK = re.compile(r"!?\[([^\]\n]{0,200})\]\((?:https?://|www\.)[^)\s]{1,2000}\)", re.IGNORECASE)

LINE_CHARACTERS = 160
_LINE = re.compile(r"[^\n]+(?:\n|\Z)")


def html(text: str, spans: list[Span]) -> list[Edit]:
    """Tags that HTML knows, comments, scripts and entities. `<think>`, `List<int>` and `a < b` are none of them."""
    edits = _whole_elements(text, spans)
    tags = list(free(_TAG, text, spans))
    opened = {found["name"].lower() for found in tags if not found["close"]}
    closed = {found["name"].lower() for found in tags if found["close"]}
    for found in tags:
        name = found["name"].lower()
        if found["attributes"] or _IS_VOID.match(name) or (name in closed and name in opened):
            is_break = _IS_BREAK.match(name) and (found["close"] or _IS_VOID.match(name))
            edits.append((*found.span(), "\n" if is_break else ""))
    edits += [(*found.span(), entities.unescape(found[0])) for found in free(_ENTITY, text, spans)]
    return edits


def _whole_elements(text: str, spans: list[Span]) -> list[Edit]:
    """Scripts, styles, comments and doctypes, with all that is in them.

    The end of each is searched once: a pattern over the whole would read on to the end of the text from every opener.
    """
    edits: list[Edit] = []
    at, unclosed = 0, set()
    for found in free(_OPENER, text, spans):
        closing = f"</{found['name'].lower()}" if found["name"] else "-->" if found[0] == "<!--" else ""
        if found.start() < at or closing in unclosed:
            continue
        end = re.compile(closing, re.IGNORECASE).search(text, found.end())
        if end is None:
            unclosed.add(closing)
            continue
        at = text.find(">", end.start()) + 1 if closing else found.end()
        if at:
            edits.append((found.start(), at, ""))
    return edits


def urls(text: str, spans: list[Span]) -> list[Edit]:
    """Web addresses; of a Markdown link the words stay."""
    links = [(*found.span(), found[1]) for found in free(_LINK, text, spans)]
    taken = sorted(spans + [(start, end) for start, end, _ in links])
    return links + [_without_space(text, found) for found in free(URL, text, taken)]


def emails(text: str, spans: list[Span]) -> list[Edit]:
    return [_without_space(text, found) for found in free(EMAIL, text, spans)]


def control(text: str, spans: list[Span]) -> list[Edit]:
    """Control and invisible characters, but joiners that a script or an emoji needs and its direction marks."""
    edits = [(*found.span(), "") for found in free(_CONTROL, text, spans)]
    if not _RIGHT_TO_LEFT.search(text):
        edits += [(*found.span(), "") for found in free(_DIRECTION, text, spans)]
    for found in free(_JOINER, text, spans):
        before = text[: found.start()][-1:]
        if not before or _LATIN_OR_CJK.match(before):
            edits.append((*found.span(), ""))
    return edits


def mojibake(text: str, spans: list[Span]) -> list[Edit]:
    """Stretches that were decoded wrongly, as `schÃ¶n`, with what they meant."""
    edits, at = [], 0
    for start, end in [*spans, (len(text), len(text))]:
        part = text[at:start]
        mended = ftfy.fix_encoding(part)
        if mended != part:
            edits.append((at, start, mended))
        at = end
    return edits


def boilerplate(text: str, spans: list[Span]) -> list[Edit]:
    """Short lines that hold a phrase of the list `boilerplate`; never all lines of a text."""
    known = phrases("boilerplate", "line")
    lines = [
        found
        for found in free(_LINE, text, spans)
        if len(found[0]) <= LINE_CHARACTERS and any(phrase in found[0].lower() for phrase in known)
    ]
    if sum(len(found[0]) for found in lines) >= len(text.rstrip()):
        return []
    return [(*found.span(), "") for found in lines]


def _without_space(text: str, found: re.Match[str]) -> Edit:
    """The match, with one space beside it, so that no two spaces are left where it stood."""
    start, end = found.span()
    if start and text[start - 1] == " " and (end == len(text) or text[end] in " .,;:!?)\n，。；！？）"):
        start -= 1
    return (start, end, "")


Finder = Callable[[str, list[Span]], list[Edit]]
FINDERS: dict[str, Finder] = {
    "mojibake": mojibake,
    "control": control,
    "html": html,
    "boilerplate": boilerplate,
    "urls": urls,
    "emails": emails,
}
"""In the order in which a text is mended: what is decoded first can be recognised after."""
