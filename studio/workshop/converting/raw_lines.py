"""What decoding a line of JSON does not tell: whether a key stands twice (the decoder keeps its last value).

    has_strings(b'{"a": "x"}', 2)            ->  True
    has_strings(b'{"a": "y", "a": "x"}', 2)  ->  False

Every string, keys among them, stands between two quotes. So a line has as many strings as were decoded if it has twice
as many quotes that no backslash escapes, and more only if a key stands twice: what was said first is lost.
"""

import re
from collections.abc import Iterable
from typing import Any

_escapes = re.compile(rb'\\["\\]').findall
"""Escaped backslashes too: a quote behind one ends its string."""
_escaped = re.compile(r'["\\\x00-\x1f]').search


def are_decodable(names: Iterable[str]) -> bool:
    """Whether typed decoding can take these keys: not those that are written with an escape."""
    return not any(map(_escaped, names))


def has_strings(line: bytes, count: int) -> bool:
    """Whether a line of valid JSON holds no more than the `count` strings that decoding found in it."""
    quotes = line.count(b'"')
    return quotes == 2 * count or quotes - count_escaped_quotes(line) == 2 * count


def count_escaped_quotes(line: bytes) -> int:
    """Quotes within the strings of a line of valid JSON."""
    return _escapes(line).count(b'\\"')


def strings_and_levels(value: Any) -> tuple[int, int]:
    """How many strings a decoded value holds, keys among them, and its depth: `{"a": ["x"]}` -> 2 strings, 3 levels."""
    strings = levels = 0
    level = [value]
    while level:
        levels += 1
        strings += sum(type(item) is str for item in level)
        strings += sum(len(item) for item in level if type(item) is dict)
        level = [inner for item in level if type(item) in _INNER for inner in _INNER[type(item)](item)]
    return strings, levels


_INNER = {dict: dict.values, list: iter}
