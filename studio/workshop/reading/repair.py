"""Proposes how one broken line of JSON was probably meant. Only proposed: a person sees it and takes it over, or not.

    {'a': None}              -> {"a":null}
    {"a": "b",}              -> {"a":"b"}
    {"a": "cut off he        -> {"a":"cut off he"}
    {"a": 1, "a": 2}         -> None: which one is meant?

What stands inside strings is never changed: a proposal that adds, drops or alters a letter, or whose texts do not stand
in the line word for word, is not made. None means: unsure, or nothing to mend.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from studio.workshop.reading.jsontext import parse_row, python_value

MAX_CHARACTERS = 200_000
"""Longer lines are left to their owner: guessing takes time, and nobody could look the proposal over."""
MAX_GUESS_CHARACTERS = 4000
"""The library's guesses take a time that grows with the square of the length."""
MAX_DEPTH = 50

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_PLAIN = re.compile(r'(?:[^\[\]{}"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
_CUT_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\(?:u[0-9a-fA-F]{0,3})?$")
_CURLY = re.compile('[“”„]([^“”„"]*)[“”]')
_PYTHON_STRING = re.compile(r"[\[{,:]\s*'")
_COMMA_TOO_MANY = re.compile(r",(\s*[}\]])")
_MARKS = re.compile(r"[\s{}\[\]:,;\"'“”„‘’`\\\x00-\x1f\ufeff\ufffd]+")
_ODD = {"NaN": "null", "Infinity": "null", "-Infinity": "null", "None": "null", "True": "true", "False": "false"}
_ODD_WORD = re.compile(r"-?Infinity\b|\b(?:NaN|None|True|False)\b")


class _Unsure(ValueError):
    """More than one reading is possible."""


def propose_repair(text: str) -> str | None:
    """The line as valid JSON, all its texts unchanged; None if it needs none or it is not plain what was meant."""
    words = text.lstrip("\ufeff\0 \t\r\n").rstrip("\0\r\n")
    if not words.startswith(("{", "[")) or len(words) > MAX_CHARACTERS or parse_row(text)[1] is None:
        return None
    for read in _WAYS:
        proposal = _tried(read, words)
        if proposal is not None and type(proposal) is (dict if words[0] == "{" else list) and proposal:
            return _as_json(proposal)
    return None


def _tried(read: Callable[[str], Any], words: str) -> Any:
    try:
        return read(words)
    except (ValueError, RecursionError):
        return None


def _as_json(value: Any) -> str | None:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return None
    return text if parse_row(text)[1] is None else None


# -- ways to read it, the surest first -----------------------------------------------------------------------------


def _as_written(words: str) -> Any:
    """JSON but for raw control characters in strings, NaN or Infinity; a key that stands twice is no plain case."""
    return json.loads(words, strict=False, parse_constant=lambda _: None, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _Unsure
    return value


def _as_python(words: str) -> Any:
    value = python_value(words) if _PYTHON_STRING.search(words) else None
    if value is None:
        return None
    for node in ast.walk(ast.parse(words, mode="eval")):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            if len(set(keys)) < len(node.keys):
                raise _Unsure
        elif isinstance(node, (ast.Tuple, ast.Set)):
            raise _Unsure
    return value


def _without_slips(words: str) -> Any:
    """A comma too many, curly quotation marks around strings, words of Python among JSON."""
    return _as_written("".join(_outside_mended(words)))


def _outside_mended(words: str) -> Iterator[str]:
    at = 0
    for match in _STRING.finditer(words):
        yield _mended(words[at : match.start()])
        yield match.group()
        at = match.end()
    yield _mended(words[at:])


def _mended(outside: str) -> str:
    curly = _CURLY.sub(r'"\1"', outside)
    if curly != outside:
        return "".join(_outside_mended(curly))
    outside = _ODD_WORD.sub(lambda match: _ODD[match.group()], outside)
    return _COMMA_TOO_MANY.sub(r"\1", outside)


def _closed(words: str) -> Any:
    """A line that was cut off: its last string and its brackets closed; what has no value yet is not plain."""
    open_brackets: list[str] = []
    at = 0
    while at < len(words):
        at = _PLAIN.match(words, at).end()
        if at == len(words):
            break
        mark = words[at]
        if mark == '"':
            return _as_written(_string_closed(words, at) + _closing(open_brackets))
        if mark in "{[":
            open_brackets.append(mark)
        elif not open_brackets or open_brackets.pop() + mark not in ("{}", "[]"):
            raise _Unsure
        at += 1
    return _as_written(words.rstrip(", \t\r\n") + _closing(open_brackets))


def _string_closed(words: str, start: int) -> str:
    if _CUT_ESCAPE.search(words, start):
        raise _Unsure
    return words + '"'


def _closing(open_brackets: list[str]) -> str:
    return "".join("}" if mark == "{" else "]" for mark in reversed(open_brackets))


def _by_guessing(words: str) -> Any:
    """json_repair's guess, if all that it did was to set marks between texts."""
    if len(words) > MAX_GUESS_CHARACTERS or words.count("{") + words.count("[") > MAX_DEPTH:
        return None
    import json_repair

    try:
        value = json_repair.loads(words, skip_json_loads=True)
    except Exception:  # it guesses at anything, and may fail at anything
        return None
    if not isinstance(value, (dict, list)):
        return None
    made = json.dumps(value, ensure_ascii=False)
    if _letters(_ODD_WORD.sub(lambda match: _ODD[match.group()], words)) != _letters(
        _ODD_WORD.sub(lambda match: _ODD[match.group()], made)
    ):
        return None
    plain = _unescaped(words)
    texts = list(_texts(value))
    is_plain = all(text and text in plain and not {text[0], text[-1]} & _QUOTES for text in texts)
    return value if is_plain else None


def _letters(words: str) -> str:
    """Everything but the marks that a repair may set; escapes as what they stand for."""
    return _MARKS.sub("", _unescaped(words))


_QUOTES = frozenset("\"'“”„‘’`")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


def _unescaped(words: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _ESCAPES.get(match[2], match[2]), words)


def _texts(value: Any) -> Iterator[str]:
    """Every key and every string within `value`."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item


_WAYS = (_as_written, _as_python, _without_slips, _closed, _by_guessing)
