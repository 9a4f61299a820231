"""How long the search for settings that fit takes: the best of five for each model, card and effective batch.

    python -m tests.bench.fit [--longest 2000] [--times 5]

Inventories are those that ship, layer traces included. The first look at a model (packages read, table built) is
measured apart.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import product

from studio.memory.estimate import Shapes
from studio.memory.fit import Fit, fit
from studio.memory.inventory import Inventory, from_config
from studio.memory.survey import SHIPPED, known
from tests.bench.machine import load
from tests.unit.memory.test_estimate import CPU, LLAMA_8B, SMOL, card, settings
from tests.unit.memory.test_fit import LLAMA_70B

MODELS = {"135M": SMOL, "8B": LLAMA_8B, "70B": LLAMA_70B}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--longest", type=int, default=2000)
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args()
    _tell(f"load {load()}")
    _tell(f"{'model':>6} {'memory':>8} {'tuning':>7} {'batch':>6} {'ms':>7}  answer")
    slowest = 0.0
    for (name, config), (place, machine) in product(MODELS.items(), _machines()):
        model = known(config, cache=SHIPPED) or from_config(config)
        for tuning, wanted in product(("full", "lora"), (16, 240)):
            begun = time.perf_counter()
            found = _solve(model, machine, tuning, wanted, chosen.longest)
            first = time.perf_counter() - begun
            best = min(_timed(model, machine, tuning, wanted, chosen.longest) for _ in range(chosen.times))
            slowest = max(slowest, best)
            answer = found.estimate.verdict + (" (rows cut)" if found.cuts_rows else "")
            _tell(
                f"{name:>6} {place:>8} {tuning:>7} {wanted:>6} {1000 * best:>7.1f}  {answer}, first {1000 * first:.0f}"
            )
    _tell(f"slowest of the bests: {1000 * slowest:.1f} ms")


def _machines() -> Iterator[tuple[str, object]]:
    yield "main", CPU
    for gib in (12, 24, 80):
        yield f"{gib} GiB", card(gib)


def _solve(model: Inventory, machine, tuning: str, wanted: int, longest: int) -> Fit:
    values = settings(tuning=tuning, max_length=4096)
    return fit(model, values, shapes=Shapes(longest), machine=machine, chosen=(), wanted_batch=wanted)


def _timed(model: Inventory, machine, tuning: str, wanted: int, longest: int) -> float:
    begun = time.perf_counter()
    _solve(model, machine, tuning, wanted, longest)
    return time.perf_counter() - begun


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
