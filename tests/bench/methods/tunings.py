"""What each way of tuning brings: `python -m tests.bench.methods.tunings --minutes 30 [--lock FILE] [--only NAME ...]`.

The task of the recipe bench that names a message's topic. The studio trains the starter model for a fixed number of
steps with what its form fills in for the way of tuning; where another rate was tried, it stands beside it. A result is
a line of `results.jsonl` as soon as it is there, and what stands there is not run again. `--page` writes the table
into `docs/methods.md`.
"""

import argparse
import gc
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.advisor.complete import complete
from studio.memory.adapters import trained as counted
from studio.memory.stack import installed_stack
from studio.params.tunings import is_compressed, keeps_model
from tests.bench.methods.book import Book, held
from tests.bench.recipes.runs import SAVE_ONCE, Bench, _figures, _last_checkpoint
from tests.bench.recipes.tasks import tasks
from tests.trainers.jobs import model_ref, run_here, write_spec
from trainers import sft
from trainers.models.generation import Place

BOOK = Book("tunings")
STEPS, SEED = 12, 1
TURN_SECONDS = 300.0
"""A lock is given back after this long, and asked for again."""

WAYS: Mapping[str, dict[str, Any]] = {
    "LoRA": {},
    "prompt tuning": {"tuning": "prompt_tuning"},
    "IA3": {"tuning": "ia3"},
    "layer norms": {"tuning": "ln_tuning"},
    "top layers": {"tuning": "freeze"},
    "bottleneck adapters": {"tuning": "bottleneck"},
    "prefix tuning": {"tuning": "prefix_tuning"},
    "p-tuning": {"tuning": "p_tuning"},
    "PiSSA": {"init_lora_weights": "pissa"},
    "LoRA+": {"loraplus_lr_ratio": 16.0, "learning_rate": 5e-4},
    "QLoRA, 4 bits": {"tuning": "qlora"},
    "QLoRA, 8 bits": {"tuning": "qlora", "load_in_8bit": True},
    "full": {"tuning": "full"},
    "IA3, 1e-2": {"tuning": "ia3", "learning_rate": 1e-2},
    "layer norms, 1e-2": {"tuning": "ln_tuning", "learning_rate": 1e-2},
    "top layers, 5e-4": {"tuning": "freeze", "learning_rate": 5e-4},
    "prefix tuning, 1e-2": {"tuning": "prefix_tuning", "learning_rate": 1e-2},
    "p-tuning, 1e-2": {"tuning": "p_tuning", "learning_rate": 1e-2},
    "prompt tuning, 1e-1": {"tuning": "prompt_tuning", "learning_rate": 1e-1},
    "full, 1e-4": {"tuning": "full", "learning_rate": 1e-4},
    "full, 3e-4": {"tuning": "full", "learning_rate": 3e-4},
    "top layers, 1e-3": {"tuning": "freeze", "learning_rate": 1e-3},
    "IA3, 3e-2": {"tuning": "ia3", "learning_rate": 3e-2},
    "layer norms, 3e-2": {"tuning": "ln_tuning", "learning_rate": 3e-2},
    "prompt tuning, 3e-1": {"tuning": "prompt_tuning", "learning_rate": 3e-1},
    "p-tuning, 3e-2": {"tuning": "p_tuning", "learning_rate": 3e-2},
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
}
UNTOUCHED = "untouched"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lock", type=Path, help="held while something is measured, a few minutes at a time")
    parser.add_argument("--only", nargs="*", default=[UNTOUCHED, *WAYS])
    parser.add_argument("--page", action="store_true", help="only write the table")
    asked = parser.parse_args()
    if not asked.page:
        warnings.simplefilter("ignore", FutureWarning)
        measure(asked.only, until=time.monotonic() + 60 * asked.minutes, lock=asked.lock)
    BOOK.write(section())


def measure(names: list[str], *, until: float, lock: Path | None) -> None:
    known = {line["way"] for line in BOOK.lines()}
    todo = [name for name in names if name not in known]
    if not todo:
        return
    (task,) = (each for each in tasks() if each.name == "topic")
    with tempfile.TemporaryDirectory() as scratch:
        bench = _Bench(Path(scratch))
        facts = None
        while todo and time.monotonic() < until:
            with held(lock):
                turn = min(until, time.monotonic() + TURN_SECONDS)
                facts = facts or bench.look(task)
                while todo and time.monotonic() < turn:
                    name = todo.pop(0)
                    found = bench.untouched(task) if name == UNTOUCHED else bench.train(task, facts, WAYS[name])
                    BOOK.tell({"way": name, "seed": SEED, "rows": task.rows_hash, **found})


class _Bench(Bench):
    def untouched(self, task: Any) -> dict[str, Any]:
        return _rounded(*self.judged(task, Place(str(self._model))))

    def train(self, task: Any, facts: Any, changes: dict[str, Any]) -> dict[str, Any]:
        given = {"model_name_or_path": "starter", "dataset": "task", "seed": SEED, "validation_split": 0.0, **changes}
        values, _ = complete({**given, "max_steps": STEPS, "warmup_ratio": 0.0}, facts)
        trained = counted(facts.inventory, values, installed_stack()).parameters
        self._models.forget()
        gc.collect()
        with self._job(task) as (job, dataset):
            values = values | {"save_steps": SAVE_ONCE}
            folder = write_spec(job, dataset=dataset, model=model_ref(self._model), values=values, seed=SEED)
            figures = _figures(run_here(sft.main, folder))
            found = self.judged(task, self._place(values, _last_checkpoint(job)))
        return _rounded(*found) | {
            "learning_rate": values["learning_rate"],
            "share": trained / facts.inventory.parameters,
            "steps": figures["steps"],
            "seconds": round(figures["seconds"], 1),
            "peak_bytes": figures["peak_memory_bytes"],
        }

    def _place(self, values: dict[str, Any], trained: Path) -> Place:
        if keeps_model(values["tuning"]):
            return Place(str(trained))
        in_8bit = bool(values.get("load_in_8bit"))
        in_4bit = is_compressed(values["tuning"]) and not in_8bit
        return Place(str(self._model), str(trained), in_4bit, load_in_8bit=in_8bit)


def _rounded(score: float, loss: float) -> dict[str, float]:
    return {"score": round(score, 4), "loss": round(loss, 4)}


# -- the page --------------------------------------------------------------------------------------------------------


def section() -> str:
    found = sorted(BOOK.lines(), key=lambda line: (line["way"] != UNTOUCHED, -line["score"], line["loss"]))
    lines = [
        "## What is trained",
        "",
        f"Naming a message's topic, 64 rows, {STEPS} steps of 8, the form's own filling for the starter model (135M) "
        "on a CPU. One seed, so small differences say nothing. Memory is the whole process; seconds depend on what "
        "else the machine did. `python -m tests.bench.methods.tunings`.",
        "",
        "| | rate | weights trained | held-out score | held-out loss | seconds | peak GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_row(each) for each in found), ""])


def _row(line: Mapping[str, Any]) -> str:
    scores = f"{line['score']:.2f} | {line['loss']:.3f}"
    if line["way"] == UNTOUCHED:
        return f"| {UNTOUCHED} | | | {scores} | | |"
    share, peak = f"{100 * line['share']:.3g} %", line["peak_bytes"] / 2**30
    return f"| {line['way']} | {line['learning_rate']:g} | {share} | {scores} | {line['seconds']:.0f} | {peak:.2f} |"


if __name__ == "__main__":
    main()
