"""One row's JSON text as a value, or the reason why it is none.

    parse_row(b'{"a": 1}')          -> ({"a": 1}, None)
    parse_row(b'{"a": 1')           -> (None, RowFault("json_cut_off", ...))
    parse_row(b'{"a": 1, "a": 2}')  -> (None, RowFault("reading.duplicate_key", ...))

The fast reader answers alone for a good row. Only a row that it refuses, or whose colons do not add up, is read again
by Python's own, slower one, which tells the place. A comma or byte order mark around the value is no fault.
"""

import ast
import json
import re
import warnings
from typing import Any

import msgspec

from studio.workshop.problems import RowFault, shorten
from studio.workshop.reading import limits

_decode = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError, ValueError)
LITERAL_CHARACTERS = 1 << 20
"""Longer rows are not tried as Python."""


def parse_row(text: bytes | str) -> tuple[Any, RowFault | None]:
    """One row's JSON text as a value, or why it is none."""
    try:
        value = _decode(text)
    except RecursionError:
        return None, RowFault("too_deep")
    except UnicodeDecodeError as error:
        return None, RowFault("not_utf8", "", {"byte": f"0x{error.object[error.start]:02X}"})
    except _UNREADABLE as error:
        bare = without_wrapping(text)
        return parse_row(bare) if len(bare) < len(text) else (None, _why_not_json(text, str(error)))
    fault = hidden_fault(text, value)
    return (None, fault) if fault else (value, None)


def hidden_fault(text: bytes | str, value: Any) -> RowFault | None:
    """What the fast reader lets pass: a key that stands twice (its first value would be lost), too many brackets."""
    brackets, colon, escaped = _MARKS[type(text)]
    if sum(map(text.count, brackets)) > limits.MAX_DEPTH and depth_of(value) > limits.MAX_DEPTH:
        return RowFault("too_deep")
    surplus = text.count(colon) - count_keys(value)
    if (not surplus or surplus == text.count(escaped)) and not has_spaced_colon(text):
        return None  # what stands within a string is escaped
    key = repeated_key(text)
    return None if key is None else RowFault("reading.duplicate_key", shorten(key), {"key": shorten(key)})


def has_spaced_colon(text: bytes | str) -> bool:
    """Whether a colon stands apart from its key, so that counting `":` does not count the keys."""
    return _SPACED_COLON[type(text)].search(text) is not None


def count_keys(value: Any) -> int:
    """Keys of all objects within `value`: fewer than the text has if one stands twice."""
    total = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            total += len(item)
            waiting += [inner for inner in item.values() if type(inner) in _CONTAINERS]
        elif type(item) is list:
            waiting += [inner for inner in item if type(inner) in _CONTAINERS]
    return total


_SPACED_COLON = {bytes: re.compile(rb'"[ \t\r\n]+:'), str: re.compile(r'"[ \t\r\n]+:')}
_CONTAINERS = frozenset((dict, list))
_MARKS = {bytes: ((b"{", b"["), b'":', b'\\":'), str: (("{", "["), '":', '\\":')}


def repeated_key(text: bytes | str) -> str | None:
    """The first key that stands twice in one object."""
    found: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(text, object_pairs_hook=keep)
    return found[0] if found else None


def depth_of(value: Any) -> int:
    """How many containers stand within one another, level by level."""
    depth = 0
    level = [value]
    while level := [item for item in level if type(item) in _CONTAINERS]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if type(item) is dict else item)]
    return depth


def without_wrapping(text: bytes | str) -> bytes | str:
    """The value without what lists and joined files leave around it: `{"a": 1},` -> `{"a": 1}`."""
    bare = text[_WRAPPING[type(text)].match(text).end() :].rstrip()
    return bare[:-1] if bare.endswith(_COMMA_BEHIND[type(text)]) else bare


_WRAPPING = {bytes: re.compile(rb"(?:\s|\xef\xbb\xbf)*+"), str: re.compile("[\\s\ufeff]*+")}
_COMMA_BEHIND = {bytes: (b"},", b"],"), str: ("},", "],")}


# -- why a row is no JSON ------------------------------------------------------------------------------------------


def _why_not_json(text: bytes | str, detail: str) -> RowFault:
    """Ask Python's reader, which is slower and tells the place; NaN and lone surrogates it lets pass."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    odd_numbers: list[str] = []
    try:
        value = json.loads(words, parse_constant=lambda name: odd_numbers.append(name) or 0.0)
    except RecursionError:
        return RowFault("too_deep")
    except json.JSONDecodeError as error:
        return _broken_at(words, error)
    except ValueError:
        return RowFault("reading.long_number")
    if odd_numbers:
        return RowFault("odd_number", "", {"value": odd_numbers[0]})
    if _has_lone_surrogate(value):
        return RowFault("lone_surrogate")
    return RowFault("not_json", "", {"position": 1, "near": shorten(words), "detail": detail})


def _broken_at(words: str, error: json.JSONDecodeError) -> RowFault:
    position = error.pos
    place = {"position": position + 1, "near": shorten(words[max(0, position - 12) :][:40])}
    if error.msg.startswith("Invalid control character"):
        return RowFault("reading.control_character", "", place | {"character": f"U+{ord(words[position]):04X}"})
    if error.msg == "Extra data" and words[position] in "{[":
        return RowFault("reading.several_values", "", place)
    if _is_python(words):
        return RowFault("reading.python_literal", "", {"near": shorten(words[:40])})
    if words[position : position + 1] in ("“", "”", "„", "‘", "’", "«", "＂"):
        return RowFault("reading.smart_quotes", "", place)
    if _TRAILING_COMMA.search(words, max(0, position - 64), position + 2):
        return RowFault("reading.trailing_comma", "", place)
    if position >= len(words.rstrip()) or words.count('"') % 2 and not words.rstrip().endswith("}"):
        return RowFault("json_cut_off", "", {"near": "…" * (len(words) > 40) + shorten(words[-40:])})
    return RowFault("not_json", "", place)


_TRAILING_COMMA = re.compile(r",\s*[}\]]")


def _is_python(words: str) -> bool:
    if not ("'" in words or "None" in words or "True" in words or "False" in words):
        return False
    return python_value(words) is not None


def python_value(words: str) -> dict | list | None:
    """The object or list that `words` is when read as a Python literal: `{'a': None}`."""
    if len(words) > LITERAL_CHARACTERS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that Python itself is unsure of
            value = ast.literal_eval(words.strip())
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, Warning):
        return None
    return value if isinstance(value, (dict, list)) else None


def _has_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except RecursionError:
        return False
    return False
