"""Where the benches of methods keep what they found: a line of `results.jsonl` each, and a section of a page.

book = Book("losses")
book.tell({"condition": "fgm", "seed": 1, "loss": 0.44});  book.lines() -> [{"room": "losses", "condition": ...}]
book.write(section)                 puts it between the marks of the room in `docs/methods.md`
"""

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from studio.paths import PROJECT_ROOT

RESULTS = Path(__file__).with_name("results.jsonl")
PAGE = PROJECT_ROOT / "docs" / "methods.md"


@dataclass(frozen=True)
class Book:
    room: str
    results: Path = RESULTS

    def tell(self, line: Mapping[str, Any]) -> None:
        with self.results.open("a") as file:
            file.write(json.dumps({"room": self.room, **line}) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        lines = self.results.read_text("utf-8").splitlines() if self.results.exists() else []
        return [each for each in map(json.loads, lines) if each.get("room") == self.room]

    def write(self, section: str) -> None:
        """Put the section between its marks; the page is made where it is not there."""
        begin, end = (f"<!-- {self.room}: {mark} -->" for mark in ("begin", "end"))
        text = PAGE.read_text("utf-8") if PAGE.exists() else "# What the methods do\n"
        if begin not in text:
            text += f"\n{begin}\n{end}\n"
        before, after = text[: text.index(begin)], text[text.index(end) + len(end) :]
        PAGE.write_text(f"{before}{begin}\n{section}{end}{after}", "utf-8")


def alone(room: str, name: str) -> None:
    """One measurement of a room in a process of its own (`--one`), so that its peak memory is its own."""
    subprocess.run([sys.executable, "-m", f"{__package__}.{room}", "--one", name], cwd=PROJECT_ROOT, check=True)


@contextmanager
def held(lock: Path | None) -> Iterator[None]:
    """One long computation at a time, where several programs share a machine."""
    with lock.open("a") if lock else nullcontext() as file:
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation: `0.44 ± 0.02`."""
    return f"{fmean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"
