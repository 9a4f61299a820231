"""The results file: one JSON line a run, only ever appended to, and what is still missing in it.

A result belongs to a combination of task, rows, resolved values and seed. When a default changes, the results of the
same values under another recipe's name count for it, and nothing is measured twice.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.jsonl")
UNTOUCHED = "untouched"
"""The model before any training; its seed is 0."""


@dataclass(frozen=True)
class Combination:
    task: str
    rows_hash: str
    recipe: str
    key: str
    """Of the resolved values, seed left out."""
    seed: int

    @property
    def identity(self) -> tuple[str, str, str, int]:
        return self.task, self.rows_hash, self.key, self.seed


@dataclass(frozen=True, kw_only=True)
class Result(Combination):
    differs: dict[str, Any]
    """What of the resolved values is not as the form fills it in at that time."""
    score: float
    loss: float
    """Mean over the held-out rows of each answer's mean loss a token, in nats."""
    steps: int
    seconds: float
    """Of training, on a machine that others use too."""
    versions: dict[str, str] = field(default_factory=dict)


def read(path: Path = RESULTS) -> list[Result]:
    """Every whole line; a line that a kill cut off is left out, and its run is done again."""
    if not path.exists():
        return []
    lines = path.read_text("utf-8").split("\n")
    return [Result(**json.loads(line)) for line in lines[:-1] if line]


def append(result: Result, path: Path = RESULTS) -> None:
    line = json.dumps(asdict(result), ensure_ascii=False) + "\n"
    text = path.read_text("utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], "utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def missing(wanted: Iterable[Combination], done: Iterable[Result]) -> Iterator[Combination]:
    """What is wanted and was not measured, each combination of values once, in the order of `wanted`."""
    known = {result.identity for result in done}
    for each in wanted:
        if each.identity not in known:
            known.add(each.identity)
            yield each


def found(wanted: Iterable[Combination], done: Iterable[Result]) -> dict[Combination, Result]:
    known = {result.identity: result for result in done}
    return {each: known[each.identity] for each in wanted if each.identity in known}
