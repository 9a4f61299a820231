"""What learning from rewards and preferences brings: `python -m tests.bench.rl --minutes 60 [--tasks sums]`

GRPO, RLOO and PPO train the starter model on tasks whose answers a rule can check, with the same number of answers
each; DPO, ORPO, KTO and a reward model on pairs of answers (`--tasks pairs`). A result is a line of `results.jsonl` as
soon as it is there, and what stands there is not run again. `--page` writes docs/rl.md.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.rl import page, preferences
from tests.bench.rl.results import UNTOUCHED, append, read
from tests.bench.rl.runs import METHODS, Bench
from tests.bench.rl.tasks import tasks

SEEDS = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="time after which no further run is begun")
    parser.add_argument("--tasks", nargs="*", default=[preferences.NAME, *tasks()])
    parser.add_argument("--methods", nargs="*", default=[*METHODS, *preferences.METHODS])
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--set", type=json.loads, default={}, metavar="JSON", help="settings to try instead")
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args()
    if not asked.page:
        warnings.simplefilter("ignore", FutureWarning)
        measure(asked, until=time.monotonic() + 60 * asked.minutes)
    page.write()


def measure(asked: argparse.Namespace, *, until: float) -> None:
    done = {_identity(line) for line in read()}
    with tempfile.TemporaryDirectory() as scratch:
        benches = Bench(Path(scratch)), preferences.Bench(Path(scratch))
        for wanted in _all(asked):
            if _identity(wanted) in done:
                continue
            if time.monotonic() > until:
                return
            append(wanted | _measured(wanted, *benches))
            sys.stdout.write(json.dumps(wanted) + "\n")


def _measured(wanted: dict[str, Any], bench: Bench, of_pairs: preferences.Bench) -> dict[str, Any]:
    method, is_untouched = wanted["method"], wanted["method"] == UNTOUCHED
    if wanted["task"] == preferences.NAME:
        if is_untouched:
            return {"right": of_pairs.judged()}
        return of_pairs.train(method, wanted["changes"], seed=wanted["seed"])
    task = tasks()[wanted["task"]]
    if is_untouched:
        return bench.judged(task)
    values = bench.settings(task, method, wanted["changes"], seed=wanted["seed"])
    return {"learning_rate": values["learning_rate"], **bench.train(task, values)}


def _all(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for task in asked.tasks:
        yield {"task": task, "method": UNTOUCHED, "seed": 0, "changes": {}}
    for seed in asked.seeds:
        for task in asked.tasks:
            fitting = preferences.METHODS if task == preferences.NAME else METHODS
            for method in (each for each in asked.methods if each in fitting):
                yield {"task": task, "method": method, "seed": seed, "changes": asked.set}


def _identity(line: dict[str, Any]) -> tuple[str, str, int, str]:
    return line["task"], line["method"], line["seed"], json.dumps(line["changes"], sort_keys=True)


if __name__ == "__main__":
    main()
