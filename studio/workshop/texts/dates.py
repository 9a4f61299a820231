"""Dates and numbers in running text, brought to one form.

    to_iso("on 4 March 2024, i.e. 2024年3月4日", "unknown")  ->  "on 2024-03-04, i.e. 2024-03-04"
    to_iso("on 13/04/2024", "unknown")                       ->  "on 2024-04-13": there is no 13th month
    ambiguous("on 03/04/2024", "unknown")                    ->  ["03/04/2024"]
    with_numbers("1,234,567 of 12,34", "plain")              ->  "1234567 of 12,34"

What is no date of the calendar stays as it is.
"""

import datetime
import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_BEFORE, _AFTER = r"(?<![0-9A-Za-z/.\-_])", r"(?![0-9A-Za-z_/-]|\.[0-9])"
_ISO_LIKE = re.compile(_BEFORE + r"(?P<year>[12]\d{3})([/.-])(?P<month>\d{1,2})\2(?P<day>\d{1,2})" + _AFTER, re.ASCII)
_CHINESE = re.compile(r"(?<![0-9])(?P<year>[12]\d{3}) ?年 ?(?P<month>\d{1,2}) ?月 ?(?P<day>\d{1,2}) ?[日号]", re.ASCII)
_DAY_MONTH = re.compile(
    _BEFORE + r"(?P<day>\d{1,2})(?:st|nd|rd|th)? (?:of )?" + _MONTH + r",? (?P<year>[12]\d{3})" + _AFTER, re.ASCII
)
_MONTH_DAY = re.compile(
    _BEFORE + _MONTH + r" (?P<day>\d{1,2})(?:st|nd|rd|th)?,? (?P<year>[12]\d{3})" + _AFTER, re.ASCII
)
_BARE = re.compile(_BEFORE + r"(?P<first>\d{1,2})([/.-])(?P<second>\d{1,2})\2(?P<year>[12]\d{3})" + _AFTER, re.ASCII)

_GROUPED = re.compile(r"(?<![0-9A-Za-z_.,])[1-9]\d{0,2}(?:,\d{3})+(?![0-9A-Za-z_]|,\d)", re.ASCII)
_PLAIN = re.compile(r"(?<![0-9A-Za-z_.,/#+-])[1-9]\d{4,14}(?![0-9A-Za-z_/-]|,\d)", re.ASCII)


def to_iso(text: str, order: str) -> str:
    """`text` with every date that can mean one day only as YYYY-MM-DD; `order` as `normalise.Options.date_order`."""
    for pattern in (_CHINESE, _ISO_LIKE, _DAY_MONTH, _MONTH_DAY):
        text = pattern.sub(_named, text)
    return _BARE.sub(lambda found: _iso(found["year"], *_month_and_day(found, order)) or found[0], text)


def ambiguous(text: str, order: str) -> list[str]:
    """The dates that can mean two days."""
    return [found[0] for found in _BARE.finditer(text) if _is_ambiguous(found, order)]


def with_numbers(text: str, form: str) -> str:
    """`text` with whole numbers as `form` has them: plain (1234567) or grouped (1,234,567)."""
    if form == "plain":
        return _GROUPED.sub(lambda found: found[0].replace(",", ""), text)
    return _PLAIN.sub(lambda found: f"{int(found[0]):,}", text)


def _named(found: re.Match[str]) -> str:
    month = found["month"]
    number = month if month.isdigit() else str(_MONTHS.index(month[:3].lower()) + 1)
    return _iso(found["year"], number, found["day"]) or found[0]


def _is_ambiguous(found: re.Match[str], order: str) -> bool:
    first, second = int(found["first"]), int(found["second"])
    return order == "unknown" and first != second and 1 <= first <= 12 and 1 <= second <= 12


def _month_and_day(found: re.Match[str], order: str) -> tuple[str, str]:
    first, second = found["first"], found["second"]
    if _is_ambiguous(found, order):
        return "0", "0"
    if int(first) > 12 or (int(second) <= 12 and order == "day_first"):
        return second, first
    return first, second


def _iso(year: str, month: str, day: str) -> str | None:
    try:
        return datetime.date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
