"""What a run will take: steps, time and disk. Estimates all; they wear "about" on the page."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.advisor.counting import steps_of, validation_rows
from studio.advisor.facts import Facts
from studio.advisor.joined import as_learned
from studio.advisor.recipes import recipes
from studio.advisor.writing import answer_tokens, writes, writing_seconds
from studio.db.speeds import MeasuredSpeed
from studio.memory.adapters import trained
from studio.memory.estimate import Estimate
from studio.memory.inventory import Inventory
from studio.memory.measured import estimate_here
from studio.memory.methods import METHODS, asks_beside
from studio.memory.optimizers import state_bytes
from studio.memory.stack import installed_stack
from studio.params import adversarial
from studio.params.tunings import keeps_model
from studio.rewards.judges import with_bytes

NEWEST = 5


@dataclass(frozen=True)
class Forecast:
    steps: int | None
    seconds: float | None
    disk_bytes: int | None
    num_checkpoints: int | None
    memory: Estimate | None
    """Each None while the model or the data is not known."""


def forecast(facts: Facts, values: Mapping[str, Any]) -> Forecast:
    facts = as_learned(facts, values)
    steps = steps_of(values, facts.rows, facts.validation_rows) if facts.rows else None
    if facts.inventory is None or facts.shapes is None or steps is None:
        return Forecast(steps, None, None, None, None)
    count = _num_checkpoints(values, steps)
    return Forecast(
        steps=steps,
        seconds=_seconds(facts, values, steps),
        disk_bytes=count * checkpoint_bytes(facts.inventory, values),
        num_checkpoints=count,
        memory=memory_of(facts, values),
    )


def _num_checkpoints(values: Mapping[str, Any], steps: int) -> int:
    count = -(-steps // values["save_steps"])
    limit = values.get("save_total_limit") or count
    # The best one stays besides the newest ones, and a new one is there before an old one goes.
    return min(count, limit + 2)


def disk_as_it_goes(values: Mapping[str, Any], *, steps: int, sizes: Sequence[int]) -> tuple[int, int] | None:
    """Checkpoints that a running job will have at most, and their bytes, from those that it has saved.

    {"save_steps": 50}, steps=200, sizes=[30 MB, 31 MB]  ->  (4, 122 MB); None before the first one is there.
    """
    if not sizes or steps < 1:
        return None
    count = max(len(sizes), _num_checkpoints(values, steps))
    return count, round(statistics.mean(sizes) * count)


def memory_of(facts: Facts, values: Mapping[str, Any]) -> Estimate:
    """Of a model and data that were looked at, corrected by what earlier runs took here."""
    values = with_bytes(values, facts.judges, on_gpu=facts.machine.gpu is not None)
    return estimate_here(
        facts.inventory, values, shapes=facts.shapes, machine=facts.machine, experience=facts.experience
    )


def checkpoint_bytes(inventory: Inventory, values: Mapping[str, Any]) -> int:
    """One checkpoint: the model or what is put on it, optimizer states, and about 5 MB of tokenizer and state."""
    changed = trained(inventory, values, installed_stack())
    kept = inventory.parameters if keeps_model(values["tuning"]) else changed.parameters
    return int(kept * changed.bytes_each + state_bytes(inventory, values, changed)) + 5_000_000


def seconds_per_token(facts: Facts, values: Mapping[str, Any]) -> float | None:
    """From finished runs on this device of the same tuning and number format; None where there is none like it.

    The models nearest in size count, up to twice as large or small, in proportion to their size; of the newest
    `NEWEST` the median, so that one run beside a busy program does not count.
    """
    device = facts.machine.gpu.name if facts.machine.gpu else "cpu"
    same = [run for run in facts.speeds if (run.device, run.tuning, run.dtype, run.writes) == _like(values, device)]
    size = facts.inventory.parameters
    nearest = min((_distance(run, size) for run in same), default=None)
    if nearest is None or nearest > math.log(2):
        return None
    passes = _passes(values, asks_reference=asks_beside(values))
    alike = [
        run.seconds_per_token * size / run.parameters * passes / _passes(vars(run), asks_reference=run.asks_reference)
        for run in same
        if _distance(run, size) <= nearest + 1e-9
    ]
    return statistics.median(alike[-NEWEST:])


def _like(values: Mapping[str, Any], device: str) -> tuple[str, str, str, bool]:
    return device, values["tuning"], values["dtype"], writes(values)


def _distance(run: MeasuredSpeed, size: int) -> float:
    return abs(math.log(run.parameters / size))


def _seconds(facts: Facts, values: Mapping[str, Any], steps: int) -> float:
    speed, lengths = recipes()["speed"], facts.lengths
    rows = steps * values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
    validation = validation_rows(values, facts.rows, facts.validation_rows)
    only_read = steps // values["eval_steps"] * validation if validation else 0
    if values.get("precompute_ref_log_probs"):  # the reference is asked once of every row, before the first step
        only_read += facts.rows
    measured = seconds_per_token(facts, values)
    if measured is not None:
        # Padding, and the writing of answers, is in the measured speed already.
        return speed["start_seconds"] + (rows + only_read / 3) * _row_tokens(values, lengths.mean) * measured
    # A batch is padded to its longest row, which lies about half way from the mean to the 95th percentile.
    mean = _row_tokens(values, (lengths.mean + lengths.p95) / 2)
    passes = _passes(values, asks_reference=asks_beside(values))
    work = facts.inventory.parameters * 2 * mean * (rows * passes + only_read)
    # Small models on a GPU wait for their kernels to be started, not for the arithmetic.
    least, operations = steps * speed["gpu_step_seconds"] if facts.machine.gpu else 0.0, _operations_per_second(facts)
    written = writing_seconds(facts, values, steps=steps, operations_per_second=operations) if writes(values) else 0.0
    return speed["start_seconds"] + max(least, work / operations) + written


def _row_tokens(values: Mapping[str, Any], known: float) -> float:
    """Of a row that goes through the model: `known` of the data, and the answer where the model writes it.

    Of a pair both answers go through it, and the data's lengths are those of the longer one.
    """
    answers = METHODS[values["method"]].rows_per_example
    return answers * min(known, values["max_length"]) + (answer_tokens(values) if writes(values) else 0)


def _passes(values: Mapping[str, Any], *, asks_reference: bool) -> int:
    """How often each weight is used for a token: forward, backward to the inputs, to the weights, and once again; and
    once where a reference is asked."""
    once = 2 + keeps_model(values["tuning"]) + bool(values["gradient_checkpointing"])
    return once * adversarial.passes(values) + asks_reference


def _operations_per_second(facts: Facts) -> float:
    speed, gpu = recipes()["speed"], facts.machine.gpu
    if gpu is None:
        return speed["cpu_core"] * min(facts.machine.cpu_count, 16)
    generation = str(gpu.capability[0]) if gpu.capability else "8"
    return speed["gpu"].get(generation, speed["gpu"]["8"])
