"""Marks as files: to work on them elsewhere, to bring them back, to take them in from another tool.

    {"row": 17, "annotator": "Ann", "rating": "4", "tags": ["polite"], "correction": null, ...}     JSONL, a mark a line
    row,annotator,rating,tags,...                                                                    CSV, tags by "; "

`row` and `annotator` must be there, and something that was said; the rest may be missing. `digest` tells of which state
of the row the mark is; without it the mark is taken to be of the row as it is. A cell that a spreadsheet would run as a
formula gets an apostrophe in front on its way out, and loses it on its way in.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.workshop import formulas
from studio.workshop.labelling.marks import Judgement

COLUMNS = (
    "row",
    "annotator",
    "rating",
    "tags",
    "correction",
    "note",
    "is_flagged",
    "seconds",
    "saved_at",
    "digest",
    "counts",
    "is_decision",
)
JSONL, CSV = "jsonl", "csv"
_BETWEEN_TAGS = "; "
_TRUE = ("true", "1", "yes")


class MarkLine(msgspec.Struct, frozen=True, kw_only=True):
    """One mark of a file."""

    line: int
    row: int
    said: Judgement
    digest: str | None = None
    seconds: float | None = None


def write_marks(marks: Iterable[Any], format: str) -> str:
    """A file's whole text; a mark is anything with the attributes that `COLUMNS` names."""
    lines = [{name: getattr(mark, name) for name in COLUMNS} for mark in marks]
    if format == JSONL:
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    made = io.StringIO(newline="")
    made.write("\ufeff")  # tells spreadsheets that this is UTF-8
    writer = csv.DictWriter(made, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in lines)
    return made.getvalue()


def read_marks(path: Path) -> list[MarkLine]:
    """Every mark of a JSONL file, or of a CSV file if its name says so.

    Raises:
        RefusedInput: no such file, or the first line that is no mark.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise RefusedInput("data.no_such_file", file=str(path)) from None
    return marks_in(text, path.name)


def marks_in(text: str, name: str) -> list[MarkLine]:
    """Every mark of a file's text; decisions in it are left aside, since they name their arbiter's own hour.

    Args:
        name: the file's; CSV if it ends so, else JSONL.

    Raises:
        RefusedInput: the first line that is no mark.
    """
    text = text.removeprefix("\ufeff")
    lines = _csv_lines(text) if name.lower().endswith(".csv") else _json_lines(text)
    return [_mark(number, line) for number, line in lines if not _is_true(line.get("is_decision"))]


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RefusedInput("labels.file_line", line=number)
        yield number, value


def _csv_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for line in reader:
            cells = {name: formulas.restored(cell) or None for name, cell in line.items() if isinstance(cell, str)}
            tags = map(str.strip, (cells.get("tags") or "").split(_BETWEEN_TAGS.strip()))
            yield reader.line_num, cells | {"tags": list(filter(None, tags))}
    except csv.Error:
        raise RefusedInput("labels.file_line", line=reader.line_num) from None


def _mark(number: int, line: Mapping[str, Any]) -> MarkLine:
    try:
        return MarkLine(
            line=number,
            row=int(line["row"]),
            digest=line.get("digest") or None,
            seconds=float(line["seconds"]) if line.get("seconds") is not None else None,
            said=Judgement(
                annotator=_required(line["annotator"]),
                rating=str(line["rating"]) if line.get("rating") is not None else None,
                tags=tuple(map(str, line.get("tags") or ())),
                correction=line.get("correction"),
                note=line.get("note") or "",
                is_flagged=_is_true(line.get("is_flagged")),
            ),
        )
    except (KeyError, TypeError, ValueError):
        raise RefusedInput("labels.file_line", line=number) from None


def _required(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(value)
    return value


def _is_true(value: Any) -> bool:
    return str(value).lower() in _TRUE


def _cell(value: Any) -> str:
    text = _BETWEEN_TAGS.join(value) if isinstance(value, list) else "" if value is None else str(value)
    return formulas.defused(text)
