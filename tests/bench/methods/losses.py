"""What label smoothing, adversarial training and a curriculum bring.

    python -m tests.bench.methods.losses --minutes 30 [--lock FILE] [--only fgm plain ...]

Naming a message's topic, with more rows held out than trained on; where noise is the question each of those a second
time with typing errors. The studio trains the starter model with what its form fills in, in small steps; one setting
changes. A row counts as right where every token of its answer is the likeliest one: what greedy writing would give,
told by the same pass as its loss. Three seeds; a result is a line of `results.jsonl` as soon as it is there, and what
stands there under the same `PLAN` is not run again. `--page` only writes the table into `docs/methods.md`.
"""

import argparse
import random
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl
import torch

from studio.params.table import check
from studio.workshop.reports import DIFFICULTY
from tests.bench.methods.book import Book, held, spread
from tests.bench.recipes.runs import SAVE_ONCE, Bench, _figures, _last_checkpoint
from tests.bench.recipes.settings import resolved
from tests.bench.recipes.tasks import LONGEST_QUESTION, ROWS_SEED, TOPICS, Row, Task, same
from tests.trainers.jobs import model_ref, run_here, write_spec
from trainers import sft
from trainers.checkpoints.manifest import digest_of
from trainers.models.generation import Place
from trainers.models.scoring import _logits, _padded, answer_losses, batches
from trainers.rows.data import IGNORED, Findings, Rendered, Sample
from trainers.starter import corpus_pairs

BOOK = Book("losses")
SEEDS = (1, 2, 3)
TRAIN_EACH, HELD_OUT_EACH = 8, 12
"""Rows of each topic."""
WRONG = 0.25
"""Share of the labels that are wrong, where they are."""
TYPOS = 3
"""Pairs of letters that are swapped in a held-out message."""
STEPS_OF_FOUR = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "num_train_epochs": 2.0,
    "max_steps": -1,
    "learning_rate": 1e-3,
    "padding_free": False,
}
"""As many steps as the form would take, of half the rows; padded, since adversarial training looks at single rows."""
PLAN = f"{TRAIN_EACH}, {HELD_OUT_EACH}, {STEPS_OF_FOUR}"
NOISY = ("plain", "fgm", "pgd", "fgm, epsilon 0.1", "pgd, epsilon 0.1", "fgm, epsilon 0.005")
"""Conditions that are judged with typing errors too."""

CONDITIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "plain": ("clean", {}),
    "fgm": ("clean", {"adversarial": "fgm"}),
    "pgd": ("clean", {"adversarial": "pgd", "adversarial_steps": 2}),
    "fgm, epsilon 0.1": ("clean", {"adversarial": "fgm", "adversarial_epsilon": 0.1}),
    "pgd, epsilon 0.1": ("clean", {"adversarial": "pgd", "adversarial_steps": 2, "adversarial_epsilon": 0.1}),
    "fgm, epsilon 0.005": ("clean", {"adversarial": "fgm", "adversarial_epsilon": 0.005}),
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
    parser.add_argument("--lock", type=Path, help="held while a run goes on")
    parser.add_argument("--only", nargs="*", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--page", action="store_true", help="only write the tables")
    asked = parser.parse_args()
    if not asked.page:
        warnings.simplefilter("ignore", FutureWarning)
        measure(asked.only, until=time.monotonic() + 60 * asked.minutes, lock=asked.lock)
    BOOK.write(section())


def measure(names: Iterable[str], *, until: float, lock: Path | None) -> None:
    known = {(line["condition"], line["seed"]) for line in _results()}
    todo = [(name, seed) for seed in SEEDS for name in names if (name, seed) not in known]
    if not todo:
        return
    clean, wrong, typos = tasks()
    with tempfile.TemporaryDirectory() as scratch:
        bench = _Bench(Path(scratch))
        with held(lock):
            facts, hardness = bench.look(clean), bench.hardness(clean)
        for name, seed in todo:
            if time.monotonic() > until:
                return
            labels, changes = CONDITIONS[name]
            values = check(resolved("default", facts, seed=seed) | STEPS_OF_FOUR | changes)
            with held(lock):
                found = bench.train(clean if labels == "clean" else wrong, values, hardness)
                if name in NOISY:
                    found |= bench.judged_with(typos)
            BOOK.tell({"condition": name, "seed": seed, "plan": PLAN, "rows": clean.rows_hash, **found})


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
    _trained: Place

    def hardness(self, task: Task) -> list[float]:
        """The untouched model's loss on each row to train on, as ranks."""
        with self._models.ready(Place(str(self._model))) as (model, renderer):
            rows = enumerate((Sample(messages=task.messages(row)) for row in task.train), 1)
            found = answer_losses(model, renderer, rows, max_length=None, findings=Findings())
            losses = [each.loss for each in sorted(found, key=lambda each: each.row)]
        order = sorted(losses)
        return [order.index(loss) / len(order) for loss in losses]

    def train(self, task: Task, values: dict[str, Any], hardness: list[float]) -> dict[str, Any]:
        with self._job(task) as (job, dataset):
            scores = pl.DataFrame({"row": range(1, len(hardness) + 1), "difficulty": hardness})
            scores.write_parquet(Path(dataset.path) / DIFFICULTY)
            values = values | {"save_steps": SAVE_ONCE}
            folder = write_spec(job, dataset=dataset, model=model_ref(self._model), values=values, seed=values["seed"])
            began = time.process_time()
            figures = _figures(run_here(sft.main, folder))
            used = time.process_time() - began
            # A path of its own: adapters that were loaded are known by it.
            kept = Path(tempfile.mkdtemp(dir=self._scratch)) / "trained"
            shutil.move(_last_checkpoint(job), kept)
        self._trained = Place(str(self._model), str(kept), digest=digest_of(kept))
        score, loss = self._right_and_loss(task)
        measured = {"processor_seconds": round(used, 1), "peak_bytes": figures["peak_memory_bytes"]}
        return {"steps": figures["steps"], **measured, "score": score, "loss": loss}

    def judged_with(self, typos: Task) -> dict[str, float]:
        score, loss = self._right_and_loss(typos)
        return {"score_with_typos": score, "loss_with_typos": loss}

    def _right_and_loss(self, task: Task) -> tuple[float, float]:
        """Share of held-out rows whose every answer token is the likeliest, and the mean loss of an answer token."""
        with self._models.ready(self._trained) as (model, renderer):
            rows = (renderer.render(n, Sample(messages=task.messages(row))) for n, row in enumerate(task.held_out))
            judged = [
                pair
                for batch in batches(list(rows), vocab_size=model.config.vocab_size)
                for pair in _judged(model, batch, renderer.tokenizer)
            ]
        return round(fmean(right for right, _ in judged), 4), round(fmean(loss for _, loss in judged), 4)


def _judged(model: Any, batch: list[Rendered], tokenizer: Any) -> Iterator[tuple[float, float]]:
    """Of each row whether it would be written so, and the mean loss of its answer, its end token being the last."""
    ids = _padded([row.input_ids for row in batch], tokenizer.pad_token_id)  # (B, T)
    read = _padded([[1] * len(row.input_ids) for row in batch], 0)
    targets = _padded([_until_end(row.labels, tokenizer.eos_token_id)[1:] for row in batch], IGNORED)  # (B, T - 1)
    asked = (targets != IGNORED).any(dim=0).nonzero().squeeze(1)  # (K,)
    with torch.inference_mode():
        logits = _logits(model, ids, read, asked).float()  # (B, K, V)
    targets = targets[:, asked]
    counts = targets != IGNORED
    right = ((logits.argmax(-1) == targets) | ~counts).all(1)
    losses = torch.nn.functional.cross_entropy(logits.mT, targets, ignore_index=IGNORED, reduction="none").sum(1)
    yield from zip(right.double().tolist(), (losses / counts.sum(1)).tolist(), strict=True)


def _until_end(labels: list[int], end: int) -> list[int]:
    """The template's line break behind the end is never written."""
    last = len(labels) - labels[::-1].index(end)
    return labels[:last] + [IGNORED] * (len(labels) - last)


def _results() -> list[dict[str, Any]]:
    return [line for line in BOOK.lines() if line.get("plan") == PLAN]


# -- the page --------------------------------------------------------------------------------------------------------


def section() -> str:
    by_name = {name: [each for each in _results() if each["condition"] == name] for name in CONDITIONS}
    lines = [
        "## Loss, noise and order",
        "",
        f"Naming a message's topic, {TRAIN_EACH * len(TOPICS)} rows, {HELD_OUT_EACH * len(TOPICS)} held out, two "
        "epochs of four rows a step, the form's own filling for the starter model else, with one thing changed. Score: "
        "share of rows that would be answered exactly so. Mean and standard deviation over seeds. "
        "`python -m tests.bench.methods.losses`.",
        "",
        "| | seeds | score | loss | score with typing errors | loss with them | processor seconds | peak GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(name, found) for name, found in by_name.items() if found]
    return "\n".join([*lines, ""])


def _row(name: str, found: list[dict[str, Any]]) -> str:
    keys = ("score", "loss", "score_with_typos", "loss_with_typos")
    cells = [spread([each[key] for each in found], 3) if key in found[0] else "" for key in keys]
    seconds = fmean(each["processor_seconds"] for each in found)
    peak = max(each["peak_bytes"] for each in found) / 2**30
    return f"| {name} | {len(found)} | {' | '.join(cells)} | {seconds:.0f} | {peak:.2f} |"


if __name__ == "__main__":
    main()
