"""The end of a job's train.log, read backwards so that a long log costs nothing."""

from pathlib import Path

from studio.protocol import LOG

_BLOCK_BYTES = 16 << 10
_MOST_BYTES = 1 << 20
"""Of a log: one line without an end must not bring the whole file into memory."""


def tail(attempt_folder: Path, num_lines: int) -> list[str]:
    """The last lines of the log; a progress bar's redrawn line counts as its last state."""
    try:
        with (attempt_folder / LOG).open("rb") as file:
            end = file.seek(0, 2)
            data = b""
            while end > 0 and data.count(b"\n") <= num_lines and len(data) < _MOST_BYTES:
                start = max(0, end - _BLOCK_BYTES)
                file.seek(start)
                data = file.read(end - start) + data
                end = start
    except FileNotFoundError:
        return []
    lines = data.decode("utf-8", "replace").split("\n")
    shown = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
    return [line for line in shown if line.strip()][-num_lines:]
