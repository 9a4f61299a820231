"""A series of trials: `python -m tests.faults --trials 200`; what was done before is not done again.

Each trial is appended to results.jsonl as it ends; `--table` prints what docs/reliability.md shows. The seed of a trial
is its kind, tuning and number, so a failed one can be run again by itself: `--only "kill lora 17"`.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

from studio.jobs import processes
from tests.faults.nursery import Nursery
from tests.faults.studio import WEIGHTS, FaultStudio
from tests.faults.trials import TRIALS, undisturbed
from tests.starter import whole_starter
from tests.trainers.jobs import write_tiny_model

RESULTS = Path(__file__).with_name("results.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=70, help="of each kind and tuning")
    parser.add_argument("--tunings", nargs="*", choices=list(WEIGHTS), default=list(WEIGHTS))
    parser.add_argument("--only", help="one trial again, by its name")
    parser.add_argument("--table", action="store_true", help="print what was found so far and leave")
    asked = parser.parse_args()
    if asked.table:
        return
    known = {each["name"] for each in results()}
    names = [f"{kind} {tuning} {n}" for tuning in asked.tunings for n in range(asked.trials) for kind in TRIALS]
    run([asked.only] if asked.only else [name for name in names if name not in known])


def run(names: list[str]) -> None:
    """Do these trials in order, and tell each as it ends."""
    with tempfile.TemporaryDirectory() as folder, Nursery() as nursery, patch.object(processes, "start", nursery.start):
        studio = FaultStudio(
            Path(folder) / "studio", write_tiny_model(Path(folder) / "tiny", whole_starter().starter_model)
        )
        references = {}
        for name in names:
            kind, tuning, _ = name.rsplit(" ", 2)
            if tuning not in references:
                references[tuning] = undisturbed(studio, tuning)
            trial = TRIALS[kind](studio, tuning, references[tuning], random.Random(name))
            with RESULTS.open("a") as file:
                file.write(json.dumps({"name": name} | asdict(trial)) + "\n")
            sys.stderr.write(f"{'ok ' if trial.is_survived else 'NOT'} {name}: {trial.detail} {trial.problem}\n")
        studio.writer.close()


def results() -> list[dict]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table() -> str:
    """Tried and survived, by kind and tuning; a trial that was repeated counts as it ended last."""
    counts: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for each in {each["name"]: each for each in results()}.values():
        counts[each["kind"], each["tuning"]].append(each["is_survived"])
    lines = ["| what was done | tuning | tried | survived |", "|---|---|---|---|"]
    lines += [f"| {kind} | {tuning} | {len(ends)} | {sum(ends)} |" for (kind, tuning), ends in sorted(counts.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
