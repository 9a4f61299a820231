"""The settings of largest throughput that fit a machine with margin: `fit(inventory, values, ...) -> Fit`.

    8B, LoRA, 2048 tokens, 16 rows an update, 24 GiB  ->  {"per_device_train_batch_size": 2,
                                                           "gradient_accumulation_steps": 8, ...}

What costs quality is given up last, in this order: exact weights (float32 becomes bfloat16 where the GPU computes in
it), all weights trained (full becomes LoRA), the model uncompressed (LoRA becomes QLoRA), rows whole. Within one such
step everything else is free: device batch and accumulation, gradient checkpointing, optimizer, attention. The loss
kernel is none of them: the stack says which one the libraries take. Relative costs stand in throughput.yaml.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from studio.hardware import Machine
from studio.memory.estimate import Estimate, Shapes
from studio.memory.inventory import Inventory
from studio.memory.knobs import (
    ADAMW,
    ADAMW_8BIT,
    SHORTEST_ROW,
    Term,
    Values,
    could_be_bfloat16,
    largest_terms,
    later_tunings,
    tuned,
)
from studio.memory.measured import Experience, estimate_here
from studio.memory.stack import Stack
from studio.memory.throughput import Speed

Batch = tuple[int, int]
"""Device batch and accumulation."""


@dataclass(frozen=True)
class Fit:
    values: Values
    """The settings to change; empty where they are the best already."""
    estimate: Estimate
    """Of the settings with these changes."""
    largest: tuple[Term, ...]
    """The three largest parts of the peak, with the changes."""
    is_possible: bool
    """False: these are the smallest settings there are, and they do not fit. A verdict of `tight` is possible."""
    cuts_rows: bool = False
    """Nothing fits with whole rows: `max_length` is below the longest one."""

    @property
    def excess_bytes(self) -> int:
        """By how much it is too large at least; 0 where it is possible."""
        if self.is_possible:
            return 0
        least = max(self.estimate.allocated_bytes, self.estimate.device_bytes[0])
        return max(1, least - max(self.estimate.available_bytes or 0, self.estimate.limit_bytes or 0))


def fit(  # noqa: PLR0913 - what a run is made of; all but two by name
    inventory: Inventory,
    values: Values,
    *,
    shapes: Shapes,
    machine: Machine | None,
    chosen: Collection[str],
    stack: Stack | None = None,
    wanted_batch: int,
    experience: Experience | None = None,
) -> Fit:
    """The settings of largest throughput whose verdict is `fits`, else a tight one, else the smallest.

    Args:
        values: checked values of a parameter table; the search starts from them.
        chosen: names that a person set: never changed.
        wanted_batch: rows for each update. Device batch times accumulation is exactly this, because only its divisors
            are tried as device batches. With a chosen device batch the accumulation is rounded to the nearest whole
            number; with a chosen accumulation the device batch is rounded down.
        experience: what runs of this model took; a verdict is that of the corrected estimate.
    """
    search = _Search(inventory, dict(values), shapes, machine, frozenset(chosen), stack, wanted_batch, experience)
    found = search.best() or search.tight() or search.cut() or search.smallest()
    changes = {name: value for name, value in found.items() if name not in values or values[name] != value}
    final = search.estimate(found)
    return Fit(
        values=changes,
        estimate=final,
        largest=largest_terms(
            inventory, found, final, shapes=shapes, machine=machine, stack=stack, experience=experience
        ),
        is_possible=final.verdict != "too_large",
        cuts_rows="max_length" in changes and changes["max_length"] < shapes.longest_row,
    )


class _Search:
    """Settings are whole dictionaries of values; estimates are kept, because several looks ask for the same ones."""

    def __init__(  # noqa: PLR0913 - what `fit` is given
        self,
        inventory: Inventory,
        values: dict[str, Any],
        shapes: Shapes,
        machine: Machine | None,
        chosen: frozenset[str],
        stack: Stack | None,
        wanted_batch: int,
        experience: Experience | None,
    ) -> None:
        self.inventory, self.values, self.shapes = inventory, values, shapes
        self.machine, self.chosen, self.stack = machine, chosen, stack
        self.wanted_batch, self.experience = max(1, wanted_batch), experience
        self._known: dict[str, Estimate] = {}

    def estimate(self, values: Values) -> Estimate:
        key = repr(sorted(values.items()))
        if key not in self._known:
            self._known[key] = estimate_here(
                self.inventory,
                values,
                shapes=self.shapes,
                machine=self.machine,
                stack=self.stack,
                experience=self.experience,
            )
        return self._known[key]

    def fits(self, values: Values) -> bool:
        return self.estimate(values).verdict in ("fits", "unknown")

    def best(self) -> dict[str, Any] | None:
        """The quickest settings of the first step of quality at which anything fits."""
        return next((found for step in self.steps if (found := self._quickest(step))), None)

    def tight(self) -> dict[str, Any] | None:
        tight = [found for found in map(self._least, self.steps) if self.estimate(found).verdict == "tight"]
        return min(tight, key=self._allocated, default=None)

    def cut(self) -> dict[str, Any] | None:
        """The longest rows, a multiple of 64 tokens, with which the smallest settings fit."""
        lengths = self._cut_lengths
        place = _first(len(lengths), lambda place: self.fits(self._least(self._cut_to(lengths[place]))))
        return None if place is None else self._quickest(self._cut_to(lengths[place]))

    def smallest(self) -> dict[str, Any]:
        steps = [*self.steps, *(self._cut_to(length) for length in self._cut_lengths[-1:])]
        return min(map(self._least, steps), key=self._allocated)

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """From the values given, quality given up a step at a time; rows stay whole."""
        steps = [self.values]
        if self._is_free("dtype", "mixed_precision") and could_be_bfloat16(self.values, self.machine):
            steps.append({**self.values, "dtype": "bfloat16", "mixed_precision": "bf16"})
        if self._is_free("tuning"):
            last = steps[-1]
            steps += [tuned(last, tuning) for tuning in later_tunings(last["tuning"])]
        return [shorter for step in steps for shorter in self._lengths_of(step)]

    def _lengths_of(self, step: dict[str, Any]) -> list[dict[str, Any]]:
        """Packed rows are as long as `max_length` allows, so it may go down to the longest row."""
        whole = 64 * math.ceil(self.shapes.longest_row / 64)
        if step.get("packing") and self._is_free("max_length") and whole < step["max_length"]:
            return [step, {**step, "max_length": whole}]
        return [step]

    @cached_property
    def _cut_lengths(self) -> Sequence[int]:
        if "max_length" not in self.values or not self._is_free("max_length"):
            return ()
        longest = min(self.shapes.longest_row, self.values["max_length"])
        return range((longest - 1) // 64 * 64, SHORTEST_ROW - 1, -64)

    def _cut_to(self, length: int) -> dict[str, Any]:
        return {**self.steps[-1], "max_length": length}

    def _quickest(self, step: dict[str, Any]) -> dict[str, Any] | None:
        """Best first: a combination that could not beat the best one found so far is not looked at."""
        speed = Speed(self.inventory, self.shapes, self.machine)
        options = list(self._combinations(step))
        batches = self._batches if self._is_free("gradient_accumulation_steps") else self._largest_batch(options)
        ceilings = [(speed.of(self._with_batch(each, batches[0])), each) for each in options if batches]
        best, reached = None, 0.0
        for ceiling, tried in sorted(ceilings, key=lambda each: -each[0]):
            if ceiling <= reached:
                break
            place = _first(len(batches), lambda place, tried=tried: self._fits_with(tried, batches[place]))
            if place is not None and speed.of(self._with_batch(tried, batches[place])) > reached:
                best = self._with_batch(tried, batches[place])
                reached = speed.of(best)
        return best

    def _largest_batch(self, options: Sequence[dict[str, Any]]) -> Sequence[Batch]:
        """With a chosen accumulation a smaller device batch makes a smaller effective one: the largest goes first."""
        batches = self._batches
        place = _first(len(batches), lambda place: any(self._fits_with(each, batches[place]) for each in options))
        return [] if place is None else [batches[place]]

    def _fits_with(self, values: dict[str, Any], batch: Batch) -> bool:
        return self.fits(self._with_batch(values, batch))

    def _least(self, step: dict[str, Any]) -> dict[str, Any]:
        """What takes the least memory in this step."""
        return min(
            (self._with_batch(each, self._batches[-1]) for each in self._combinations(step)), key=self._allocated
        )

    def _allocated(self, values: Values) -> int:
        return self.estimate(values).allocated_bytes

    def _combinations(self, step: dict[str, Any]) -> Iterator[dict[str, Any]]:
        options = {name: [step[name], *self._others(step, name)] for name in _FREE_KNOBS if name in step}
        for values in product(*options.values()):
            yield {**step, **dict(zip(options, values, strict=True))}

    def _others(self, step: Values, name: str) -> list[Any]:
        """What a knob that costs no quality could be besides what it is."""
        if not self._is_free(name):
            return []
        if name == "gradient_checkpointing":
            # A prefix cannot go through a layer that is computed again.
            return [False] if step.get("tuning") == "prefix_tuning" else [not step[name]]
        if name == "optim":
            return [ADAMW_8BIT] if step[name] in ADAMW and self.machine and self.machine.gpu else []
        return ["sdpa"] if step[name] == "eager" and self.inventory.can_attend_with("sdpa") else []

    @cached_property
    def _batches(self) -> Sequence[Batch]:
        """From large to small."""
        batch, accumulation = "per_device_train_batch_size", "gradient_accumulation_steps"
        wanted = self.wanted_batch
        if batch in self.chosen and accumulation in self.chosen:
            return [(self.values[batch], self.values[accumulation])]
        if batch in self.chosen:
            return [(self.values[batch], max(1, round(wanted / self.values[batch])))]
        if accumulation in self.chosen:
            return [
                (each, self.values[accumulation]) for each in range(max(1, wanted // self.values[accumulation]), 0, -1)
            ]
        return [(each, wanted // each) for each in range(wanted, 0, -1) if wanted % each == 0]

    def _with_batch(self, values: dict[str, Any], batch: Batch) -> dict[str, Any]:
        rows, accumulation = batch
        changed = {**values, "per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
        if self._is_free("per_device_eval_batch_size"):
            changed["per_device_eval_batch_size"] = rows
        return changed

    def _is_free(self, *names: str) -> bool:
        return self.chosen.isdisjoint(names)


_FREE_KNOBS = ("gradient_checkpointing", "optim", "attn_implementation")


def _first(count: int, holds: Any) -> int | None:
    """The first place of `range(count)` at which `holds` is true; it is true from there on. None: nowhere."""
    if not count or not holds(count - 1):
        return None
    low, high = 0, count - 1
    while low < high:
        middle = 0 if (low, high) == (0, count - 1) else (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high
