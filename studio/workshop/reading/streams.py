"""A file's bytes, wherever they lie: as they are, unpacked from .gz or .zip, decoded to UTF-8. Never all at once.

`Content.open` gives the unpacked bytes, `Content.open_text` the same as UTF-8 without byte order mark, whose
`offset_of(position)` tells which byte of the file a position in the text came from. A byte that the encoding does not
know becomes 0xFF, which no UTF-8 holds, so that it spoils its own row and no other.
"""

import codecs
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from studio.errors import RefusedInput
from studio.workshop.reading import limits

_BAD = "\udcff"
_PIECE_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 18
DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, ValueError)
"""What Python's unpackers raise at a damaged archive."""


def _mark_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    return _BAD * (error.end - error.start), error.end


codecs.register_error("luthier.bad_bytes", _mark_bad_bytes)


@dataclass(frozen=True)
class Content:
    """Where a file's bytes are and how they become text."""

    path: Path
    name: str
    container: str = ""
    """gz, zip, or empty: the file itself."""
    member: str = ""
    """The name inside a zip."""
    encoding: str = "utf-8"
    mark_bytes: int = 0
    """Length of the byte order mark."""
    is_cr: bool = False
    """Lines end in a lone carriage return."""
    cut_offs: set[str] = field(default_factory=set, compare=False)
    """Not empty once a .gz was read that ends too early; what comes out before is kept."""

    @property
    def is_utf8(self) -> bool:
        """Whether the text needs no translation."""
        return self.encoding == "utf-8" and not self.is_cr

    def open(self) -> BinaryIO:
        """The bytes, unpacked."""
        return io.BufferedReader(self._raw(), _BUFFER_BYTES)

    def open_text(self) -> "_Text":
        """The bytes as UTF-8."""
        if not self.is_utf8:
            return _Text(_Transcoded(self))
        text = _Text(self._raw(), self.mark_bytes)
        text.read(self.mark_bytes)
        return text

    def _raw(self) -> io.RawIOBase:
        return _Unpacked(self) if self.container else io.FileIO(self.path)

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """A path, for readers that must jump about: the file itself, or an unpacked copy that goes afterwards."""
        if not self.container:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "unpacked"
            with self.open() as packed, copy.open("wb") as file:
                shutil.copyfileobj(packed, file, limits.CHUNK_BYTES)
            yield copy


class _Text(io.BufferedReader):
    """UTF-8 text as bytes."""

    def __init__(self, raw: io.RawIOBase, skipped: int = 0) -> None:
        super().__init__(raw, _BUFFER_BYTES)
        self._skipped = skipped

    def offset_of(self, position: int) -> int:
        """The byte of the file that `position` of this text came from; ask in rising order."""
        if isinstance(self.raw, _Transcoded):
            return self.raw.offset_of(position)
        return position + self._skipped


class _Transcoded(io.RawIOBase):
    """Text of another encoding as UTF-8, and which byte came from where.

    Pieces of text are kept until an offset behind them was asked for: readers ask once a row.
    """

    def __init__(self, content: Content) -> None:
        self._file = content.open()
        self._file.read(content.mark_bytes)
        self._encoding = content.encoding
        self._is_cr = content.is_cr
        self._decoder = codecs.getincrementaldecoder(content.encoding)("luthier.bad_bytes")
        self._ready = b""
        self._ended = False
        self._pieces: deque[bytes] = deque()
        self._piece_start = 0
        self._asked = 0
        self._offset = content.mark_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while not self._ready and not self._ended:
            data = self._file.read(_PIECE_BYTES)
            self._ended = not data
            text = self._decoder.decode(data, self._ended)
            self._ready = text.encode("utf-8", "surrogateescape")
            if self._is_cr:
                self._ready = self._ready.replace(b"\r", b"\n")
            self._pieces.append(self._ready)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def offset_of(self, position: int) -> int:
        while self._asked < position and self._pieces:
            piece = self._pieces[0]
            end = min(position - self._piece_start, len(piece))
            self._offset += self._source_length(piece[self._asked - self._piece_start : end])
            self._asked = self._piece_start + end
            if end == len(piece):
                self._piece_start += end
                self._pieces.popleft()
        return self._offset

    def _source_length(self, piece: bytes) -> int:
        text = piece.decode("utf-8", "surrogateescape")
        bad = text.count(_BAD)
        return bad + len((text.replace(_BAD, "") if bad else text).encode(self._encoding, "replace"))

    def close(self) -> None:
        self._file.close()
        super().close()


class _Unpacked(io.RawIOBase):
    """The bytes inside a .gz or a member of a .zip; damage and bombs are refused where they are met."""

    def __init__(self, content: Content) -> None:
        self._name = content.name
        self._archive: zipfile.ZipFile | None = None
        self._count = 0
        self._cut_offs = content.cut_offs
        try:
            if content.container == "gz":
                self._packed_bytes = content.path.stat().st_size
                self._file: BinaryIO = gzip.GzipFile(content.path, "rb")
            else:
                self._archive = zipfile.ZipFile(content.path)
                self._packed_bytes = self._archive.getinfo(content.member).compress_size
                self._file = self._archive.open(content.member)
        except (*DAMAGED, KeyError) as error:
            self.close()
            raise RefusedInput("data.reading.archive_damaged", file=self._name) from error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        try:
            data = self._file.read1(len(buffer))
        except DAMAGED as error:
            if not self._is_cut_off(error):
                raise RefusedInput("data.reading.archive_damaged", file=self._name) from error
            self._cut_offs.add(self._name)
            data = b""
        self._count += len(data)
        refuse_bomb(self._count, self._packed_bytes, self._name)
        buffer[: len(data)] = data
        return len(data)

    def _is_cut_off(self, error: Exception) -> bool:
        """A .gz of which the end is missing, behind something that could be read."""
        return isinstance(error, EOFError) and self._archive is None and self._count > 0

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        if self._archive:
            self._archive.close()
        super().close()


def refuse_bomb(unpacked_bytes: int, packed_bytes: int, name: str) -> None:
    """Refuse what unpacks to more than any data would."""
    is_thin = unpacked_bytes > limits.RATIO_FROM_BYTES and unpacked_bytes > limits.MAX_RATIO * max(packed_bytes, 1)
    if is_thin or unpacked_bytes > limits.MAX_UNPACKED_BYTES:
        raise RefusedInput("data.reading.archive_bomb", file=name, size=unpacked_bytes >> 20)
