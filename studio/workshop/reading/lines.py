"""JSON lines: one row a line, numbered as an editor numbers them; blank lines are counted, too long ones reported.

`{"a": 1}\\n\\n{"a": 2}` -> rows 1 and 3, one blank line
"""

from collections.abc import Iterator
from functools import partial

from studio.workshop.problems import RowFault
from studio.workshop.reading import limits
from studio.workshop.reading.jsontext import parse_row, without_wrapping
from studio.workshop.reading.source import RawRow, Source, blamed, fault_row

_BLANK = b" \t\r\n"


def read_lines(source: Source) -> Iterator[RawRow]:
    for row, offset, line in iterate_lines(source):
        yield line_row(source, row, offset, line)


def iterate_lines(source: Source) -> Iterator[tuple[int, int, bytes]]:
    """Row number, byte offset and line; see `Source.lines`."""
    if source.parts:
        yield from _lines_of_parts(source)
        return
    limit = limits.MAX_ROW_BYTES
    with source.content.open_text() as file:
        is_plain = source.content.is_utf8
        position = 0
        mark = source.content.mark_bytes
        for number, line in enumerate(iter(partial(file.readline, limit + 1), b""), 1):
            offset = position + mark if is_plain else file.offset_of(position)
            start = position
            position += len(line)
            if len(line) > limit and line[-1:] != b"\n":
                position += _step_over(file, position)
                source.long_lines[number] = position - start
            source.read_to(offset)
            if line.isspace():
                source.blank_lines += 1
            else:
                yield number, offset, line
    source.done = source.total


def _step_over(file, position: int) -> int:
    """Read to the end of a line that is too long; how many bytes that were."""
    size = 0
    while part := file.readline(limits.CHUNK_BYTES):
        size += len(part)
        file.offset_of(position + size)  # lets go of the text kept for it
        if part.endswith(b"\n"):
            break
    return size


def _lines_of_parts(source: Source) -> Iterator[tuple[int, int, bytes]]:
    for part, shift in source.in_turn():
        for row, offset, line in source.readable(part, iterate_lines(part) if part.kind else iter(())):
            part.last_row = row
            source.long_lines.update({shift + row: size for row, size in part.long_lines.items()})
            yield shift + row, offset, line
        if unread := source.end_part(part, shift):
            yield unread.row, 0, b""


def line_row(source: Source, row: int, offset: int, line: bytes) -> RawRow:
    """One line with all checks."""
    if row in source.unread:
        return source.unread[row]
    if len(line) > limits.MAX_ROW_BYTES and row in source.long_lines:
        values = {"size": source.long_lines[row] >> 20, "limit": limits.MAX_ROW_BYTES >> 20}
        return fault_row(row, line, RowFault("too_long", "", values), offset)._replace(within=source.within(row))
    text = line.strip(_BLANK)
    value, fault = parse_row(text)
    if not fault:
        text = without_wrapping(text)
    return RawRow(row, text.decode("utf-8", "replace"), value, blamed(fault, source), offset, source.within(row))
