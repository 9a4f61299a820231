"""How a text holds rows as JSON: a value a line, an array, an object keyed by id, rows over several lines, or not.

`{"a": 1}\\n{"a": 2}` -> lines;  `[{"a": 1}]` -> array;  `{"17": {...}}` -> keyed;  `{"data": [{...}]}` -> wrapped;
`{\\n  "a": 1\\n}` and `{"a": 1}{"a": 2}` -> values
"""

import re

from studio.workshop.reading.jsontext import parse_row

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson", "")
_LINE_SUFFIXES = (".jsonl", ".ndjson")
_FIRST_KEY = re.compile(rb'\{\s*"((?:[^"\\]|\\.)*)"\s*:\s*(.)', re.DOTALL)
_ROW_KEYS = frozenset({b"messages", b"conversations", b"conversation", b"instruction", b"prompt", b"input", b"tools"})
_MOST_LINES = 100
_NOT_JSON_AT_ALL = ("not_json", "not_utf8", "reading.bad_byte")


def json_layout(text: bytes, suffix: str, *, is_whole: bool) -> str | None:
    """The layout of what begins with `text`, its leading blanks taken off; None if it is no JSON.

    Under a name that promises something else (.csv, .txt), it must begin like rows of JSON beyond doubt.
    """
    first_line, _, rest = text.partition(b"\n")
    value, fault = parse_row(first_line)
    if suffix not in JSON_SUFFIXES:
        is_rows = isinstance(value, dict) or re.match(rb"\[\s*\{\s*\"", text)
        return _layout(text, first_line, rest, ".json", is_whole) if is_rows else None
    if fault and fault.code == "reading.several_values":
        return "values"
    return _layout(text, first_line, rest, suffix, is_whole)


def _layout(text: bytes, first_line: bytes, rest: bytes, suffix: str, is_whole: bool) -> str | None:
    first, fault = parse_row(first_line)
    has_more = bool(rest.strip())
    if text.startswith(b"["):
        is_rows = fault is None and has_more and rest.lstrip().startswith(b"[")
        is_array = fault or not has_more or any(isinstance(item, dict) for item in first)
        return "lines" if is_rows or not is_array else "array"
    if fault is None and (has_more or suffix in _LINE_SUFFIXES):
        return "lines"  # a whole value on the first line, and more below or nothing else expected
    if text.startswith(b"{") and (layout := _object_layout(text, first_line)):
        return layout
    faults = [parse_row(line)[1] for line in _whole_lines(text, is_whole)[:_MOST_LINES]]
    return None if all(each and each.code in _NOT_JSON_AT_ALL for each in faults) else "lines"


def _whole_lines(text: bytes, is_whole: bool) -> list[bytes]:
    """The lines of the sniffed bytes; a line that the sniffing cut is given the benefit of the doubt."""
    lines = text.split(b"\n")
    cut = b"" if is_whole else lines.pop()
    return [*(line for line in lines if line.strip()), *([b"{}"] if cut.lstrip().startswith(b"{") else [])]


def _object_layout(text: bytes, first_line: bytes) -> str | None:
    """How a file that begins with an object holds rows; None: as lines, or not at all."""
    match = _FIRST_KEY.match(text)
    if not match:
        return None
    key, opening = match.group(1).lower(), match.group(2)
    if key not in _ROW_KEYS and opening == b"{":
        return "keyed"
    if key not in _ROW_KEYS and opening == b"[" and text[match.end() :].lstrip().startswith(b"{"):
        return "wrapped"
    # A line that stops inside the object, with nothing but an opening on it, is a pretty-printed row.
    return "values" if first_line.rstrip() == b"{" else None
