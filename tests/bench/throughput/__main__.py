"""Tokens a second and peak memory of one fine-tuning, by the studio, trl and LLaMA-Factory in turn.

    python -m tests.bench.throughput --rounds 3 [--llamafactory PATH/TO/bin/python]

Same model, rows, LoRA, batch and steps; processes of their own, one after the other, round after round, so that a busy
moment hits all. The first step of each is left out. Tokens are those of the rows, without padding. A processor second
is one that the process itself used: it says the same on a busy machine. Results go to `results.jsonl`.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from studio.paths import PROJECT_ROOT
from tests.bench.machine import load
from tests.bench.throughput.contenders import CONTENDERS

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
FACTORY, BEST = "llamafactory", "trl at its best"
ROWS, SYSTEM = 96, "Answer in one sentence."
PLAN = {
    "max_steps": 6,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 8,
    "max_length": 256,
    "lora_r": 8,
    "lora_alpha": 16,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--llamafactory", type=Path, help="the interpreter of an environment that has it")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    asked = parser.parse_args()
    plan = PLAN | {"threads": asked.threads} | rows_and_model()
    names = [name for name in asked.only if name != FACTORY or asked.llamafactory]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(asked.rounds):
        for name in names:
            told = run(name, plan, asked.llamafactory if name == FACTORY else None)
            found[name].append(told)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"contender": name, "threads": asked.threads, "load": load(), **told}) + "\n")
    print(table(found))  # noqa: T201


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
    return {"model": str(model), "rows": rows, "tokens_a_row": statistics.fmean(cut)}


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
        "peak_bytes": told["peak_bytes"],
        "losses": told["losses"],
    }


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Medians over the rounds; what a processor second does is compared with trl at its best."""
    lines = [
        "| | tokens a second | tokens a processor second | of trl's best | peak GiB | loss, first and last step |",
        "|---|---|---|---|---|---|",
    ]
    compared = found.get(BEST) or next(iter(found.values()))
    best = _median(compared, "tokens_a_processor_second")
    for name, runs in found.items():
        each = _median(runs, "tokens_a_processor_second")
        peak = _median(runs, "peak_bytes") / 2**30
        first, last = (statistics.fmean(run["losses"][place] for run in runs) for place in (0, -1))
        speed = _median(runs, "tokens_a_second")
        lines.append(
            f"| {name} | {speed:.0f} | {each:.0f} | {each / best:.2f} | {peak:.2f} | {first:.3f}, {last:.3f} |"
        )
    return "\n".join(lines)


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


if __name__ == "__main__":
    main()
