"""`open_source`: recognises a file by its first bytes, its name only besides, and hands it to the right reader.

    chat.jsonl, chat.json.gz, rows.zip, sheet.xlsx, book.md ... -> Source(kind="jsonl", encoding="utf-8", ...)

Reading never fails at a bad row: it yields the row with a `RowFault`. What fails is a file that holds no rows at all,
as a `StudioError`. Not here: what the rows mean (`shapes.py`, `convert.py`).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from studio.errors import RefusedInput
from studio.workshop.reading import archives, limits
from studio.workshop.reading.elements import read_elements
from studio.workshop.reading.encoding import Encoding, detect_encoding, named_encoding, with_mark
from studio.workshop.reading.layout import JSON_SUFFIXES, json_layout
from studio.workshop.reading.lines import read_lines
from studio.workshop.reading.parquet import parquet_source
from studio.workshop.reading.prose import read_prose
from studio.workshop.reading.source import DANGEROUS, RawRow, Source
from studio.workshop.reading.spreadsheet import spreadsheet_source
from studio.workshop.reading.streams import Content
from studio.workshop.reading.tables import find_delimiter, read_table

_BLANK = b"\xef\xbb\xbf \t\r\n\0"
_TABLES = (".csv", ".tsv")
_PROSE = {".txt": "text", ".md": "markdown", ".markdown": "markdown"}
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0", "xls"),
    (b"%PDF", "pdf"),
    (b"7z\xbc\xaf", "7z"),
    (b"Rar!", "rar"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"PARE", "parquet"),
    (b"\x80\x04\x95", "pickle"),
)
PLAIN_SEARCH_BYTES = 64 << 20
"""How far a text that begins in ASCII is searched for the first letter that tells its encoding."""


def open_source(path: Path, *, original_name: str | None = None, encoding: str | None = None) -> Source:
    """The file as a source of numbered rows, in bounded memory.

    Args:
        encoding: what a person says that the text is in; None: found out. What is no text takes no notice.

    Raises:
        RefusedInput: missing, empty, no text, of an unknown kind, or an archive that is not opened; no such encoding.
    """
    name = original_name or path.name
    known = named_encoding(encoding) if encoding else None
    head = _head(Content(path, name))
    if head.startswith(b"\x1f\x8b"):
        return _from_gzip(archives.gzip_content(path, name), known)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        found = archives.members_of(path, name)
        return spreadsheet_source(Content(path, name)) if found is None else _from_zip(*found, known)
    return _plain(Content(path, name), head, Path(name).suffix.lower(), known)


def _head(content: Content) -> bytes:
    try:
        with content.open() as file:
            return file.read(limits.SNIFF_BYTES)
    except OSError as error:
        raise RefusedInput("data.no_such_file", file=content.name) from error


# -- archives ------------------------------------------------------------------------------------------------------


def _from_gzip(content: Content, known: Encoding | None) -> Source:
    head = _head(content)
    inner = Path(content.name).with_suffix("") if content.name.lower().endswith(".gz") else Path(content.name)
    suffix = inner.suffix.lower()
    if not (head.startswith(b"PK\x03\x04") and suffix in (".xlsx", ".xlsm")):
        archives.refuse_nested(head, content.name)
    source = _plain(content, head, suffix, known)
    source.members.append(inner.name)
    return source


def _from_zip(contents: list[Content], skipped: list[str], known: Encoding | None) -> Source:
    if len(contents) == 1:
        source = _member(contents[0], known)
    else:
        parts = [_part(content, known) for content in contents]
        first = next((part for part in parts if part.refusal is None), None)
        if first is None:
            raise parts[0].refusal
        content = replace(first.content, name=first.content.path.name)
        source = Source(content, first.kind, sum(part.total for part in parts), _read_parts, unit=first.unit)
        source.parts, source.encoding, source.confidence = parts, first.encoding, first.confidence
    source.members = [content.member for content in contents]
    source.skipped = skipped
    return source


def _part(content: Content, known: Encoding | None) -> Source:
    """One of several files; the others are read even if this one cannot be."""
    try:
        return _member(content, known)
    except RefusedInput as error:
        if error.code in DANGEROUS:
            raise
        return Source(content, "", 0, lambda source: iter(()), refusal=error)


def _member(content: Content, known: Encoding | None) -> Source:
    head = _head(content)
    suffix = PurePosixPath(content.member).suffix.lower()
    if suffix not in (".xlsx", ".xlsm"):
        archives.refuse_nested(head, content.name)
    return _plain(content, head, suffix, known)


def _read_parts(source: Source) -> Iterator[RawRow]:
    for part, shift in source.in_turn():
        for row in source.readable(part, part.rows()):
            part.last_row = row.row
            yield row._replace(row=shift + row.row, within=source.within(shift + row.row))
        if unread := source.end_part(part, shift):
            yield unread


# -- one file ------------------------------------------------------------------------------------------------------


def _plain(content: Content, head: bytes, suffix: str, known: Encoding | None) -> Source:
    if not head.strip(_BLANK):
        _refuse_if_blank(content)
    if head.startswith(b"PAR1"):
        return parquet_source(content)
    if head.startswith(b"PK\x03\x04"):
        return spreadsheet_source(content)
    _refuse_foreign(content.name, head, suffix)
    is_whole = len(head) < limits.SNIFF_BYTES
    if known:
        encoding = with_mark(known, head)
    else:
        encoding = detect_encoding(head if is_whole else _telling(content, head), is_whole=is_whole)
    if encoding is None:
        raise RefusedInput("data.not_text", file=content.name)
    return _text(content, head, encoding, suffix)


def _text(content: Content, head: bytes, encoding: Encoding, suffix: str) -> Source:
    is_cr = encoding.name not in ("utf-16-le", "utf-16-be") and b"\r" in head and b"\n" not in head
    content = replace(content, encoding=encoding.name, mark_bytes=encoding.mark_bytes, is_cr=is_cr)
    with content.open_text() as file:
        text = file.read(limits.SNIFF_BYTES)
    if b"\r" in text and b"\n" not in text:
        content = replace(content, is_cr=True)
        text = text.replace(b"\r", b"\n")
    is_whole = len(text) < limits.SNIFF_BYTES
    source = Source(content, "", _size(content), read_lines, encoding=encoding.name, confidence=encoding.confidence)
    layout = json_layout(text.lstrip(), suffix, is_whole=is_whole)
    if layout == "lines":
        source.kind = "jsonl"
    elif layout:
        source.kind, source.reader, source.options = "json", read_elements, {"layout": layout}
    elif suffix in _TABLES:
        source.kind, source.reader = "csv", read_table
        source.options = {"delimiter": find_delimiter(text, suffix)}
    elif suffix in _PROSE:
        source.kind, source.reader = _PROSE[suffix], read_prose
    else:
        _refuse_unknown(content.name, text, suffix)
    return source


def _size(content: Content) -> int:
    """How many bytes there are to read, as far as an archive tells."""
    size = content.path.stat().st_size
    if content.container == "zip":
        return archives.unpacked_bytes(content)
    if content.container == "gz":  # its last four bytes, right for what is smaller than 4 GiB
        with content.path.open("rb") as file:
            file.seek(-4, 2)
            return max(int.from_bytes(file.read(4), "little"), size)
    return size


def _telling(content: Content, head: bytes) -> bytes:
    """The head, or where that is pure ASCII, the first stretch of the file that is not."""
    if not head.isascii() or b"\0" in head or b"\x1b" in head:
        return head
    with content.open() as file:
        searched = 0
        while searched < PLAIN_SEARCH_BYTES and (chunk := file.read(limits.CHUNK_BYTES)):
            searched += len(chunk)
            if not chunk.isascii():
                lines = chunk + file.readline(limits.SNIFF_BYTES)
                return b"\n".join(line for line in lines.split(b"\n") if not line.isascii())
    return head


def _refuse_if_blank(content: Content) -> None:
    """Only blank bytes at the front: blank throughout, or does text follow?"""
    size = 0
    with content.open() as file:
        while chunk := file.read(limits.CHUNK_BYTES):
            size += len(chunk)
            if chunk.strip(_BLANK):
                return
    raise RefusedInput("data.empty_file", file=content.name, size=size)


def _refuse_foreign(name: str, head: bytes, suffix: str) -> None:
    if suffix == ".parquet" and not head.startswith(b"PARE"):
        raise RefusedInput("data.not_parquet", file=name)
    if suffix in (".xlsx", ".xlsm") and head.startswith(b"\xd0\xcf\x11\xe0"):  # a locked one is wrapped in the old form
        raise RefusedInput("data.reading.spreadsheet_locked", file=name)
    for magic, kind in _FOREIGN:
        if head.startswith(magic):
            raise RefusedInput("data.unsupported_format", file=name, suffix=suffix or kind)


def _refuse_unknown(name: str, text: bytes, suffix: str) -> None:
    from studio.workshop.problems import shorten

    if suffix not in JSON_SUFFIXES:
        raise RefusedInput("data.unsupported_format", file=name, suffix=suffix)
    line = text.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace")
    raise RefusedInput("data.not_json", file=name, line=shorten(line))
