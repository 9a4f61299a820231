"""What label smoothing, adversarial training and a curriculum bring.

    python -m tests.bench.methods.losses --minutes 30

One task of the recipe bench, naming a message's topic, with more rows held out and each of them a second time with
typing errors. The studio trains the starter model with what its form fills in; one setting changes. Three seeds; a
result is a line of `results.jsonl` as soon as it is there, and what stands there is not run again. `--page` writes the
tables into `docs/methods.md`.
"""

import argparse
import json
import random
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import polars as pl

from studio.params.table import check
from studio.paths import PROJECT_ROOT
from studio.workshop.reports import DIFFICULTY
from tests.bench.recipes.runs import SAVE_ONCE, Bench, _figures, _last_checkpoint
from tests.bench.recipes.settings import resolved
from tests.bench.recipes.tasks import LONGEST_QUESTION, ROWS_SEED, TOPICS, Row, Task, same
from tests.trainers.jobs import model_ref, run_here, write_spec
from trainers import sft
from trainers.data import Findings, Sample
from trainers.generation import Place
from trainers.scoring import answer_losses
from trainers.starter import corpus_pairs

RESULTS = Path(__file__).with_name("results.jsonl")
PAGE = PROJECT_ROOT / "docs" / "methods.md"
ROOM = "losses"
SEEDS = (1, 2, 3)
TRAIN_EACH, HELD_OUT_EACH = 12, 20
"""Rows of each topic."""
WRONG = 0.25
"""Share of the labels that are wrong, where they are."""
TYPOS = 3
"""Pairs of letters that are swapped in a held-out message."""

CONDITIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "plain": ("clean", {}),
    "fgm": ("clean", {"adversarial": "fgm"}),
    "pgd": ("clean", {"adversarial": "pgd", "adversarial_steps": 2}),
    "smoothed": ("clean", {"label_smoothing_factor": 0.1}),
    "wrong labels": ("wrong", {}),
    "wrong labels, smoothed": ("wrong", {"label_smoothing_factor": 0.1}),
    "easy to hard": ("clean", {"curriculum": "easy_to_hard"}),
    "staged": ("clean", {"curriculum": "staged"}),
    "staged, scores by chance": ("clean", {"curriculum": "staged", "curriculum_control": True}),
}
"""{name: (labels, what is changed)}, the most wanted first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--page", action="store_true", help="only write the tables")
    asked = parser.parse_args()
    if not asked.page:
        warnings.simplefilter("ignore", FutureWarning)
        measure(until=time.monotonic() + 60 * asked.minutes)
    write_page()


def measure(*, until: float) -> None:
    todo = [each for each in _all() if each not in {(line["condition"], line["seed"]) for line in _results()}]
    if not todo:
        return
    clean, wrong, typos = tasks()
    with tempfile.TemporaryDirectory() as scratch:
        bench = _Bench(Path(scratch))
        facts, hardness = bench.look(clean), bench.hardness(clean)
        for name, seed in todo:
            if time.monotonic() > until:
                return
            labels, changes = CONDITIONS[name]
            values = check(resolved("default", facts, seed=seed) | changes)
            found = bench.train(clean if labels == "clean" else wrong, values, hardness, typos)
            line = {"room": ROOM, "condition": name, "seed": seed, "rows": clean.rows_hash, **found}
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)  # noqa: T201


def tasks() -> tuple[Task, Task, Task]:
    """The task with right labels, with some wrong ones to learn from, and with typing errors in what is held out."""
    chance, train, held_out = random.Random(ROWS_SEED), [], []
    for topic in TOPICS:
        messages = dict.fromkeys(
            message for message, _ in corpus_pairs(topic) if 12 <= len(message) <= LONGEST_QUESTION
        )
        rows = [(message, topic) for message in messages]
        chance.shuffle(rows)
        held_out += rows[:HELD_OUT_EACH]
        train += rows[HELD_OUT_EACH:][:TRAIN_EACH]
    chance.shuffle(train)
    clean = Task("topic", "classification", "Name the topic.", tuple(train), tuple(held_out), same, "share right", 4)
    return (
        clean,
        replace(clean, train=tuple(_mislabelled(row, chance) for row in train)),
        replace(clean, held_out=tuple((_mistyped(question, chance), topic) for question, topic in held_out)),
    )


def _mislabelled(row: Row, chance: random.Random) -> Row:
    return (row[0], chance.choice([topic for topic in TOPICS if topic != row[1]])) if chance.random() < WRONG else row


def _mistyped(text: str, chance: random.Random) -> str:
    letters = list(text)
    for place in chance.sample(range(len(letters) - 1), TYPOS):
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


class _Bench(Bench):
    def hardness(self, task: Task) -> list[float]:
        """The untouched model's loss on each row to train on, as ranks."""
        with self._models.ready(Place(str(self._model))) as (model, renderer):
            rows = enumerate((Sample(messages=task.messages(row)) for row in task.train), 1)
            losses = [each.loss for each in answer_losses(model, renderer, rows, max_length=None, findings=Findings())]
        order = sorted(losses)
        return [order.index(loss) / len(order) for loss in losses]

    def train(self, task: Task, values: dict[str, Any], hardness: list[float], typos: Task) -> dict[str, Any]:
        with self._job(task) as (job, dataset):
            scores = pl.DataFrame({"row": range(1, len(hardness) + 1), "difficulty": hardness})
            scores.write_parquet(Path(dataset.path) / DIFFICULTY)
            values = values | {"save_steps": SAVE_ONCE}
            folder = write_spec(job, dataset=dataset, model=model_ref(self._model), values=values, seed=values["seed"])
            figures = _figures(run_here(sft.main, folder))
            trained = _last_checkpoint(job)
            score, loss = self._judge(task, trained)
            noisy, noisy_loss = self._judge(typos, trained)
        measured = {"seconds": round(figures["seconds"], 1), "peak_bytes": figures["peak_memory_bytes"]}
        scored = {"score": score, "loss": loss, "score_with_typos": noisy, "loss_with_typos": noisy_loss}
        return {"steps": figures["steps"], **measured, **{name: round(value, 4) for name, value in scored.items()}}


def _all() -> Iterator[tuple[str, int]]:
    return ((name, seed) for seed in SEEDS for name in CONDITIONS)


def _results() -> list[dict[str, Any]]:
    lines = RESULTS.read_text("utf-8").splitlines() if RESULTS.exists() else []
    return [each for each in map(json.loads, lines) if each.get("room") == ROOM]


# -- the page --------------------------------------------------------------------------------------------------------

BEGIN, END = "<!-- losses: begin -->", "<!-- losses: end -->"


def write_page() -> None:
    """Put the table between its marks; the file is made where it is not there."""
    text = PAGE.read_text("utf-8") if PAGE.exists() else "# What the methods do\n"
    if BEGIN not in text:
        text += f"\n{BEGIN}\n{END}\n"
    before, after = text[: text.index(BEGIN)], text[text.index(END) + len(END) :]
    PAGE.write_text(f"{before}{BEGIN}\n{section()}{END}{after}", "utf-8")


def section() -> str:
    by_name = {name: [each for each in _results() if each["condition"] == name] for name in CONDITIONS}
    lines = [
        "## Loss, noise and order",
        "",
        f"Naming a message's topic, {TRAIN_EACH * len(TOPICS)} rows, {HELD_OUT_EACH * len(TOPICS)} held out, "
        "the form's own filling for the starter model with one thing changed. Mean and standard deviation over seeds; "
        "seconds depend on what else the machine did. `python -m tests.bench.methods.losses`.",
        "",
        "| | seeds | score | loss | score with typing errors | loss with them | seconds | peak GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(name, found) for name, found in by_name.items() if found]
    return "\n".join([*lines, ""])


def _row(name: str, found: list[dict[str, Any]]) -> str:
    cells = [_spread([each[key] for each in found]) for key in ("score", "loss", "score_with_typos", "loss_with_typos")]
    seconds = fmean(each["seconds"] for each in found)
    peak = max(each["peak_bytes"] for each in found) / 2**30
    return f"| {name} | {len(found)} | {' | '.join(cells)} | {seconds:.0f} | {peak:.2f} |"


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.3f} ± {stdev(values) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
