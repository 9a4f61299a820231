"""Measure what the form should fill in: presets and defaults on the starter model, by held-out score.

    python -m tests.bench.recipes --minutes 60 [--recipes default,rate-1e-3] [--seeds 1,2]
    python -m tests.bench.recipes --table

A call does what is missing, the important comparisons first, begins no run after its time, and appends each result to
`results.jsonl`; the next call goes on there. `--table` writes docs/recipes.md from what is measured.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from studio.paths import PROJECT_ROOT
from tests.bench.recipes import results
from tests.bench.recipes.page import page
from tests.bench.recipes.plan import SEEDS, Plan, work
from tests.bench.recipes.settings import RECIPES
from tests.bench.recipes.tasks import tasks

PAGE = PROJECT_ROOT / "docs" / "recipes.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="time after which no further run is begun")
    parser.add_argument("--recipes", type=_names, default=list(RECIPES), help="only these, by commas")
    parser.add_argument("--seeds", type=_numbers, default=list(SEEDS), help="only these, by commas")
    parser.add_argument("--table", action="store_true", help="write docs/recipes.md and measure nothing")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as scratch:
        from tests.bench.recipes.runs import Bench, versions

        bench = Bench(Path(scratch))
        plan = Plan(tasks(), bench.look)
        if arguments.table:
            PAGE.write_text(page(plan, results.read()), "utf-8")
            return
        wanted = plan.combinations(arguments.recipes, arguments.seeds)
        for done in work(plan, wanted, bench.measure, path=results.RESULTS, versions=versions(), until=until):
            _say(f"{done.task} {done.recipe} seed {done.seed}: score {done.score:.3f}, loss {done.loss:.3f}")


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = sorted(set(names) - set(RECIPES))
    if unknown:
        raise argparse.ArgumentTypeError(f"no recipe {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    return names


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
