"""docs/rl.md from the results: tables are drawn here, what to make of them is written by hand in `reading.md`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy

from studio.paths import PROJECT_ROOT
from tests.bench.rl import preferences
from tests.bench.rl.results import UNTOUCHED, read
from tests.bench.rl.runs import ANSWERS, BATCH, TEMPERATURE
from tests.bench.rl.tasks import HELD_OUT, Task, tasks

PAGE, READING = PROJECT_ROOT / "docs" / "rl.md", Path(__file__).with_name("reading.md")
DRAWS = 10_000
CURVE = 5
"""Parts that a reward curve is told in."""

Line = Mapping[str, Any]


def write() -> None:
    PAGE.write_text(page(read()), "utf-8")


def page(lines: Sequence[Line]) -> str:
    parts = [
        "# Learning from rewards and preferences: what it brings",
        "Written by `python -m tests.bench.rl --page` from `results.jsonl` and `reading.md` in `tests/bench/rl/`: "
        "change those, not this page. `python -m tests.bench.rl --minutes 60` measures for an hour what is missing.",
        READING.read_text("utf-8").strip(),
        "## Rewards",
        f"The starter model with LoRA writes {ANSWERS} answers in steps of {BATCH} at temperature {TEMPERATURE}; GRPO "
        "and RLOO learn from each batch once, PPO as often as its form fills in. Before and after it answers the same "
        f"{HELD_OUT} questions that no run has seen, by chance at that temperature and by its likeliest words. "
        "Difference: mean over the questions, and the middle 95 % of as many means over questions drawn with "
        f"replacement, {DRAWS:,} times (paired bootstrap, Efron 1979).",
        *(_task_table(task, [line for line in lines if line["task"] == task.name]) for task in tasks().values()),
        preferences.section(lines),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def bootstrap(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean difference of paired figures, and the 2.5 % and 97.5 % quantiles of its bootstrap distribution."""
    gains = numpy.asarray(after) - numpy.asarray(before)
    places = numpy.random.default_rng(seed).integers(len(gains), size=(DRAWS, len(gains)))
    low, high = numpy.quantile(gains[places].mean(axis=1), [0.025, 0.975])
    return float(gains.mean()), float(low), float(high)


def _task_table(task: Task, lines: Sequence[Line]) -> str:
    untouched = next((line for line in lines if line["method"] == UNTOUCHED), None)
    if untouched is None:
        return ""
    head = (
        "| method | learning rate | seed | by chance | difference | likeliest words | difference | reward by fifths |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    first = f"| untouched | – | – | {_mean(untouched['by_chance'])} | – | {_mean(untouched['likeliest'])} | – | – |"
    runs = sorted(
        (line for line in lines if line["method"] != UNTOUCHED),
        key=lambda it: (it["method"], str(it["changes"]), it["seed"]),
    )
    title = f"### {task.name}: {task.what} (best possible {task.best:g})"
    return "\n".join([title, "", head, first, *(_row(untouched, line) for line in runs)])


def _row(untouched: Line, line: Line) -> str:
    cells = [line["method"], f"{line['learning_rate']:g}", str(line["seed"])]
    for way in ("by_chance", "likeliest"):
        gain, low, high = bootstrap(untouched[way], line[way])
        cells += [_mean(line[way]), f"{gain:+.3f} ({low:+.3f} to {high:+.3f})"]
    curve = numpy.array_split(numpy.asarray(line["rewards"]), CURVE)
    cells.append(" ".join(f"{part.mean():.2f}" for part in curve if len(part)))
    return f"| {' | '.join(cells)} |"


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}"
