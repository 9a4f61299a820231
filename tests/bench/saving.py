"""What saving costs a run of the starter model: seconds in which it saved, of all seconds that it trained.

    python -m tests.bench.saving [--tuning lora] [--steps 24] [--saves 4] [--long-from SECONDS]

`--saves` are asked for, evenly; how many the run took is told. Runs of more than half an hour save at a pace
(`trainers.checkpoints.pacing`); `--long-from` has that begin earlier, so that it shows in minutes: with `--tuning full`
a save is 1.6 GB, optimizer included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from studio.paths import PROJECT_ROOT
from tests.bench.machine import load
from tests.starter import whole_starter
from tests.trainers.jobs import SFT, events_of, model_ref, result_of, write_dataset, write_spec

RUN = """
import runpy, sys
from trainers.checkpoints import pacing
pacing.SHORT_RUN_SECONDS = float(sys.argv.pop(2))
runpy.run_module("trainers.sft", run_name="__main__", alter_sys=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuning", default="lora", choices=["lora", "qlora", "full"])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--saves", type=int, default=4)
    parser.add_argument("--long-from", type=float, default=1800.0, help="seconds from which a run counts as long")
    asked = parser.parse_args()
    place = whole_starter()
    rows = [json.loads(line) for line in (place.starter_data / "trivia.jsonl").read_text("utf-8").splitlines()]
    values = SFT | {
        "tuning": asked.tuning,
        "max_steps": asked.steps,
        "save_steps": max(1, asked.steps // asked.saves),
        "per_device_train_batch_size": 4,
        "lora_r": 16,
        "lora_alpha": 32,
        "learning_rate": 1e-5 if asked.tuning == "full" else 2e-4,
    }
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder) / "rows", rows)
        attempt = write_spec(
            Path(folder) / "job", values=values, dataset=dataset, model=model_ref(place.starter_model), threads=1
        )
        subprocess.run([sys.executable, "-c", RUN, str(attempt), str(asked.long_from)], cwd=PROJECT_ROOT, check=True)
        figures = result_of(attempt).figures
        saved = [event.data for event in events_of(attempt, "checkpoint")]
    share, size = figures["saving_seconds"] / figures["seconds"], max(each["size_bytes"] for each in saved)
    each = ", ".join(f"{one['seconds']:.1f} s at step {one['step']}" for one in saved)
    print(  # noqa: T201
        f"{asked.tuning}: {figures['seconds']:.0f} s, of these {figures['saving_seconds']:.1f} s saved, "
        f"{100 * share:.1f} %; {len(saved)} of {asked.saves} saves taken, {size / 1e6:.0f} MB: {each}; load {load()}"
    )


if __name__ == "__main__":
    main()
