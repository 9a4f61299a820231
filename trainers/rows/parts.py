"""Rows made into tokens by several processes at once, a stretch of the data set each.

    write_parts(dataset, renderer, path, split="train", max_length=1024, processes=8)  ->  (120000, Findings(...))

What lies at `path` afterwards is byte for byte what one process would have written, so that neither a run that goes on
nor what is kept for other runs depends on the machine. The processes are forks of the job: its libraries are there at
once. They end with it, and where one of them fails the job does the work by itself, which tells why.
"""

import contextlib
import json
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from studio.protocol import DatasetRef
from trainers.rows.data import BATCH_ROWS, Findings, Renderer, conversations, num_batches, render_rows, write_tokens

PARALLEL_FROM = 20_000
"""Rows; fewer are done before the processes pay."""
MOST_PROCESSES = 16


def processes_for(rows: int, threads: int | None) -> int:
    """How many processes a data set of so many rows is worth; 1 where there is no fork."""
    if rows < PARALLEL_FROM or not hasattr(os, "fork"):
        return 1
    from studio.hardware import cpu_count

    return min(threads or cpu_count(), MOST_PROCESSES)


def write_parts(
    dataset: DatasetRef,
    renderer: Callable[[], Renderer],
    path: Path,
    *,
    split: str,
    max_length: int | None,
    processes: int,
) -> tuple[int, Findings] | None:
    """Rows and findings as `write_tokens` and `render_rows` have them; None where a process failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    total, context = num_batches(dataset), get_context("fork")
    edges = [total * number // processes for number in range(processes + 1)]
    parts = [path.with_suffix(f".part{number}") for number in range(processes)]
    try:
        started = []
        for part, first, last in zip(parts, edges, edges[1:], strict=False):
            given = (dataset, renderer, split, max_length, range(first, last), part, os.getpid())
            started.append(context.Process(target=_write_part, args=given))
            with warnings.catch_warnings():
                # From 3.12 on Python warns of forks beside threads; these run none of the job's.
                warnings.simplefilter("ignore", DeprecationWarning)
                started[-1].start()
        for process in started:
            process.join()
        if any(process.exitcode for process in started):
            return None
        return _joined(parts, path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
            _told(part).unlink(missing_ok=True)


def _write_part(  # noqa: PLR0913 - see above
    dataset: DatasetRef,
    renderer: Callable[[], Renderer],
    split: str,
    max_length: int | None,
    batches: range,
    path: Path,
    parent: int,
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    findings, rows = Findings(), conversations(dataset, split=split, batches=batches)
    rendered = render_rows(_while_alive(rows, parent), renderer(), max_length=max_length, findings=findings)
    count = write_tokens(rendered, path)
    _told(path).write_text(json.dumps({"count": count, "findings": findings.rows}))


def _while_alive(rows: Iterable[Any], parent: int) -> Iterator[Any]:
    """The rows, until the job that asked for them is gone."""
    for row in rows:
        if os.getppid() != parent:
            os._exit(1)
        yield row


def _told(part: Path) -> Path:
    return part.with_suffix(part.suffix + ".json")


def _joined(parts: list[Path], path: Path) -> tuple[int, Findings]:
    """The parts in one file, in batches as one process would have written them."""
    import pyarrow as pa

    findings, count = Findings(), 0
    for part in parts:
        told = json.loads(_told(part).read_bytes())
        count += told["count"]
        for code, rows in told["findings"].items():
            findings.rows.setdefault(code, []).extend(rows)
    with pa.OSFile(str(path), "wb") as sink:
        schema = _schema(parts[0])
        with pa.ipc.new_stream(sink, schema) as writer:
            left = schema.empty_table()
            for batch in _batches(parts):
                left = pa.concat_tables([left, pa.Table.from_batches([batch])])
                while len(left) >= BATCH_ROWS:
                    writer.write_batch(_one(left[:BATCH_ROWS]))
                    left = left[BATCH_ROWS:]
            if len(left):
                writer.write_batch(_one(left))
    return count, findings


def _batches(parts: Iterable[Path]) -> Iterator[Any]:
    import pyarrow as pa

    for part in parts:
        with pa.memory_map(str(part)) as file, pa.ipc.open_stream(file) as reader:
            yield from reader


def _schema(part: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(part)) as file, pa.ipc.open_stream(file) as reader:
        return reader.schema


def _one(table: Any) -> Any:
    """A batch of its own, as if its rows had been put together there."""
    import pyarrow as pa

    columns = [pa.array(column.to_pylist(), column.type) for column in table.columns]
    return pa.record_batch(columns, schema=table.schema)
