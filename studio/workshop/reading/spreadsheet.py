"""XLSX: the first sheet that holds rows, and every other sheet with the same columns after it.

    question | answer | price
    Hi       | Hello  | 3          -> {"question": "Hi", "answer": "Hello", "price": 3}

Numbers stay numbers and dates stay dates, so that conversion reports them where text belongs. Formulas are not
computed: their stored value counts. A sheet with other columns is not read, and a row at the end says so.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.workshop.problems import RowFault, shorten
from studio.workshop.reading import limits
from studio.workshop.reading.source import RawRow, Source
from studio.workshop.reading.streams import DAMAGED, Content, refuse_bomb
from studio.workshop.reading.tables import column_names

_CELL = re.compile(rb'<(?:\w+:)?c\b[^>]*?\br="([A-Z]{1,7})([0-9]{1,10})"')
_COLUMN_COUNT = re.compile(rb'<(?:\w+:)?row\b[^>]*?\br="([0-9]{1,10})"')


def spreadsheet_source(content: Content) -> Source:
    """Raises RefusedInput if it is locked, damaged, or far too large; opening it is left to the reading."""
    return Source(content, "xlsx", content.path.stat().st_size, read_spreadsheet)


def read_spreadsheet(source: Source) -> Iterator[RawRow]:
    import python_calamine

    refused = (python_calamine.CalamineError, OSError, ValueError, RuntimeError, OverflowError, MemoryError)
    with source.content.as_file() as path:
        _refuse_too_large(path, source.name)
        try:
            with python_calamine.CalamineWorkbook.from_path(str(path)) as book:
                yield from _rows_of(book, source)
        except python_calamine.PasswordError as error:
            raise RefusedInput("data.reading.spreadsheet_locked", file=source.name) from error
        except refused as error:
            raise RefusedInput("data.reading.spreadsheet_damaged", file=source.name) from error


def _rows_of(book: Any, source: Source) -> Iterator[RawRow]:
    header: list[str] | None = None
    others: list[str] = []
    number = 0
    for name in book.sheet_names:
        cells = book.get_sheet_by_name(name).iter_rows()
        first = next((row for row in cells if not _is_blank(row)), None)
        if first is None:
            continue
        if header is None:
            header = column_names([str(cell) for cell in first], source.name)
        elif [str(cell).strip() for cell in first if str(cell).strip()] != _named(header):
            others.append(name)
            continue
        source.options.setdefault("sheets", []).append(name)
        for row in cells:
            number += 1
            if _is_blank(row):
                source.blank_lines += 1
                number -= 1
                continue
            yield _row(number, header, row)
    source.skipped += others
    for name in others:
        number += 1
        yield RawRow(number, "", None, RowFault("reading.sheet_not_read", "", {"sheet": shorten(name)}))


def _named(header: list[str]) -> list[str]:
    return [name for index, name in enumerate(header) if name != f"column {index + 1}"]


def _is_blank(row: list[Any]) -> bool:
    return all(cell == "" for cell in row)


def _row(number: int, header: list[str], cells: list[Any]) -> RawRow:
    value = {name: _value(cell) for name, cell in zip(header, cells, strict=False)}
    beyond = {f"column {index + 1}": _value(cell) for index, cell in enumerate(cells) if index >= len(header)}
    beyond = {name: cell for name, cell in beyond.items() if cell != ""}
    raw = msgspec.json.encode(value | beyond, enc_hook=str).decode()
    if beyond:
        count = len(header) + len(beyond)
        return RawRow(number, raw, None, RowFault("csv_columns", "", {"expected": len(header), "count": count}))
    return RawRow(number, raw, value)


def _value(cell: Any) -> Any:
    """A spreadsheet has no whole numbers: 3 is stored as 3.0."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53 else cell


# -- bounds, before anything is unpacked into memory ----------------------------------------------------------------


def _refuse_too_large(path: Path, name: str) -> None:
    """The reader holds a whole rectangle of cells, so two cells far apart would take all memory there is."""
    try:
        with zipfile.ZipFile(path) as book:
            parts = book.infolist()
            size = sum(part.file_size for part in parts)
            refuse_bomb(size, path.stat().st_size, name)
            if size > limits.MAX_SHEET_BYTES:
                raise RefusedInput("data.reading.spreadsheet_too_large", file=name, size=size >> 20)
            for part in parts:
                if part.filename.startswith("xl/worksheets/") and part.filename.endswith(".xml"):
                    _refuse_far_cells(book, part, name)
    except DAMAGED as error:
        raise RefusedInput("data.reading.spreadsheet_damaged", file=name) from error


def _refuse_far_cells(book: zipfile.ZipFile, part: zipfile.ZipInfo, name: str) -> None:
    columns, rows = 1, 1
    kept, read = b"", 0
    with book.open(part) as file:
        while chunk := file.read(limits.CHUNK_BYTES):
            read += len(chunk)
            refuse_bomb(read, part.compress_size, name)
            text = kept + chunk
            for letters, digits in _CELL.findall(text):
                columns = max(columns, _column(letters))
                rows = max(rows, int(digits))
            rows = max([rows, *map(int, _COLUMN_COUNT.findall(text))])
            kept = text[-200:]
    if columns * rows > limits.MAX_CELLS:
        raise RefusedInput("data.reading.spreadsheet_far_cells", file=name, rows=rows, columns=columns)


def _column(letters: bytes) -> int:
    """`A` -> 1, `AB` -> 28."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
