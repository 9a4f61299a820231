"""What the calculator says of public rows that it was not fitted to: `python -m tests.bench.held_out`.

Nothing in studio/memory is fitted to rows of tests/unit/memory/measured_public.csv: what layers keep follows from their
source (decoder/), and each number of coefficients.yaml from the library that it names. So every row is one that was
held back, and errors are told for each model, each way of training and each stack, as if it were the only new one.
`untold` takes one cause away at a time: what the rows would have missed without it.

What the driver shows is fitted (`bands.kept_besides` of coefficients.yaml: medians of these rows by the phase of the
peak), so there each model, and each tuning, is told from medians of all rows but its own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from statistics import fmean, median
from typing import Any

from studio.memory.estimate import Estimate
from studio.memory.stack import coefficients
from tests.unit.memory.test_measured import ALL_ROWS, GIB, predict, predict_grpo
from tests.unit.memory.test_measured import ROWS as SFT_ROWS

ROWS = [row for row in ALL_ROWS if row["grade"] == "A"]
CAUSES: Mapping[str, tuple[tuple[Any, ...], Any]] = {
    "the short logits that the output still has": (("loss", "plain", 1, "logits", "short"), 0),
    "torch's reentrant checkpointing": (("checkpointing", 0, "kind"), "plain"),
    "fused norms, positions and LoRA beside Liger's loss": (("liger", 0, "fused"), []),
    "bitsandbytes' wide copy of a weight": (("compressed", 0, "casts_wide"), False),
    "cuBLAS' workspaces": (("constants", "workspace_bytes"), 0),
}
"""Cause -> where it stands in coefficients.yaml, and what stands there without it."""

Row = Mapping[str, str]


def main() -> None:
    print(f"{'all rows':52} {figures(errors(ROWS))}")  # noqa: T201
    kinds: dict[str, Callable[[Row], str]] = {
        "model": lambda row: row["model"],
        "way of training": way_of,
        "stack": lambda row: row["stack"],
    }
    for name, kind in kinds.items():
        for one, rows in grouped(kind).items():
            print(f"{name + ': ' + one:52} {figures(errors(rows))}")  # noqa: T201
    for cause, (path, without) in CAUSES.items():
        with untold(path, without):
            print(f"{'without ' + cause:52} {figures(errors(ROWS))}")  # noqa: T201
    print(f"{'what the driver showed':52} {figures(driver_errors())}")  # noqa: T201
    for name in ("model", "tuning"):
        print(f"{'what the driver showed, each ' + name + ' by the others':52} {figures(driver_errors(name))}")  # noqa: T201


def way_of(row: Row) -> str:
    kbit, liger = row["kbit_prep"] == "True", "liger" in row["loss"]
    return f"{row['trainer']} {row['tuning']}{' kbit' * kbit}{' liger' * liger}"


def grouped(kind: Callable[[Row], str]) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in ROWS:
        found[kind(row)].append(row)
    return dict(found)


def errors(rows: list[Row]) -> list[float]:
    found = [(row, (predict_grpo if row["trainer"] == "grpo" else predict)(row)) for row in rows]
    return [estimate.allocated_bytes / GIB / float(row["peak_allocated_gib"]) - 1 for row, estimate in found]


@contextmanager
def untold(path: tuple[Any, ...], without: Any) -> Iterator[None]:
    """The calculator without what stands at this place of its coefficients."""
    holder: Any = coefficients()
    for part in path[:-1]:
        holder = holder[part]
    kept = holder[path[-1]]
    holder[path[-1]] = without
    try:
        yield
    finally:
        holder[path[-1]] = kept


def driver_errors(held_back: str = "") -> list[float]:
    """Of what the driver most likely shows, each row by what others kept besides: all rows, or those that are unlike it
    in this column."""
    found = []
    for row, estimate in _estimates():
        others = [each for each in _estimates() if not held_back or each[0][held_back] != row[held_back]]
        kept = medians(others)
        share = kept.get(estimate.peak_phase, kept["others"])
        shown = estimate.allocated_bytes + share * _passing(estimate) + _context()
        found.append(shown / (int(row["device_mib"]) * 2**20) - 1)
    return found


def medians(rows: list[tuple[Row, Estimate]] | None = None) -> dict[str, float]:
    """Phase of the peak -> what the driver shows above peak and context, as a share of what comes and goes."""
    shares = defaultdict(list)
    for row, estimate in _estimates() if rows is None else rows:
        above = int(row["device_mib"]) * 2**20 - estimate.allocated_bytes - _context()
        shares[estimate.peak_phase].append(above / _passing(estimate))
    every = [share for found in shares.values() for share in found]
    return {phase: median(found) for phase, found in shares.items()} | {"others": median(every)}


@cache
def _estimates() -> list[tuple[Row, Estimate]]:
    return [(row, predict(row)) for row in SFT_ROWS]


def _passing(estimate: Estimate) -> int:
    return estimate.allocated_bytes - estimate.resting_bytes


def _context() -> int:
    return coefficients()["constants"]["context_bytes"]


def figures(found: list[float]) -> str:
    sizes = [abs(each) for each in found]
    return f"mean {fmean(sizes):7.3%}   worst {max(sizes):7.3%}"


if __name__ == "__main__":
    main()
