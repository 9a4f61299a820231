"""What the studio costs a training run: CPU seconds of our trainer's process against plain trl doing the same run.

    python tests/bench/overhead.py [--pairs 5] [--steps 20]

Both train the starter model with LoRA on the same rows, one process each, taking turns; printed is each pair's ratio
and their median. The plain script saves its last step as ours does. Needs a quiet machine and some minutes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from studio.paths import workspace  # noqa: E402 - the checkout is not on the path before
from tests.trainers.jobs import SFT, model_ref, result_of, write_dataset, write_spec  # noqa: E402
from trainers.starter import make_starter_data, make_starter_model  # noqa: E402

THREADS = 1
"""Threads that wait for each other spin and count as CPU time, more of it the busier the machine: one cannot."""
PLAIN = """
    import json, sys
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer
    from studio.params.trl_names import lora_arguments, sft_arguments

    model_path, rows_path, values, output = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
    rows = [json.loads(line) for line in open(rows_path)]
    chat = [{"prompt": [{"role": "user", "content": row["prompt"]}],
             "completion": [{"role": "assistant", "content": row["completion"]}]} for row in rows]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32),
        args=SFTConfig(output_dir=output, report_to="none", use_cpu=True, disable_tqdm=True, **sft_arguments(values)),
        train_dataset=Dataset.from_list(chat),
        processing_class=AutoTokenizer.from_pretrained(model_path),
        peft_config=LoraConfig(**lora_arguments(values)),
    )
    trainer.train()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = workspace(Path(scratch) / "luthier").make()
        model, rows_path = make_starter_model(place), make_starter_data(place) / "trivia.jsonl"
        rows = [json.loads(line) for line in rows_path.read_text("utf-8").splitlines()]
        dataset = write_dataset(Path(scratch) / "data", rows)
        values = SFT | {
            "max_steps": arguments.steps,
            "save_steps": arguments.steps,
            "logging_steps": 1,
            "per_device_train_batch_size": 4,
        }
        ratios = []
        for pair in range(arguments.pairs):
            job = Path(scratch) / f"job{pair}"
            folder = write_spec(job, values=values, dataset=dataset, model=model_ref(model), threads=THREADS)
            studio = [sys.executable, "-m", "trainers.sft", str(folder)]
            script = [sys.executable, "-c", textwrap.dedent(PLAIN)]
            script += [str(model), str(rows_path), json.dumps(values), str(job / "plain")]
            if pair % 2:
                plain, ours = cpu_seconds(script), cpu_seconds(studio)
            else:
                ours, plain = cpu_seconds(studio), cpu_seconds(script)
            assert result_of(folder).outcome == "succeeded"
            ratios.append(ours / plain)
            report(f"pair {pair + 1}: ours {ours:.1f} s, plain trl {plain:.1f} s, ratio {ours / plain:.3f}")
        report(f"median ratio {statistics.median(ratios):.3f} (target 1.02)")


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one process, its end awaited."""
    threads = str(THREADS)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"ended with status {status}"
    return usage.ru_utime + usage.ru_stime


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
