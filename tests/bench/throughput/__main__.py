"""Tokens a second and peak memory of one fine-tuning, by the studio, trl and LLaMA-Factory in turn.

    python -m tests.bench.throughput --rounds 3 [--llamafactory PATH/TO/bin/python]

Same model, rows, LoRA, batch, seed and steps; processes of their own, one after the other, round after round, so that a
busy moment hits all. The studio's run has what its form fills in for this machine. The first step of each is left out.
Tokens are those of the rows, without padding. A processor second is one that the process itself used: it says the same
on a busy machine. Results go to `results.jsonl`, the table of all that have the same `PLAN` to `docs/methods.md`
(`--page` only writes it).
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio import cpu_speed
from studio.hardware import read_machine
from studio.paths import PROJECT_ROOT
from tests.bench.machine import load
from tests.bench.methods.book import Book
from tests.bench.throughput.contenders import CONTENDERS

HERE = Path(__file__).parent
BOOK = Book("throughput", HERE / "results.jsonl")
TRL, FACTORY = "trl", "llamafactory"
ROWS, SYSTEM = 96, "Answer in one sentence."
PLAN = {
    "max_steps": 8,
    "seed": 42,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 8,
    "max_length": 256,
    "lora_r": 8,
    "lora_alpha": 16,
}
HELD_ALIKE = {
    "warmup_ratio": 0.0,
    "lora_dropout": 0.0,
    "weight_decay": 0.0,
    "gradient_accumulation_steps": 1,
    "validation_split": 0.0,
    "save_steps": 10_000,
}
"""What the others leave at nothing, and saving, which is not measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--llamafactory", type=Path, help="the interpreter of an environment that has it")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--page", action="store_true", help="only write the table")
    asked = parser.parse_args()
    if not asked.page:
        measure(asked.only, asked.rounds, asked.threads, asked.llamafactory)
    BOOK.write(section())


def measure(names: list[str], rounds: int, threads: int, factory: Path | None) -> None:
    if factory is None and FACTORY in names:
        print("LLaMA-Factory is left out: name an environment that has it with --llamafactory.")  # noqa: T201
        names = [name for name in names if name != FACTORY]
    plan = PLAN | {"threads": threads} | rows_and_model()
    for _ in range(rounds):
        for name in names:
            told = run(name, plan, factory if name == FACTORY else None)
            BOOK.tell({"contender": name, "plan": _key(), "threads": threads, "load": load(), **told})


def rows_and_model() -> dict[str, Any]:
    from tests.starter import whole_starter
    from trainers.models.loading import load_tokenizer
    from trainers.rows.data import Renderer, Sample
    from trainers.starter import corpus_pairs

    model = whole_starter().starter_model
    pairs = list(dict.fromkeys(corpus_pairs("ai")))[:ROWS]
    rows = [
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
        }
        for question, answer in pairs
    ]
    renderer = Renderer(load_tokenizer(model))
    lengths = [len(renderer.render(n, Sample(messages=row["messages"])).input_ids) for n, row in enumerate(rows)]
    cut = [min(length, PLAN["max_length"]) for length in lengths]
    filled_in = as_the_form_has_it(model, rows)
    return {"model": str(model), "rows": rows, "tokens_a_row": statistics.fmean(cut), "filled_in": filled_in}


def as_the_form_has_it(model: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The plan's values, and around them what the form fills in on this machine."""
    from studio.advisor.complete import complete
    from studio.advisor.facts import facts_from
    from tests.trainers.jobs import model_ref, run_here, write_dataset, write_spec
    from trainers import inspect

    with tempfile.TemporaryDirectory() as scratch:
        dataset = write_dataset(Path(scratch) / "v1", rows)
        job = write_spec(Path(scratch) / "look", kind="inspect", dataset=dataset, model=model_ref(model))
        found = run_here(inspect.main, job)
        speed = cpu_speed.measure(Path(scratch))
    machine = replace(read_machine(), cpu_dtype=speed.dtype if speed else "float32")
    facts = facts_from(found.figures, machine=machine, rows=len(rows))
    values, _ = complete({"model_name_or_path": "starter", "dataset": "rows", **PLAN, **HELD_ALIKE}, facts)
    return values


def run(name: str, plan: dict[str, Any], python: Path | None) -> dict[str, Any]:
    """One contender's run, in tokens a second."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "plan.json").write_text(json.dumps(plan), "utf-8")
        if python is None:
            command = [sys.executable, "-m", "tests.bench.throughput.contenders"]
        else:
            for part in ("contenders.py", "recording.py"):
                shutil.copyfile(HERE / part, scratch / part)
            command = [str(python), str(scratch / "contenders.py")]
        made = subprocess.run(
            [*command, name, str(scratch / "plan.json"), str(scratch / "result.json")],
            cwd=PROJECT_ROOT if python is None else scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"{name} ended with {made.returncode}:\n{made.stderr[-3000:]}")
        told = json.loads((scratch / "result.json").read_text("utf-8"))
    tokens = plan["tokens_a_row"] * plan["per_device_train_batch_size"]
    return {
        "tokens_a_second": tokens / statistics.median(told["seconds"][1:]),
        "tokens_a_processor_second": tokens / statistics.median(told["processor_seconds"][1:]),
        "processor_seconds": round(sum(told["processor_seconds"]), 1),
        "peak_bytes": told["peak_bytes"],
        "losses": told["losses"],
    }


def _key() -> str:
    return json.dumps(PLAN | HELD_ALIKE)


# -- the page --------------------------------------------------------------------------------------------------------


def section() -> str:
    """Medians over the rounds, compared with the quickest of trl's."""
    lines = [line for line in BOOK.lines() if line["plan"] == _key()]
    found = {name: [each for each in lines if each["contender"] == name] for name in CONTENDERS}
    found = {name: runs for name, runs in found.items() if runs}
    return "\n".join(
        [
            "## Speed and memory beside others",
            "",
            f"LoRA r 8 on all linear layers of the starter model (135M) on a CPU, {PLAN['max_steps']} steps of 8 rows, "
            "same rows, seed and rate; the studio with what its form fills in around that for this machine, the others "
            "as they come, and trl as quick as its options make it here (activations kept). "
            "Median of the runs, each in a process of its own, in turn. Tokens are those of the rows, without "
            "padding, and the ratio is that of tokens a processor second to the quickest of trl's; all steps, in "
            "processor seconds, count the first, too. Loss: mean over the steps, and how far the farthest step lies "
            "from trl's in float32. `python -m tests.bench.throughput`. "
            "Unsloth has no contender: it does not start without a GPU.",
            "",
            "| | runs | tokens a second | a processor s | of trl's best | all steps | peak GiB | loss | farthest |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_row(name, runs, found) for name, runs in found.items()),
            "",
        ]
    )


def _row(name: str, runs: list[dict[str, Any]], found: dict[str, list[dict[str, Any]]]) -> str:
    best = max(_median(each, "tokens_a_processor_second") for other, each in found.items() if other.startswith(TRL))
    per_processor = _median(runs, "tokens_a_processor_second")
    curve, compared = _curve(runs), _curve(found["trl, float32"])
    farthest = max(abs(loss - other) for loss, other in zip(curve, compared, strict=True))
    cells = [
        f"{len(runs)}",
        f"{_median(runs, 'tokens_a_second'):.0f}",
        f"{per_processor:.0f}",
        f"{per_processor / best:.2f}",
        f"{_median(runs, 'processor_seconds'):.0f} s",
        f"{_median(runs, 'peak_bytes') / 2**30:.2f}",
        f"{statistics.fmean(curve):.3f}",
        f"{farthest:.3f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _curve(runs: list[dict[str, Any]]) -> list[float]:
    """Mean of the runs, step by step."""
    return [statistics.fmean(losses) for losses in zip(*(run["losses"] for run in runs), strict=True)]


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


if __name__ == "__main__":
    main()
