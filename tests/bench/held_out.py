"""What the calculator would say of public rows that it had not been fitted to: `python -m tests.bench.held_out`.

The coefficients that were fitted on tests/unit/memory/measured_public.csv are forgotten (`UNTOLD`: what one would guess
from the dtypes alone), fitted again by least squares on some of the rows of grade A, and the others are predicted:
each row by all others, each half by the other, each model by the others, larger batches by the smallest. A coefficient
that no row of the first part speaks of keeps its guess.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy

from studio.memory.stack import coefficients
from tests.unit.memory.test_measured import ALL_ROWS, GIB, predict, predict_grpo

UNTOLD: Mapping[tuple[Any, ...], tuple[float, float]] = {
    # Logits of 2 bytes, a copy of 4 bytes and its gradient.
    ("loss", "plain", 0, "per_token", "V"): (10, 4),
    ("loss", "plain", 0, "per_token", "H"): (0, 2),
    ("loss", "plain", 1, "per_token", "V"): (10, 4),
    ("loss", "plain", 1, "per_token", "H"): (0, 2),
    ("loss", "selected", 0, "logits", "cuda", "backward"): (3, 1),
    # A normalised value of 2 bytes beside one of 4.
    ("layer_backward", "last_norm", "H"): (4, 2),
    ("layer_backward", "saved", "I"): (4, 2),
    ("layer_backward", "saved", "H"): (10, 4),
    ("layer_backward", "transient", "I"): (2, 2),
    ("layer_backward", "per_lora_input", "lora"): (2, 2),
    ("layer_backward", "per_lora_input", "qlora"): (2, 2),
    ("layer_backward", "moe", "kbit_per_token", "H"): (110, 30),
    ("kbit_prep", "residual_bytes"): (1, 1),
    ("nf4_bytes_per_parameter",): (0.5, 0.02),
    ("constants", "workspace_bytes"): (0, 2e7),
}
"""Coefficient -> what stands in its place before anything was measured, and how far off that may well be."""
HALVES, SEED = 20, 0
ROUNDS = 3
NOISE = 1e-3
"""Of a measurement: less than that is not worth moving a coefficient by all that it may be off."""

Row = Mapping[str, str]
Split = tuple[str, list[Row], list[Row]]


def main() -> None:
    rows = [row for row in ALL_ROWS if row["grade"] == "A"]
    told = {path: _get(path) for path in UNTOLD}
    print(f"{'coefficients as they ship':38} {_figures(_errors(rows))}")  # noqa: T201
    for name, splits in (
        ("nothing fitted", [("", [], rows)]),
        ("each row by all others", list(_each(rows, lambda row: row["id"]))),
        ("each half by the other", list(_halves(rows))),
        ("each model by the others", list(_each(rows, lambda row: row["model"]))),
        ("each way of training by the others", list(_each(rows, lambda row: (row["model"], row["tuning"])))),
        ("larger batches by the smallest", [_by_the_smallest(rows)]),
    ):
        errors: dict[str, float] = {}
        for _, known, held in splits:
            for row, error in zip(held, _held_out_errors(known, held), strict=True):
                errors[row["id"]] = max(errors.get(row["id"], 0.0), error, key=abs)
        print(f"{name:38} {_figures(list(errors.values()))}  {_worst(errors)}")  # noqa: T201
    assert {path: _get(path) for path in UNTOLD} == told


def _held_out_errors(known: list[Row], held: list[Row]) -> list[float]:
    with _untold():
        if known:
            _fit(known)
        return _errors(held)


def _each(rows: list[Row], kind: Callable[[Row], Any]) -> Iterator[Split]:
    for one in dict.fromkeys(map(kind, rows)):
        yield str(one), [row for row in rows if kind(row) != one], [row for row in rows if kind(row) == one]


def _halves(rows: list[Row]) -> Iterator[Split]:
    chance = random.Random(SEED)
    for number in range(HALVES // 2):
        mixed = chance.sample(rows, len(rows))
        one, other = mixed[: len(rows) // 2], mixed[len(rows) // 2 :]
        yield f"{number} a", one, other
        yield f"{number} b", other, one


def _by_the_smallest(rows: list[Row]) -> Split:
    def size(row: Row) -> int:
        return int(row["completion_length"] or row["per_device_batch"])

    def kind(row: Row) -> tuple[str, ...]:
        return row["model"], row["tuning"], row["kbit_prep"]

    least = {kind(row): min(size(other) for other in rows if kind(other) == kind(row)) for row in rows}
    small = [row for row in rows if size(row) == least[kind(row)]]
    return "", small, [row for row in rows if row not in small]


def _fit(rows: list[Row]) -> None:
    """Sets the coefficients to what these rows tell, peaks and memory at rest alike: Gauss-Newton with a prior."""
    guess, width = (numpy.array(column, float) for column in zip(*UNTOLD.values(), strict=True))
    best, least, step = guess, _cost(rows, guess), 1.0
    for _ in range(ROUNDS):
        residuals, slopes = _slopes(rows, best, width)
        prior = NOISE * numpy.eye(len(best))
        wanted = numpy.concatenate([-residuals, NOISE * (guess - best) / width])
        change = numpy.linalg.lstsq(numpy.vstack([slopes, prior]), wanted, rcond=None)[0] * width
        tried = numpy.maximum(best + step * change, 0)
        cost = _cost(rows, tried)
        # A peak is the largest of several phases, so a whole step can lead past the place where they change.
        best, least, step = (tried, cost, 1.0) if cost < least else (best, least, step / 2)
    _put(best)


def _slopes(rows: list[Row], at: numpy.ndarray, width: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    _put(at)
    residuals = _residuals(rows)
    columns = []
    for path, value, size in zip(UNTOLD, at, width, strict=True):
        _set(path, value + 0.01 * size)
        columns.append((_residuals(rows) - residuals) / 0.01)
        _set(path, value)
    return residuals, numpy.array(columns).T


def _cost(rows: list[Row], at: numpy.ndarray) -> float:
    guess, width = (numpy.array(column, float) for column in zip(*UNTOLD.values(), strict=True))
    _put(at)
    return float((_residuals(rows) ** 2).sum() + (NOISE**2 * ((at - guess) / width) ** 2).sum())


def _put(values: numpy.ndarray) -> None:
    for path, value in zip(UNTOLD, values, strict=True):
        _set(path, float(value))


def _residuals(rows: list[Row]) -> numpy.ndarray:
    found = []
    for row in rows:
        estimate = _predicted(row)
        found.append(estimate.allocated_bytes / GIB / float(row["peak_allocated_gib"]) - 1)
        if row["resting_allocated_gib"]:
            found.append(estimate.resting_bytes / GIB / float(row["resting_allocated_gib"]) - 1)
    return numpy.array(found)


def _errors(rows: list[Row]) -> list[float]:
    return [_predicted(row).allocated_bytes / GIB / float(row["peak_allocated_gib"]) - 1 for row in rows]


def _predicted(row: Row) -> Any:
    return (predict_grpo if row["trainer"] == "grpo" else predict)(row)


@contextmanager
def _untold() -> Iterator[None]:
    kept = {path: _get(path) for path in UNTOLD}
    try:
        _put(numpy.array([guess for guess, _ in UNTOLD.values()], float))
        yield
    finally:
        for path, value in kept.items():
            _set(path, value)


def _get(path: tuple[Any, ...]) -> float:
    return _holder(path)[path[-1]]


def _set(path: tuple[Any, ...], value: float) -> None:
    _holder(path)[path[-1]] = value


def _holder(path: tuple[Any, ...]) -> Any:
    found: Any = coefficients()
    for part in path[:-1]:
        found = found[part]
    return found


def _figures(errors: list[float]) -> str:
    sizes = [abs(each) for each in errors]
    return f"mean {sum(sizes) / len(sizes):6.2%}   worst {max(sizes):6.2%}"


def _worst(errors: Mapping[str, float]) -> str:
    names = sorted(errors, key=lambda name: -abs(errors[name]))[:3]
    return ", ".join(f"{name} {errors[name]:+.1%}" for name in names)


if __name__ == "__main__":
    main()
