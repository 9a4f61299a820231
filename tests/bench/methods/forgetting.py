"""What a new task costs the old one, and what holds it: `python -m tests.bench.methods.forgetting --minutes 30`.

Two tasks of the recipe bench: first naming a message's topic, then writing an order as one line. The studio trains the
starter model with LoRA on the first, and from its checkpoint on the second, each way of keeping the first once; both
tasks' held-out rows are judged after each. Three seeds; a result is a line of `results.jsonl` as soon as it is there,
and what stands there is not run again. `--page` writes the table into `docs/methods.md`.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from studio.protocol import CheckpointRef
from tests.bench.methods.book import Book, held, spread
from tests.bench.recipes.runs import SAVE_ONCE, Bench, _last_checkpoint
from tests.bench.recipes.tasks import Task, tasks
from tests.trainers.jobs import SFT, model_ref, run_here, write_dataset, write_spec
from trainers import sft
from trainers.checkpoints.manifest import digest_of

BOOK = Book("forgetting")
OLD, NEW = "topic", "format"
SEEDS = (1, 2, 3)
FIRST, SECOND = 20, 20
"""Steps of eight rows."""
SETTINGS = SFT | {
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "per_device_train_batch_size": 8,
    "num_train_epochs": 100.0,
    "lora_r": 8,
    "lora_alpha": 16,
    "save_steps": SAVE_ONCE,
    "continual": "none",
}
NAMED_OLD = {"old_dataset": "data"}
CONDITIONS: Mapping[str, dict[str, Any]] = {
    "nothing": {},
    "old rows, a fifth": {"continual": "replay", "replay_ratio": 0.2, **NAMED_OLD},
    "EWC, lambda 1e4": {"continual": "ewc", "ewc_lambda": 1e4, **NAMED_OLD},
    "SI, c 1": {"continual": "si", "si_c": 1.0, **NAMED_OLD},
    "EWC, lambda 1e5": {"continual": "ewc", "ewc_lambda": 1e5, **NAMED_OLD},
    "SI, c 10": {"continual": "si", "si_c": 10.0, **NAMED_OLD},
}
"""What is done for the old task while the new one is learned."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lock", type=Path, help="a file to hold while a run goes on")
    parser.add_argument("--only", nargs="*", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--page", action="store_true", help="only write the table")
    asked = parser.parse_args()
    if not asked.page:
        warnings.simplefilter("ignore", FutureWarning)
        measure(asked.only, until=time.monotonic() + 60 * asked.minutes, lock=asked.lock)
    BOOK.write(section())


def measure(names: Iterable[str], *, until: float, lock: Path | None = None) -> None:
    old, new = (next(task for task in tasks() if task.name == name) for name in (OLD, NEW))
    with tempfile.TemporaryDirectory() as scratch:
        bench = _Bench(Path(scratch), old, new)
        for seed in SEEDS:
            done = {line["condition"] for line in BOOK.lines() if line["seed"] == seed}
            todo = [name for name in ("first", *names) if name not in done]
            if not todo or time.monotonic() > until:
                continue
            with held(lock):
                first = bench.first(seed)
                if "first" in todo:
                    BOOK.tell({"condition": "first", "seed": seed, **bench.judged_on_both(first)})
            for name in names:
                if name in todo and time.monotonic() < until:
                    with held(lock):
                        BOOK.tell({"condition": name, "seed": seed, **bench.second(first, CONDITIONS[name], seed)})


class _Bench(Bench):
    def __init__(self, scratch: Path, old: Task, new: Task) -> None:
        super().__init__(scratch)
        self._old, self._new = old, new
        self._rows = {
            task.name: write_dataset(scratch / task.name, [{"messages": task.messages(row)} for row in task.train])
            for task in (old, new)
        }

    def first(self, seed: int) -> Path:
        """The checkpoint of the old task."""
        return self._train(OLD, {"max_steps": FIRST, "track_importance": True}, seed)

    def second(self, first: Path, changes: Mapping[str, Any], seed: int) -> dict[str, Any]:
        began = time.monotonic()
        saved = self._train(NEW, {"max_steps": SECOND, **changes}, seed, begins=first)
        return {"seconds": round(time.monotonic() - began, 1), **self.judged_on_both(saved)}

    def judged_on_both(self, saved: Path) -> dict[str, float]:
        found = {}
        for name, task in (("old", self._old), ("new", self._new)):
            score, loss = self._judge(task, saved)
            found |= {f"{name}_score": round(score, 4), f"{name}_loss": round(loss, 4)}
        return found

    def _train(self, rows: str, changes: Mapping[str, Any], seed: int, *, begins: Path | None = None) -> Path:
        values = SETTINGS | changes | {"seed": seed}
        fields: dict[str, Any] = {"dataset": self._rows[rows]}
        if begins is not None:
            fields["weights_from"] = CheckpointRef(
                step=int(begins.name.removeprefix("step-")), path=str(begins), digest=digest_of(begins)
            )
        if values["continual"] != "none":
            fields["old_dataset"] = self._rows[OLD]
        job = Path(tempfile.mkdtemp(dir=self._scratch))
        folder = write_spec(job, model=model_ref(self._model), values=values, seed=seed, **fields)
        result = run_here(sft.main, folder)
        assert result.outcome == "succeeded", result
        return _last_checkpoint(job)


# -- the page --------------------------------------------------------------------------------------------------------


def section() -> str:
    lines = [
        "## A new task on a tuned model",
        "",
        f"First {FIRST} steps of naming a message's topic, then from there {SECOND} steps of writing an order as one "
        "line (LoRA r 8 on all linear layers, rate 1e-3, eight rows a step, 64 rows each, 40 held out). Forgotten: how "
        "far the loss on held-out rows of the old task rose over the new one; less: how much of that was saved against "
        "doing nothing, seed by seed. Mean and standard deviation over seeds. "
        "`python -m tests.bench.methods.forgetting`.",
        "",
        "| while the new task is learned | seeds | old loss | old score | new loss | new score | forgotten | less |",
        "|---|---|---|---|---|---|---|---|",
    ]
    by_seed = {(line["condition"], line["seed"]): line for line in BOOK.lines()}
    for name in ("first", *CONDITIONS):
        found = [by_seed[name, seed] for seed in SEEDS if (name, seed) in by_seed]
        if found:
            lines.append(_row(name, found, by_seed))
    return "\n".join([*lines, ""])


def _row(name: str, found: list[dict[str, Any]], by_seed: Mapping[tuple[str, int], dict[str, Any]]) -> str:
    cells = [spread([each[key] for each in found], 2) for key in ("old_loss", "old_score", "new_loss", "new_score")]
    label = "(before it)" if name == "first" else name
    if name == "first":
        return f"| {label} | {len(found)} | {' | '.join(cells)} | | |"
    forgotten = [each["old_loss"] - by_seed["first", each["seed"]]["old_loss"] for each in found]
    less = ""
    if name != "nothing":
        bare = [
            by_seed["nothing", each["seed"]]["old_loss"] - by_seed["first", each["seed"]]["old_loss"] for each in found
        ]
        less = f"{fmean(1 - kept / lost for kept, lost in zip(forgotten, bare, strict=True)):.0%}".replace("%", " %")
    return f"| {label} | {len(found)} | {' | '.join(cells)} | {spread(forgotten, 2)} | {less} |"


if __name__ == "__main__":
    main()
