"""Streaming readers: a file of any size becomes numbered rows, one at a time, in bounded memory.

`open_source(path, original_name=...)` looks at the first bytes and yields the right reader. Reading never fails at a
bad row: it yields the row with a `RowFault`. What fails is a file that holds no rows at all, as a `StudioError`. Not
here: what the rows mean (`shapes.py`, `convert.py`), other encodings than UTF-8, archives and spreadsheets.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from studio.errors import RefusedInput
from studio.workshop.problems import SHORT_CHARACTERS, RowFault, shorten

MAX_ROW_BYTES = 32 << 20
"""A row longer than this is reported instead of read: it keeps memory bounded, and no conversation is that long."""
RAW_CHARACTERS_OF_LONG_ROW = 2000
CHUNK_BYTES = 1 << 20
SNIFF_BYTES = 1 << 18
PARQUET_BATCH_ROWS = 512
BOM = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder().decode


class RawRow(NamedTuple):
    """One row of the source before anyone asks what it means."""

    row: int
    raw: str
    value: Any
    fault: RowFault | None = None


@dataclass
class Source:
    """An opened file: what it is, and its rows. `done` of `total` tells how far the reading is."""

    path: Path
    name: str
    """The name the person knows the file by."""
    kind: str
    """jsonl, json, csv or parquet."""
    total: int
    """Bytes, or rows for Parquet."""
    unit: str = "bytes"
    done: int = 0
    blank_lines: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> Iterator[RawRow]:
        """Every row in order. Call it once a source."""
        return _READERS[self.kind](self)


def open_source(path: Path, *, original_name: str | None = None) -> Source:
    """Recognise the file by its first bytes, its name only besides.

    Raises:
        RefusedInput: missing, empty, not UTF-8, of an unknown kind, or not what its bytes claim.
    """
    name = original_name or path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(SNIFF_BYTES)
    except OSError as error:
        raise RefusedInput("data.no_such_file", file=name) from error
    if not head.strip(BOM + b" \t\r\n\0"):
        _refuse_if_blank(path, name, size)
    suffix = Path(name).suffix.lower()
    if head.startswith(b"PAR1"):
        return _parquet_source(path, name)
    _refuse_foreign_bytes(head, name, suffix)
    if suffix in (".csv", ".tsv"):
        return Source(path, name, "csv", size, options={"delimiter": _delimiter(head, suffix)})
    if suffix not in (".json", ".jsonl", ".ndjson", ".txt", ""):
        raise RefusedInput("data.unsupported_format", file=name, suffix=suffix)
    return _json_source(path, name, size, head.removeprefix(BOM).lstrip())


def parse_row(text: bytes | str) -> tuple[Any, RowFault | None]:
    """One row's JSON text as a value, or the reason why it is none.

    `b'{"a": 1'` -> `(None, RowFault("json_cut_off", ...))`
    """
    try:
        return _decode(text), None
    except UnicodeDecodeError as error:
        return None, RowFault("not_utf8", "", {"byte": f"0x{error.object[error.start]:02X}"})
    except RecursionError:
        return None, RowFault("too_deep")
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        return None, _why_not_json(text, str(error))


# -- what a file is ------------------------------------------------------------------------------------------------


def _refuse_if_blank(path: Path, name: str, size: int) -> None:
    """Only blank bytes at the front: blank throughout, or does text follow?"""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if chunk.strip(BOM + b" \t\r\n\0"):
                return
    raise RefusedInput("data.empty_file", file=name, size=size)


_ARCHIVES = ((b"PK\x03\x04", "zip"), (b"\x1f\x8b", "gzip"), (b"\xd0\xcf\x11\xe0", "xls"), (b"%PDF", "pdf"))


def _refuse_foreign_bytes(head: bytes, name: str, suffix: str) -> None:
    if suffix == ".parquet":
        raise RefusedInput("data.not_parquet", file=name)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RefusedInput("data.encoding", file=name, encoding="UTF-16")
    for magic, kind in _ARCHIVES:
        if head.startswith(magic):
            raise RefusedInput("data.unsupported_format", file=name, suffix=suffix or kind)
    start = head[:4096]
    if start.count(0) * 20 > len(start):  # a stray NUL is a fault of its row, many are no text
        raise RefusedInput("data.not_text", file=name)


def _delimiter(head: bytes, suffix: str) -> str:
    """The separator that the header line uses most."""
    if suffix == ".tsv":
        return "\t"
    header = head.removeprefix(BOM).split(b"\n", 1)[0].decode("utf-8", "replace")
    return max(",;\t", key=header.count)


def _json_source(path: Path, name: str, size: int, head: bytes) -> Source:
    suffix = Path(name).suffix.lower()
    first_line, _, rest = head.partition(b"\n")
    first, fault = parse_row(first_line)
    lines = Source(path, name, "jsonl", size)
    if head.startswith(b"[") and (fault or not rest.strip() or any(isinstance(item, dict) for item in first)):
        return Source(path, name, "json", size, options={"layout": "array"})
    if fault is None and (rest.strip() or suffix in (".jsonl", ".ndjson")):
        return lines  # a whole value on the first line, and more below or nothing else expected
    if head.startswith(b"{") and (layout := _object_layout(head, first_line)):
        return Source(path, name, "json", size, options={"layout": layout})
    faults = [parse_row(line)[1] for line in _whole_lines(head, size)]
    if all(faults):
        if any(each.code == "not_utf8" for each in faults):
            raise RefusedInput("data.not_utf8", file=name)
        raise RefusedInput("data.not_json", file=name, line=shorten(first_line.decode("utf-8", "replace")))
    return lines


def _whole_lines(head: bytes, size: int) -> list[bytes]:
    """The lines of the sniffed bytes; a line that the sniffing cut is given the benefit of the doubt."""
    lines = head.split(b"\n")
    cut = lines.pop() if size > SNIFF_BYTES else b""
    return [*(line for line in lines if line.strip()), *([b"{}"] if cut.lstrip().startswith(b"{") else [])]


_FIRST_KEY = re.compile(rb'\{\s*"((?:[^"\\]|\\.)*)"\s*:\s*(.)', re.DOTALL)
_ROW_KEYS = frozenset({b"messages", b"conversations", b"conversation", b"instruction", b"prompt", b"input", b"tools"})


def _object_layout(head: bytes, first_line: bytes) -> str | None:
    """How a file that begins with an object holds rows.

    `{"17": {...}}` -> keyed; `{"data": [{...}]}` -> wrapped; pretty-printed rows -> values; else None: lines.
    """
    match = _FIRST_KEY.match(head)
    if not match:
        return None
    key, opening = match.group(1).lower(), match.group(2)
    if key not in _ROW_KEYS and opening == b"{":
        return "keyed"
    if key not in _ROW_KEYS and opening == b"[" and head[match.end() :].lstrip().startswith(b"{"):
        return "wrapped"
    # A line that stops inside the object, with nothing but an opening on it, is a pretty-printed row.
    return "values" if first_line.rstrip() == b"{" else None


# -- JSON lines ----------------------------------------------------------------------------------------------------


def _jsonl_rows(source: Source) -> Iterator[RawRow]:
    with source.path.open("rb") as file:
        file.seek(_bom_length(file))
        number = 0
        while line := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            source.done += len(line)
            if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
                yield _long_row(number, line, source, file)
            elif text := line.strip(b" \t\r\n"):
                yield _row(number, text)
            else:
                source.blank_lines += 1


def _row(number: int, text: bytes) -> RawRow:
    value, fault = parse_row(text)
    return RawRow(number, text.decode("utf-8", "replace"), value, fault)


def _long_row(number: int, line: bytes, source: Source, file: io.BufferedReader) -> RawRow:
    """Report a line that is too long, and step over the rest of it."""
    size = len(line)
    while part := file.readline(CHUNK_BYTES):
        size += len(part)
        if part.endswith(b"\n"):
            break
    source.done += size - len(line)
    return _fault_row(number, line, RowFault("too_long", "", {"size": size >> 20, "limit": MAX_ROW_BYTES >> 20}))


def _fault_row(number: int, start: bytes, fault: RowFault) -> RawRow:
    return RawRow(number, _start_of(start, RAW_CHARACTERS_OF_LONG_ROW), None, fault)


def _start_of(data: bytes, characters: int = SHORT_CHARACTERS) -> str:
    return data[: characters * 4].decode("utf-8", "replace")[:characters]


def _bom_length(file: io.BufferedReader) -> int:
    return len(BOM) if file.read(len(BOM)) == BOM else 0


# -- JSON arrays and objects, element by element -------------------------------------------------------------------

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}"]', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s\[{\"]+")
_BETWEEN = re.compile(rb"[\s,]*")
_KEY = re.compile(rb'\s*"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*:\s*', re.DOTALL)
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")


class _Elements:
    """The elements of a JSON array, object or sequence of values, found by brackets and strings alone.

    Only one element is in memory at a time, a broken one does not hide those after it, and the source text is kept.
    """

    def __init__(self, source: Source, file: io.BufferedReader) -> None:
        self.source = source
        self._file = file
        self._data = b""
        self._at = 0
        self._ended = False

    def rows(self, layout: str) -> Iterator[RawRow]:
        self._enter(layout)
        number = 0
        while self._next_element(keyed=layout == "keyed"):
            number += 1
            end = self._element_end()
            while end is None and not self._ended and len(self._data) - self._at <= MAX_ROW_BYTES:
                self._more()
                end = self._element_end()
            if end is None:
                yield self._unfinished(number)
                return
            yield _row(number, self._data[self._at : end])
            self._at = end
        yield from self._left_over(layout, number + 1)

    def _enter(self, layout: str) -> None:
        """Step over the opening brackets in front of the first element."""
        self._more()
        if layout == "values":
            return
        self._at = re.compile(rb"\s*[\[{]").match(self._data, self._at).end()
        if layout == "wrapped":
            self._at = _KEY.match(self._data, self._at).end() + 1

    def _more(self) -> None:
        """Drop what was read, and read at least as much as is left: a long element is scanned few times."""
        rest = self._data[self._at :]
        fresh = self._file.read(max(CHUNK_BYTES, len(rest)))
        self._data, self._at, self._ended = rest + fresh, 0, not fresh
        self.source.done += len(fresh)

    def _next_element(self, *, keyed: bool) -> bool:
        """Move to the first byte of the next element; False at the end of the container."""
        while True:
            start = _BETWEEN.match(self._data, self._at).end()
            key = _KEY.match(self._data, start) if keyed else None
            at = key.end() if key else start
            # A key may be cut by the end of what was read; one that is still none after a megabyte is none.
            settled = not keyed or key or self._ended or len(self._data) - start > CHUNK_BYTES
            if at < len(self._data) and (settled or self._data[start] in _CLOSING):
                self._at = at
                return self._data[at] not in _CLOSING
            if self._ended:
                return False
            self._at = start
            self._more()

    def _element_end(self) -> int | None:
        """Where the element at hand ends; None if more must be read to know."""
        data, start = self._data, self._at
        if data[start] == ord('"'):
            match = _STRING.match(data, start)
            return match.end() if match else None
        if data[start] not in _OPENING:
            match = _SCALAR.match(data, start)
            end = match.end() if match else start + 1
            return end if end < len(data) or self._ended else None
        return self._container_end(data, start)

    @staticmethod
    def _container_end(data: bytes, start: int) -> int | None:
        depth = 0
        for token in _TOKEN.finditer(data, start):
            text = token.group()
            if text in (b"{", b"["):
                depth += 1
            elif text in (b"}", b"]"):
                depth -= 1
                if depth == 0:
                    return token.end()
            elif text == b'"':  # a string that does not end in what was read
                return None
        return None

    def _unfinished(self, number: int) -> RawRow:
        """The file, or our patience, ends inside this element."""
        rest = self._data[self._at :]
        if len(rest) > MAX_ROW_BYTES:
            return _fault_row(number, rest, RowFault("too_long_rest", "", {"limit": MAX_ROW_BYTES >> 20}))
        return _fault_row(number, rest, RowFault("array_cut_off", "", {"near": _start_of(rest)}))

    def _left_over(self, layout: str, number: int) -> Iterator[RawRow]:
        """What stands behind the last element: nothing, or text that would be lost without a word."""
        rest = self._data[self._at :]
        if layout != "values":
            if not rest.strip():
                yield _fault_row(number, rest, RowFault("array_not_closed"))
                return
            rest = rest[1:]  # its closing bracket
        outside = b"}" if layout == "wrapped" else b""
        while not rest.strip() and not self._ended:
            self._at = len(self._data)
            self._more()
            rest = self._data
        if rest.strip(b" \t\r\n" + outside):
            yield _fault_row(number, rest, RowFault("text_after_end", "", {"near": _start_of(rest.strip())}))


def _json_rows(source: Source) -> Iterator[RawRow]:
    with source.path.open("rb") as file:
        file.seek(_bom_length(file))
        yield from _Elements(source, file).rows(source.options["layout"])


# -- CSV -----------------------------------------------------------------------------------------------------------


def _csv_rows(source: Source) -> Iterator[RawRow]:
    csv.field_size_limit(MAX_ROW_BYTES)
    # Bytes that are no UTF-8 come through as surrogates, so that one bad cell is one bad row.
    with source.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(_counted(file, source), delimiter=source.options["delimiter"])
        header = _csv_header(reader, source)
        number = 0
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield RawRow(number, "", None, RowFault("csv_quote", "", {"line": reader.line_num}))
                continue
            if not any(cells):
                source.blank_lines += 1
                number -= 1
                continue
            yield _csv_row(number, header, cells)


def _counted(file: io.TextIOWrapper, source: Source) -> Iterator[str]:
    for line in file:
        source.done += len(line) if line.isascii() else len(line.encode("utf-8", "surrogateescape"))
        yield line


def _csv_header(reader: Iterator[list[str]], source: Source) -> list[str]:
    try:
        header = [name.strip() for name in next(reader)]
    except (csv.Error, StopIteration) as error:
        raise RefusedInput("data.csv_header", file=source.name) from error
    if len(set(header)) < len(header) or not all(header):
        raise RefusedInput("data.csv_header", file=source.name)
    return header


def _csv_row(number: int, header: list[str], cells: list[str]) -> RawRow:
    value = dict(zip(header, cells, strict=False))
    fault = None
    if len(cells) != len(header):
        value |= {f"column {index + 1}": cell for index, cell in enumerate(cells) if index >= len(header)}
        fault = RowFault("csv_columns", "", {"expected": len(header), "count": len(cells)})
    try:
        return RawRow(number, msgspec.json.encode(value).decode(), None if fault else value, fault)
    except UnicodeEncodeError:
        bad = next(letter for cell in cells for letter in cell if "\udc80" <= letter <= "\udcff")
        raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return RawRow(number, raw, None, RowFault("not_utf8", "", {"byte": f"0x{ord(bad) - 0xDC00:02X}"}))


# -- Parquet -------------------------------------------------------------------------------------------------------


def _parquet_source(path: Path, name: str) -> Source:
    import pyarrow.parquet
    from pyarrow import ArrowException

    try:
        total = pyarrow.parquet.read_metadata(path).num_rows
    except (ArrowException, OSError) as error:
        raise RefusedInput("data.not_parquet", file=name) from error
    if not total:
        raise RefusedInput("data.empty_file", file=name, size=path.stat().st_size)
    return Source(path, name, "parquet", total, unit="rows")


def _parquet_rows(source: Source) -> Iterator[RawRow]:
    import pyarrow.parquet
    from pyarrow import ArrowException

    with pyarrow.parquet.ParquetFile(source.path) as file:
        try:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, use_threads=False):
                for value in batch.to_pylist():
                    source.done += 1
                    raw = msgspec.json.encode(value, enc_hook=repr).decode()
                    yield RawRow(source.done, raw, value)
        except (ArrowException, OSError, UnicodeDecodeError) as error:
            raise RefusedInput("data.parquet_damaged", file=source.name, row=source.done + 1) from error


_READERS = {"jsonl": _jsonl_rows, "json": _json_rows, "csv": _csv_rows, "parquet": _parquet_rows}


# -- why a row is no JSON ------------------------------------------------------------------------------------------


def _why_not_json(text: bytes | str, detail: str) -> RowFault:
    """Ask Python's reader, which is slower and tells the place; NaN and lone surrogates it lets pass."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    odd_numbers: list[str] = []
    try:
        value = json.loads(words, parse_constant=lambda name: odd_numbers.append(name) or 0.0)
    except RecursionError:
        return RowFault("too_deep")
    except ValueError as error:
        position = getattr(error, "pos", len(words))
        return _broken_at(words, position)
    if odd_numbers:
        return RowFault("odd_number", "", {"value": odd_numbers[0]})
    if _has_lone_surrogate(value):
        return RowFault("lone_surrogate")
    return RowFault("not_json", "", {"position": 1, "near": shorten(words), "detail": detail})


def _broken_at(words: str, position: int) -> RowFault:
    if position >= len(words.rstrip()) or words.count('"', 0, len(words)) % 2 and not words.rstrip().endswith("}"):
        return RowFault("json_cut_off", "", {"near": "…" * (len(words) > 40) + shorten(words[-40:])})
    return RowFault("not_json", "", {"position": position + 1, "near": shorten(words[max(0, position - 12) :][:40])})


def _has_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
