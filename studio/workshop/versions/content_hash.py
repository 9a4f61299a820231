"""A hash over what training gets of a version: two versions with equal hashes train alike.

    the record batches of rows.parquet, in order  ->  64 hexadecimal digits

It does not depend on how rows were batched, where they came from, or what numbers they have.
"""

import hashlib
from typing import Any

import xxhash

from studio.workshop.versions.layout import ADDED_LATER, PROMPT, TRAINED_COLUMNS


class ContentHash:
    """A hash over trained columns and splits, the same however the rows were batched.

    Every leaf column is hashed as two streams, its lengths (-1 for a null) and its bytes; nulls at the end of a column
    are not hashed, so that a column without values costs nothing. Its name is hashed all the same, but for columns that
    older versions lack: without values there, they train alike. The streams are hashed by XXH3, at memory speed: the
    hash tells versions apart, and guards against nobody. Prompts count their `extra` too: it holds what their
    answers are judged by.
    """

    def __init__(self, format: str) -> None:
        self._format = format
        self._streams: dict[str, _Stream] = {}
        self._names = (*TRAINED_COLUMNS[format], "split", *(("extra",) if format == PROMPT else ()))

    def update(self, batch: Any) -> None:
        for name in self._names:
            self._walk(name, batch.column(name))

    def hexdigest(self) -> str:
        whole = hashlib.blake2b(self._format.encode(), digest_size=32)
        for path in sorted(self._streams):
            digest = self._streams[path].digest()
            if digest or path.rpartition(".")[2] not in ADDED_LATER:
                whole.update(path.encode() + digest)
        return whole.hexdigest()

    def _walk(self, path: str, array: Any) -> None:
        import pyarrow
        import pyarrow.compute as compute

        kind = array.type
        if pyarrow.types.is_struct(kind):
            for index, child in enumerate(array.flatten()):
                self._walk(f"{path}.{kind.field(index).name}", child)
            return
        stream = self._streams.setdefault(path, _Stream(8 if pyarrow.types.is_int64(kind) else 4))
        array = stream.without_trailing_nulls(array)
        if not len(array):
            return
        if pyarrow.types.is_list(kind):
            stream.add_numbers(compute.list_value_length(array))
            self._walk(f"{path}[]", array.flatten())
        elif pyarrow.types.is_string(kind):
            stream.add_numbers(compute.binary_length(array))
            stream.add_texts(array)
        else:
            stream.add_numbers(array)


class _Stream:
    """What was hashed of one leaf column."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._numbers = xxhash.xxh3_128()
        self._bytes = xxhash.xxh3_128()
        self._nulls = 0
        self._is_empty = True

    def without_trailing_nulls(self, array: Any) -> Any:
        """`array` up to its last value; the nulls behind it wait for a value that follows them."""
        import numpy

        if array.null_count == len(array):
            self._nulls += len(array)
            return array.slice(0, 0)
        waiting, self._nulls = self._nulls, 0
        if array.null_count:
            last = int(numpy.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))[-1])
            self._nulls = len(array) - last - 1
            array = array.slice(0, last + 1)
        self._numbers.update(waiting * (-1).to_bytes(self._width, "little", signed=True))
        return array

    def add_numbers(self, numbers: Any) -> None:
        import pyarrow

        filled = numbers.cast(pyarrow.int8()) if pyarrow.types.is_boolean(numbers.type) else numbers
        filled = filled.fill_null(-1).to_numpy(zero_copy_only=False)
        self._numbers.update(filled.astype(f"<i{self._width}"))
        self._is_empty = False

    def add_texts(self, array: Any) -> None:
        _, offsets, data = array.buffers()
        if data is None:
            return
        ends = memoryview(offsets).cast("B")[4 * array.offset : 4 * (array.offset + len(array) + 1)].cast("i")
        self._bytes.update(memoryview(data)[ends[0] : ends[-1]])

    def digest(self) -> bytes:
        return b"" if self._is_empty else self._numbers.digest() + self._bytes.digest()
