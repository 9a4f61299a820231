"""Parquet: rows batch by batch, nested values as lists and objects.

A batch is as many rows as fit into some megabytes, so that long rows do not pile up.
"""

from collections.abc import Iterator

import msgspec

from studio.errors import RefusedInput
from studio.workshop.reading import limits
from studio.workshop.reading.source import RawRow, Source
from studio.workshop.reading.streams import Content


def parquet_source(content: Content) -> Source:
    """Raises RefusedInput if the file is no whole Parquet file or holds no rows."""
    import pyarrow.parquet

    with content.as_file() as path:
        try:
            total = pyarrow.parquet.read_metadata(path).num_rows
        except _damage() as error:
            raise RefusedInput("data.not_parquet", file=content.name) from error
        if total <= 0:
            raise RefusedInput("data.empty_file", file=content.name, size=path.stat().st_size)
    return Source(content, "parquet", total, read_parquet, unit="rows")


def read_parquet(source: Source) -> Iterator[RawRow]:
    import pyarrow.parquet

    damage = _damage()
    with source.content.as_file() as path:
        try:
            with pyarrow.parquet.ParquetFile(path, buffer_size=limits.CHUNK_BYTES, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=_batch_rows(file.metadata), use_threads=False):
                    for value in batch.to_pylist():
                        source.done += 1
                        raw = msgspec.json.encode(value, enc_hook=repr).decode()
                        yield RawRow(source.done, raw, value)
        except damage as error:
            raise RefusedInput("data.parquet_damaged", file=source.name, row=source.done + 1) from error


def _batch_rows(metadata) -> int:
    size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    average = max(size // max(metadata.num_rows, 1), 1)
    return max(1, min(limits.PARQUET_BATCH_ROWS, limits.PARQUET_BATCH_BYTES // average))


def _damage() -> tuple[type[BaseException], ...]:
    """What pyarrow raises at damage: its own errors, and Python's where a value has no Python form."""
    from pyarrow import ArrowException

    return ArrowException, OSError, ValueError, OverflowError, MemoryError, TypeError, RecursionError
