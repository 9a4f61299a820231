"""docs/rl.md from the results: tables are drawn here, what to make of them is written by hand in `reading.md`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy

from studio.paths import PROJECT_ROOT
from tests.bench.rl import preferences
from tests.bench.rl.filled import filled_rate, is_filled
from tests.bench.rl.paired import DRAWS, difference
from tests.bench.rl.results import PEER, UNTOUCHED, read
from tests.bench.rl.runs import ANSWERS, BATCH, METHODS, TEMPERATURE
from tests.bench.rl.tasks import HELD_OUT, Task, tasks

PAGE, READING = PROJECT_ROOT / "docs" / "rl.md", Path(__file__).with_name("reading.md")
CURVE = 5
"""Parts that a reward curve is told in."""
NAMES = {"grpo": "GRPO", "rloo": "RLOO", "ppo": "PPO", PEER: "PPO of trl 1.12"}
NAMES |= {"dpo": "DPO", "orpo": "ORPO", "kto": "KTO", "reward": "reward model"}
RAISED = {"above": "raised", "below": "lowered", "neither": "not certain"}
COMPARED = {"above": "PPO is higher", "below": "PPO is lower", "neither": "no difference seen"}

Line = Mapping[str, Any]


def write() -> None:
    PAGE.write_text(page(read()), "utf-8")


def page(lines: Sequence[Line]) -> str:
    runs = [line for line in lines if line["method"] != UNTOUCHED]
    filled, tried = [line for line in runs if is_filled(line)], [line for line in runs if not is_filled(line)]
    before = {line["task"]: line for line in lines if line["method"] == UNTOUCHED}
    of_rewards = [task for task in tasks().values() if task.name in before]
    parts = [
        "# Learning from rewards and preferences: what it brings",
        "Written by `python -m tests.bench.rl --page` from `results.jsonl` and `reading.md` in `tests/bench/rl/`: "
        "change those, not this page. `python -m tests.bench.rl --minutes 60` measures for an hour what is missing.",
        READING.read_text("utf-8").strip(),
        "## Is the held-out reward raised?",
        _how(),
        *(_raised(task, before[task.name], _of(task.name, filled)) for task in of_rewards),
        "## Is PPO below the others?",
        f"PPO's held-out answers by chance less those of the other run with the same seed, question by question. All "
        f"wrote {ANSWERS} answers. trl's own PPO (1.12, the last version that had it) is run by "
        "`tests/bench/rl/peer_ppo.py` in an environment of its own, with the settings of the studio's as far as it has "
        "them.",
        *(_compared(task, _of(task.name, filled)) for task in of_rewards),
        "## Are better answers preferred?",
        preferences.HOW,
        _preferred(before.get(preferences.NAME), _of(preferences.NAME, filled)),
        *_tried(before, tried),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _how() -> str:
    rates = ", ".join(f"{NAMES[method]} {filled_rate(method):g}" for method in METHODS)
    return (
        f"The starter model (135M) with LoRA writes {ANSWERS} answers in steps of {BATCH} at temperature "
        f"{TEMPERATURE}; GRPO and RLOO learn from each batch once, PPO as often as its form fills in. Learning rates "
        f"are those that the form fills in ({rates}); runs with others stand at the end. Before and after, it answers "
        f"the same {HELD_OUT} questions that no run has seen: by chance at that temperature and by its likeliest words."
        f" Difference: mean over the questions, and the middle 95 % of {DRAWS:,} means over questions drawn with "
        "replacement (paired bootstrap, Efron 1979). Raised: that interval lies above 0."
    )


def _raised(task: Task, before: Line, runs: Sequence[Line]) -> str:
    """A row for each method and seed, and how many seeds of each were raised."""
    columns = (
        "method",
        "seed",
        "by chance",
        "difference",
        "",
        "likeliest words",
        "difference",
        "while learning",
        "min",
    )
    rows = [("untouched", "–", _mean(before["by_chance"]), "–", "–", _mean(before["likeliest"]), "–", "–", "–")]
    rows += [(NAMES[line["method"]], line["seed"], *_against(before, line)) for line in runs]
    told = [f"### {task.name}: {task.what} (best possible {task.best:g})", _table(columns, rows)]
    counts = []
    for method in dict.fromkeys(line["method"] for line in runs):
        own = [difference(before["by_chance"], line["by_chance"]).low > 0 for line in _of_method(method, runs)]
        counts.append(f"{NAMES[method]} in {sum(own)} of {len(own)} seeds")
    told.append(f"Raised, by chance: {', '.join(counts)}." if counts else "No run with the form's own rate yet.")
    told.append(_rang(runs))
    return "\n\n".join(told)


def _rang(runs: Sequence[Line]) -> str:
    """Which alarms of the run's page a run would have shown; trl's own and the oldest lines do not tell."""
    watched = [line for line in runs if "alarms" in line]
    if not watched:
        return ""
    rang = [
        f"{code} ({NAMES[line['method']]}, seed {line['seed']}, from step {step})"
        for line in watched
        for code, step in line["alarms"].items()
    ]
    return f"Alarms that rang in the {len(watched)} runs that were watched: {', '.join(rang) or 'none'}."


def _against(before: Line, line: Line) -> tuple[str, ...]:
    by_chance = difference(before["by_chance"], line["by_chance"])
    likeliest = difference(before["likeliest"], line["likeliest"])
    curve = numpy.array_split(numpy.asarray(line["rewards"]), CURVE)
    return (
        _mean(line["by_chance"]),
        by_chance.told,
        by_chance.reading(**RAISED),
        _mean(line["likeliest"]),
        likeliest.told,
        " ".join(f"{part.mean():.2f}" for part in curve if len(part)),
        f"{line['seconds'] / 60:.0f}",
    )


def _compared(task: Task, runs: Sequence[Line]) -> str:
    """PPO beside each other method, seed by seed and over all seeds that both have."""
    ours, rows = {line["seed"]: line for line in _of_method("ppo", runs)}, []
    for other in ("grpo", "rloo", PEER):
        theirs = {line["seed"]: line for line in _of_method(other, runs)}
        both = sorted(ours.keys() & theirs.keys())
        pairs = [(str(seed), theirs[seed]["by_chance"], ours[seed]["by_chance"]) for seed in both]
        if len(both) > 1:  # the mean over seeds of each question, so that a question still counts once
            means = [numpy.mean([runs[seed]["by_chance"] for seed in both], axis=0) for runs in (theirs, ours)]
            pairs.append((f"all {len(both)}", *means))
        for seed, their_own, our_own in pairs:
            found = difference(their_own, our_own)
            rows.append((NAMES[other], seed, _mean(our_own), _mean(their_own), found.told, found.reading(**COMPARED)))
    if not rows:
        return f"### {task.name}\n\nNot measured yet."
    return f"### {task.name}\n\n" + _table(("beside", "seed", "PPO", "the other", "difference", ""), rows)


def _preferred(before: Line | None, runs: Sequence[Line]) -> str:
    if before is None:
        return "Not measured yet."
    rows = [("untouched", "–", "–", f"{fmean(before['right']):.2f}", "–", "–")]
    return _table(
        ("method", "learning rate", "seed", "held-out pairs right", "difference", ""),
        [*rows, *(_preference(before, line) for line in runs)],
    )


def _preference(before: Line, line: Line) -> tuple[str, ...]:
    # A reward model begins with scores that say nothing: right in half of the pairs.
    untouched = [0.5] * len(line["right"]) if line["method"] == "reward" else before["right"]
    found = difference(untouched, line["right"])
    right = f"{fmean(line['right']):.2f}"
    named = (NAMES[line["method"]], f"{line['learning_rate']:g}", str(line["seed"]))
    return (*named, right, found.told, found.reading(**RAISED))


def _tried(before: Mapping[str, Line], runs: Sequence[Line]) -> Iterable[str]:
    """What other learning rates brought, from which the form's own was chosen."""
    known = [line for line in runs if line["task"] in before]
    if not known:
        return
    yield "## Tried"
    yield "Runs with other settings than the form's, mostly other learning rates; what they were judged by is the same."
    columns = ("task", "method", "learning rate", "other settings", "seed", "held out", "difference", "")
    yield _table(columns, [_trial(before[line["task"]], line) for line in sorted(known, key=_order)])


def _trial(before: Line, line: Line) -> tuple[str, ...]:
    others = {name: value for name, value in line["changes"].items() if name != "learning_rate"}
    told = ", ".join(f"{name} {value}" for name, value in others.items()) or "–"
    if line["task"] == preferences.NAME:
        method, rate, seed, *found = _preference(before, line)
        return (line["task"], method, rate, told, seed, *found)
    found = difference(before["by_chance"], line["by_chance"])
    named = (line["task"], NAMES[line["method"]], f"{line['learning_rate']:g}", told, str(line["seed"]))
    return (*named, _mean(line["by_chance"]), found.told, found.reading(**RAISED))


def _of(task: str, lines: Sequence[Line]) -> list[Line]:
    return sorted((line for line in lines if line["task"] == task), key=_order)


def _of_method(method: str, lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line["method"] == method]


def _order(line: Line) -> tuple[Any, ...]:
    return line["task"], list(NAMES).index(line["method"]), line["learning_rate"], str(line["changes"]), line["seed"]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    line: Callable[[Sequence[Any]], str] = lambda cells: f"| {' | '.join(map(str, cells))} |"  # noqa: E731
    return "\n".join([line(columns), f"|{'---|' * len(columns)}", *(line(cells) for cells in rows)])


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}"
