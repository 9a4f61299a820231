"""Numbers in a text, as people write them.

    numbers("It costs $1,234.50 or about 1.2万元")  ->  [Number(1234.5, "$"), Number(12000.0, "元")]
    numbers("3/4 of it, 二十五 rows")               ->  [Number(0.75), Number(25.0)]
    convert(Number(5, "km"), "m")                   ->  5000.0

Groups of three after commas, of four in Chinese; decimals with a point; fractions; 1.5e3; Chinese numerals; k, million,
万, 亿; the units of `templates/rewards/units.yaml`, before the number or behind it.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import yaml

from studio.paths import TEMPLATES

MOST_CHARACTERS = 20_000
"""Of a text; what comes after is not read."""
LARGEST = 10**300
_DIGITS = {
    **{each: place for place, each in enumerate("零一二三四五六七八九")},
    **{"〇": 0, "两": 2, "壹": 1, "贰": 2, "叁": 3, "肆": 4, "伍": 5, "陆": 6, "柒": 7, "捌": 8, "玖": 9},
}
_TENS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_GREAT = {"万": 10_000, "亿": 100_000_000}
NUMERALS = frozenset((*_DIGITS, *_TENS, *_GREAT, "点"))
"""Characters that Chinese numbers are written with."""
_MANY = {**_GREAT, "k": 1e3, "thousand": 1e3, "million": 1e6, "billion": 1e9, "千": 1e3, "百万": 1e6}
_HAN = (
    f"[{''.join(_DIGITS)}{''.join(_TENS)}][{''.join(_DIGITS)}{''.join(_TENS)}{''.join(_GREAT)}]{{0,30}}"
    f"(?:点[{''.join(_DIGITS)}]{{1,30}})?"
)
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d{1,4}(?:,\d{4})+|\d+)(?:\.\d+)?|\.\d+"
_FOUND = re.compile(
    rf"(?P<sign>(?<![\w.)])[-−+负]\s?)?(?:(?P<plain>{_PLAIN})(?:[eE](?P<power>[-+]?\d{{1,3}}))?(?![\d])"
    rf"(?:\s?/\s?(?P<below>\d+(?:\.\d+)?))?|(?P<han>{_HAN}))"
)
_MULTIPLE = re.compile(r"\s?(百万|[万亿千]|k\b|thousand\b|million\b|billion\b)", re.IGNORECASE)
_WORD_BEHIND = re.compile(r"\s?(per cent|°c|[%％‰$€£¥℃]|[a-z]+(?![a-z])|[一-鿿]{1,3})", re.IGNORECASE)
_SIGN_BEFORE = re.compile(r"([$＄€£¥￥])\s?[-−+]?\s?\Z")


@dataclass(frozen=True)
class Number:
    value: float
    unit: str = ""
    """As it stands in units.yaml, lower case; empty where there is none that is known."""


def numbers(text: str) -> list[Number]:
    """Every number of a text, in its order."""
    text = _normal(text[:MOST_CHARACTERS])
    found, at = [], 0
    while match := _FOUND.search(text, at):
        value, at = _value(match), match.end()
        if times := _MULTIPLE.match(text, at):
            value, at = value * _MANY[times[1].lower()], times.end()
        unit, at = _unit(text, match.start(), at)
        if not unit and _is_word(match, text):
            continue
        found.append(Number(-value if (match["sign"] or "").strip() in ("-", "−", "负") else value, unit))
    return found


def convert(number: Number, unit: str) -> float | None:
    """The value in that unit; None where the two measure different things."""
    known = units()
    if number.unit == unit:
        return number.value
    ours, theirs = known.get(number.unit, ("", 1.0)), known.get(unit, ("", 1.0))
    is_share = {ours[0], theirs[0]} == {"share", ""} and not (number.unit and unit)
    if ours[0] != theirs[0] and not is_share:
        return None
    return number.value * ours[1] / theirs[1]


@cache
def units() -> Mapping[str, tuple[str, float]]:
    """{how a unit is written: (what it measures, its factor)}."""
    table = yaml.safe_load((TEMPLATES / "rewards" / "units.yaml").read_text("utf-8"))
    return {
        word: (kind, float(factor))
        for kind, by_factor in table.items()
        for factor, each in by_factor.items()
        for word in each
    }


def _normal(text: str) -> str:
    """Full-width digits and signs as plain ones, ½ as 1/2."""
    return unicodedata.normalize("NFKC", text).replace("\u2044", "/")


def _is_word(match: re.Match[str], text: str) -> bool:
    """一般 and 一起 hold no number: one numeral with another character right behind it."""
    behind = text[match.end() : match.end() + 1]
    return match["han"] is not None and len(match["han"]) == 1 and "\u3400" <= behind <= "\u9fff"


def _value(match: re.Match[str]) -> float:
    if match["han"]:
        return _chinese(match["han"])
    value = float(match["plain"].replace(",", "") + (f"e{match['power']}" if match["power"] else ""))
    below = float(match["below"]) if match["below"] else 1.0
    return value / below if below else value


def _chinese(text: str) -> float:
    """二十五 -> 25, 三万五千 -> 35000, 二〇二四 -> 2024, 三点一四 -> 3.14"""
    whole, _, decimals = text.partition("点")
    if not any(each in _TENS or each in _GREAT for each in whole):
        value = float("".join(str(_DIGITS[each]) for each in whole))
    else:
        value = float(min(_places(whole), LARGEST))
    return value + float("0." + "".join(str(_DIGITS[each]) for each in decimals)) if decimals else value


def _places(text: str) -> int:
    total = section = digit = 0
    for each in text:
        if each in _DIGITS:
            digit = _DIGITS[each]
        elif each in _TENS:
            section, digit = section + (digit or 1) * _TENS[each], 0
        elif _GREAT[each] > 10_000:
            total, section, digit = (total + section + digit or 1) * _GREAT[each], 0, 0
        else:
            total, section, digit = total + (section + digit or 1) * _GREAT[each], 0, 0
    return total + section + digit


def _unit(text: str, start: int, end: int) -> tuple[str, int]:
    """The unit of the number between these places, and where what belongs to it ends."""
    known = units()
    if behind := _WORD_BEHIND.match(text, end):
        word = behind[1].lower()
        for length in range(len(word), 0, -1) if word[0] >= "\u3400" else (len(word),):
            if word[:length] in known:
                return word[:length], behind.start(1) + length
    before = _SIGN_BEFORE.search(text, max(0, start - 4), start)
    return (before[1], end) if before else ("", end)
