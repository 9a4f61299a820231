"""Plain text and Markdown, for training on raw text: paragraphs put together into rows of some 4,000 characters.

"One.\\n\\nTwo.\\n" -> {"text": "One.\\n\\nTwo."}

A short file is one row. A longer one is cut between paragraphs only (Markdown: rather before a heading, never behind
one and never inside a code block); text without blank lines is cut at line ends. All lines joined give the file back,
but for blank lines between two rows.
"""

import re
from collections.abc import Iterator

import msgspec

from studio.workshop.problems import RowFault
from studio.workshop.reading import limits
from studio.workshop.reading.source import RawRow, Source, blamed, fault_row

_HEADING = re.compile(rb"#{1,6}\s")
_FENCE = re.compile(rb" {0,3}(```|~~~)")
_Line = tuple[int, bytes]


def read_prose(source: Source) -> Iterator[RawRow]:
    with source.content.open_text() as file:
        pieces = _pieces(_paragraphs(_lines(file, source), source.kind == "markdown"))
        for number, piece in enumerate(pieces, 1):
            position, text = piece[0][0], b"".join(line for _, line in piece).strip(b"\r\n")
            yield _row(number, text, source, file.offset_of(position))


def _row(number: int, text: bytes, source: Source, offset: int) -> RawRow:
    if len(text) > limits.MAX_ROW_BYTES:
        values = {"size": len(text) >> 20, "limit": limits.MAX_ROW_BYTES >> 20}
        return fault_row(number, text, RowFault("too_long", "", values), offset)
    try:
        value = {"text": text.decode().replace("\r\n", "\n")}
    except UnicodeDecodeError as error:
        fault = RowFault("not_utf8", "", {"byte": f"0x{text[error.start]:02X}"})
        return fault_row(number, text, blamed(fault, source), offset)
    return RawRow(number, msgspec.json.encode(value).decode(), value, None, offset)


def _lines(file, source: Source) -> Iterator[_Line]:
    position = 0
    while line := file.readline(limits.MAX_ROW_BYTES + 1):
        yield position, line
        position += len(line)
        source.read_to(position)


def _paragraphs(lines: Iterator[_Line], is_markdown: bool) -> Iterator[list[_Line]]:
    """Runs of lines up to and with the blank ones behind them; one much too long is cut at a line's end."""
    paragraph: list[_Line] = []
    size = 0
    fence = b""
    for position, line in lines:
        is_new = paragraph and not fence and not line.isspace() and paragraph[-1][1].isspace()
        longest = limits.TEXT_ROW_CHARACTERS * (16 if fence else 2)
        if is_new or size and size + len(line) > longest:
            yield paragraph
            paragraph, size = [], 0
        paragraph.append((position, line))
        size += len(line)
        if is_markdown and (mark := _FENCE.match(line)):
            fence = b"" if mark.group(1) == fence else fence or mark.group(1)
    if paragraph:
        yield paragraph


def _pieces(paragraphs: Iterator[list[_Line]]) -> Iterator[list[_Line]]:
    """Paragraphs together until the next would be too much; a heading goes with what follows it."""
    piece: list[_Line] = []
    size = 0
    headings: list[_Line] = []
    for paragraph in paragraphs:
        if all(line.isspace() for _, line in paragraph) and not piece and not headings:
            continue
        length = sum(_characters(line) for _, line in paragraph)
        is_heading = bool(_HEADING.match(paragraph[0][1]))
        is_full = size + length > limits.TEXT_ROW_CHARACTERS or is_heading and size > limits.TEXT_ROW_CHARACTERS // 2
        if piece and is_full and not headings:
            yield piece
            piece, size = [], 0
        piece += paragraph
        size += length
        headings = paragraph if is_heading and len([1 for _, line in paragraph if not line.isspace()]) == 1 else []
    if any(not line.isspace() for _, line in piece):
        yield piece


def _characters(line: bytes) -> int:
    return len(line) if line.isascii() else len(line.decode("utf-8", "replace"))
