"""What each way of tuning brings: `python -m tests.bench.methods.tunings --minutes 30 [--lock FILE] [--only NAME ...]`.

The task of the recipe bench that names a message's topic. The studio trains the starter model for a fixed number of
steps with what its form fills in for the way of tuning; where another rate or more steps were tried, they stand beside
it. Each in a process of its own. A result is a line of `results.jsonl` as soon as it is there, and what stands there
under the same `PLAN` is not run again. `--page` writes the table into `docs/methods.md`.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from studio.advisor.complete import complete
from studio.memory.adapters import trained as counted
from studio.memory.estimate import Estimate, Shapes, estimate
from studio.memory.inventory import Inventory, from_config
from studio.memory.stack import installed_stack
from studio.memory.survey import SHIPPED, known
from studio.params.tunings import is_compressed, keeps_model
from tests.bench.methods.book import Book, alone, held
from tests.bench.recipes.runs import SAVE_ONCE, Bench, _figures, _last_checkpoint
from tests.bench.recipes.tasks import tasks
from tests.bench.throughput.recording import Recorder, watching
from tests.trainers.jobs import model_ref, run_here, write_spec
from tests.unit.memory.test_estimate import LLAMA_8B, card, settings
from trainers import sft
from trainers.models.generation import Place

BOOK = Book("tunings")
STEPS, SEED = 12, 1
PLAN = f"{STEPS} steps, alone"

LORA, FULL = "LoRA", "full"
WAYS: Mapping[str, dict[str, Any]] = {
    LORA: {},
    FULL: {"tuning": "full"},
    "top layers": {"tuning": "freeze"},
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "PiSSA": {"init_lora_weights": "pissa"},
    "LoRA+": {"loraplus_lr_ratio": 16.0, "learning_rate": 5e-4},
    "QLoRA, 4 bits": {"tuning": "qlora"},
    "QLoRA, 8 bits": {"tuning": "qlora", "load_in_8bit": True},
    "prefix tuning": {"tuning": "prefix_tuning"},
    "bottleneck adapters": {"tuning": "bottleneck"},
    "IA3": {"tuning": "ia3"},
    "layer norms": {"tuning": "ln_tuning"},
    "prompt tuning": {"tuning": "prompt_tuning"},
    "p-tuning": {"tuning": "p_tuning"},
    "prompt tuning, 60 steps": {"tuning": "prompt_tuning", "max_steps": 60},
    "p-tuning, 60 steps": {"tuning": "p_tuning", "max_steps": 60},
    "full, 1e-5": {"tuning": "full", "learning_rate": 1e-5},
    "full, 1e-4": {"tuning": "full", "learning_rate": 1e-4},
    "top layers, 1e-5": {"tuning": "freeze", "learning_rate": 1e-5},
    "top layers, 5e-4": {"tuning": "freeze", "learning_rate": 5e-4},
    "layer norms, 1e-3": {"tuning": "ln_tuning", "learning_rate": 1e-3},
    "layer norms, 3e-2": {"tuning": "ln_tuning", "learning_rate": 3e-2},
    "IA3, 3e-3": {"tuning": "ia3", "learning_rate": 3e-3},
    "IA3, 1e-2": {"tuning": "ia3", "learning_rate": 1e-2},
    "prompt tuning, 3e-1": {"tuning": "prompt_tuning", "learning_rate": 3e-1},
    "p-tuning, 3e-2": {"tuning": "p_tuning", "learning_rate": 3e-2},
}
UNTOUCHED = "untouched"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lock", type=Path, help="held while something is measured")
    parser.add_argument("--only", nargs="*", default=[UNTOUCHED, *WAYS])
    parser.add_argument("--one", help="measure this in this process")
    parser.add_argument("--page", action="store_true", help="only write the table")
    asked = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    if asked.one:
        BOOK.tell({"way": asked.one, "seed": SEED, "plan": PLAN, **measured(asked.one)})
        return
    if not asked.page:
        measure(asked.only, until=time.monotonic() + 60 * asked.minutes, lock=asked.lock)
    BOOK.write(section())


def measure(names: list[str], *, until: float, lock: Path | None) -> None:
    done = {line["way"] for line in _results()}
    for name in names:
        if name not in done and time.monotonic() < until:
            with held(lock):
                alone(BOOK.room, name)


def measured(name: str) -> dict[str, Any]:
    (task,) = (each for each in tasks() if each.name == "topic")
    with tempfile.TemporaryDirectory() as scratch:
        bench = _Bench(Path(scratch))
        found = bench.untouched(task) if name == UNTOUCHED else bench.train(task, WAYS[name])
    return {"rows": task.rows_hash, **found}


def _results() -> list[dict[str, Any]]:
    return [line for line in BOOK.lines() if line["plan"] == PLAN]


class _Bench(Bench):
    def untouched(self, task: Any) -> dict[str, Any]:
        return _rounded(*self.judged(task, Place(str(self._model))))

    def train(self, task: Any, changes: dict[str, Any]) -> dict[str, Any]:
        facts, recorder = self.look(task), Recorder()
        given = {"model_name_or_path": "starter", "dataset": "task", "seed": SEED, "validation_split": 0.0}
        values, _ = complete({**given, "max_steps": STEPS, "warmup_ratio": 0.0, **changes}, facts)
        trained = counted(facts.inventory, values, installed_stack()).parameters
        with self._job(task) as (job, dataset), watching(recorder):
            values = values | {"save_steps": SAVE_ONCE}
            folder = write_spec(job, dataset=dataset, model=model_ref(self._model), values=values, seed=SEED)
            before = psutil.Process().memory_info().rss
            figures = _figures(run_here(sft.main, folder))
            found = self.judged(task, self._place(values, _last_checkpoint(job)))
        return _rounded(*found) | {
            "learning_rate": values["learning_rate"],
            "share": trained / facts.inventory.parameters,
            "steps": figures["steps"],
            "processor_seconds_a_step": round(recorder.usual_processor_seconds, 3),
            "peak_bytes": figures["peak_memory_bytes"],
            "bytes_before": before,
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
        "on a CPU; behind a comma what was chosen instead. One seed, so small differences say nothing. Each in a "
        "process of its own: its peak, what of that came with the training (the rest are libraries), and processor "
        "seconds a step, the median without the first; both empty where several ways shared a "
        "process. `python -m tests.bench.methods.tunings`.",
        "",
        "| | rate | weights trained | held-out score | held-out loss | seconds a step | peak GiB | for training |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(each) for each in found),
        "",
    ]
    return "\n".join([*lines, *claims({line["way"]: line for line in found})])


def _row(line: Mapping[str, Any]) -> str:
    scores = f"{line['score']:.2f} | {line['loss']:.3f}"
    if line["way"] == UNTOUCHED:
        return f"| {UNTOUCHED} | | | {scores} | | | |"
    cells = [
        f"{line['learning_rate']:g}",
        _per_cent(line["share"]),
        scores,
    ]
    if line["plan"] != PLAN:
        return f"| {line['way']} | {' | '.join(cells)} | | | |"
    cells += [
        f"{line['processor_seconds_a_step']:.2f}",
        f"{line['peak_bytes'] / 2**30:.2f}",
        f"{_for_training(line) / 2**30:.2f}",
    ]
    return f"| {line['way']} | {' | '.join(cells)} |"


def _for_training(line: Mapping[str, Any]) -> int:
    return line["peak_bytes"] - line["bytes_before"]


def _per_cent(share: float) -> str:
    return f"{100 * share:.3g} %"


# -- the claims ------------------------------------------------------------------------------------------------------


def claims(by_way: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is said of LoRA beside what was counted, predicted and measured; nothing before both were measured."""
    if LORA not in by_way or FULL not in by_way:
        return []
    lora, full = by_way[LORA], by_way[FULL]
    large = {tuning: _of_8b(tuning) for tuning in ("full", "lora", "qlora")}
    saved = {tuning: _less(each.allocated_bytes, large["full"].allocated_bytes) for tuning, each in large.items()}
    faster = full["processor_seconds_a_step"] / lora["processor_seconds_a_step"]
    share_of_8b = counted(_llama_8b(), _settings("lora"), installed_stack()).parameters / _llama_8b().parameters
    return [
        "What is said of LoRA, and what was seen:",
        "",
        f"- *It trains 0.1 to 1 % of the weights.* {_per_cent(lora['share'])} of the starter model, "
        f"{_per_cent(share_of_8b)} of a Llama 3 8B (r 8 on all linear layers): the share falls as layers get wider.",
        f"- *It saves 70 % of the memory.* Of what the training itself took here, "
        f"{_less(_for_training(lora), _for_training(full))}: at 135M activations and logits, which it does not "
        f"shrink, are most. Predicted for a Llama 3 8B (bfloat16, AdamW, one row of 1,024 tokens, activations "
        f"recomputed): {saved['lora']}, from {_gib(large['full'])} to {_gib(large['lora'])} GiB, and {saved['qlora']} "
        f"with QLoRA ({_gib(large['qlora'])} GiB).",
        f"- *It is 2 to 5 times as fast.* {faster:.2f} times, in processor seconds a step: the gradient still passes "
        "through every layer, and what is saved is the gradient of the weights and their step.",
        "",
    ]


def _of_8b(tuning: str) -> Estimate:
    return estimate(_llama_8b(), _settings(tuning), shapes=Shapes(1024), machine=card(80))


def _llama_8b() -> Inventory:
    return known(LLAMA_8B, cache=SHIPPED) or from_config(LLAMA_8B)


def _settings(tuning: str) -> dict[str, Any]:
    return settings(tuning=tuning, max_length=1024, gradient_checkpointing=True)


def _less(now: int, before: int) -> str:
    return f"{1 - now / before:.0%}".replace("%", " %")


def _gib(found: Estimate) -> str:
    return f"{found.allocated_bytes / 2**30:.1f}"


if __name__ == "__main__":
    main()
