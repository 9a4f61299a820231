"""Peaks of memory by phase of training, at no cost: what `studio.memory.estimate` predicts, as it really was.

    load               from the process's start until the first batch
    forward_and_loss   until the loss of a batch is there
    layer_backward     from the loss until the optimizer may step
    optimizer_step     the step itself
    evaluation         held-out rows

On a GPU a peak is the allocator's (`torch.cuda.max_memory_allocated`), else the process's resident memory, whose
high-water mark Linux can set back; where that is not possible only the peak of all phases together is told. Phases are
told apart in the first steps and for every batch larger than all before it, which are few, so that an ordinary step
costs nothing. Libraries as these are do not say when one layer's backward ends: `layer_backward` is the whole pass.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

FIRST_STEPS = 3
"""Steps whose phases are told apart whatever their batches; the optimizer's states are there from the second on."""
_REST = "rest"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
"""Sets the high-water mark of resident memory back (Linux, proc(5))."""


@dataclass(frozen=True)
class Batch:
    """The shape of a device batch, padding included."""

    rows: int = 0
    tokens: int = 0
    """Of each row."""

    @property
    def size(self) -> int:
        return self.rows * self.tokens


@dataclass
class Peaks:
    """Where the process stands and the highest it has been in each phase; `enter` goes on to the next one."""

    gauge: "_Gauge" = field(default_factory=lambda: _CudaGauge() if torch.cuda.is_initialized() else _ResidentGauge())
    phase: str = "load"
    steps: int = 0
    """Optimizer steps done."""
    seen: Batch = Batch()
    """Largest batch trained on since the optimizer has its states: what the peaks speak of."""
    tried: Batch = Batch()
    """Largest batch begun at all."""
    evaluated: Batch = Batch()
    _found: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._note()

    def enter(self, phase: str) -> None:
        """Close the phase so far and begin another."""
        if phase == self.phase:
            return
        self._note()
        self.gauge.reset()
        self.phase = phase

    def begin_batch(self, rows: int, tokens: int, *, is_training: bool) -> None:
        batch = Batch(rows, tokens)
        if not is_training:
            self.evaluated = max(self.evaluated, batch, key=lambda each: each.size)
            self.enter("evaluation")
            return
        is_largest = batch.size > self.tried.size
        self.tried = batch if is_largest else self.tried
        if self.steps and batch.size > self.seen.size:
            self.seen, is_largest = batch, True
        self.enter("forward_and_loss" if is_largest or self.steps < FIRST_STEPS else _REST)

    def end_loss(self) -> None:
        if self.phase == "forward_and_loss":
            self.enter("layer_backward")

    def begin_step(self) -> None:
        if self.phase == "layer_backward":
            self.enter("optimizer_step")

    def end_step(self) -> None:
        self.steps += 1
        self.enter(_REST)

    def figures(self) -> dict[str, Any]:
        """What the event `peaks` tells, but for the run's outcome."""
        phases = {name: size for name, size in self._found.items() if name != _REST}
        return {
            "peak_bytes": self.peak_bytes,
            "phases": phases if self.gauge.can_reset else {},
            **self.gauge.totals(),
            **{
                name: {"rows": batch.rows, "tokens": batch.tokens}
                for name, batch in (("seen", self.seen), ("tried", self.tried), ("evaluated", self.evaluated))
            },
        }

    def now(self) -> dict[str, int]:
        """Of the process so far, by the names of `memory` events."""
        peak = self.peak_bytes
        return self.gauge.totals() | ({} if isinstance(self.gauge, _ResidentGauge) else {"allocated_peak_bytes": peak})

    @property
    def peak_bytes(self) -> int:
        self._note()
        return max(self._found.values())

    def _note(self) -> None:
        self._found[self.phase] = max(self._found.get(self.phase, 0), self.gauge.read())


class PeaksCallback(TrainerCallback):
    """Tells `Peaks` where a Trainer is; the forward pass it learns from `WatchesMemory`."""

    def __init__(self, peaks: Peaks) -> None:
        self._peaks = peaks

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._peaks.begin_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._peaks.end_step()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._peaks.enter(_REST)


class WatchesMemory:
    """For a trl trainer: every batch is told to `peaks`, and the moment when its loss is there."""

    peaks: Peaks
    """Set before training."""

    def compute_loss(self, model: Any, inputs: Mapping[str, Any], *given: Any, **named: Any) -> Any:
        rows, tokens = batch_shape(inputs)
        self.peaks.begin_batch(rows, tokens, is_training=model.training)
        loss = super().compute_loss(model, inputs, *given, **named)
        self.peaks.end_loss()
        return loss


def batch_shape(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Rows and tokens of what goes through the model at once; pairs of answers may come side by side."""
    if "completion_ids" in inputs:
        rows, asked = inputs["prompt_ids"].shape  # (B, P)
        return rows, asked + inputs["completion_ids"].shape[1]  # (B, C)
    if "input_ids" in inputs:
        return tuple(inputs["input_ids"].shape)  # (B, T)
    shapes = [inputs[f"{side}_input_ids"].shape for side in ("chosen", "rejected")]  # (B, T) each
    return sum(rows for rows, _ in shapes), max(tokens for _, tokens in shapes)


# -- gauges ----------------------------------------------------------------------------------------------------------


class _Gauge:
    """Reads a high-water mark and sets it back; `totals` are of the whole process."""

    can_reset = True

    def read(self) -> int:
        raise NotImplementedError

    def reset(self) -> None:
        raise NotImplementedError

    def totals(self) -> dict[str, int]:
        raise NotImplementedError


class _CudaGauge(_Gauge):
    """The allocator counts on the processor as it is asked, so nothing here waits for the GPU."""

    def __init__(self) -> None:
        self._reserved = 0

    def read(self) -> int:
        self._reserved = max(self._reserved, torch.cuda.max_memory_reserved())
        return torch.cuda.max_memory_allocated()

    def reset(self) -> None:
        torch.cuda.reset_peak_memory_stats()

    def totals(self) -> dict[str, int]:
        free, total = torch.cuda.mem_get_info()
        return {
            "host_peak_bytes": host_peak_bytes(),
            "reserved_peak_bytes": self._reserved,
            "device_used_bytes": total - free,
        }


class _ResidentGauge(_Gauge):
    def __init__(self) -> None:
        self._highest = 0

    def read(self) -> int:
        size = _resident_peak() or host_peak_bytes()
        self._highest = max(self._highest, size)
        return size

    def reset(self) -> None:
        try:
            _CLEAR.write_text(_CLEAR_PEAK)
        except OSError:  # not Linux, or a container that does not allow it
            self.can_reset = False

    def totals(self) -> dict[str, int]:
        return {"host_peak_bytes": self._highest}


def _resident_peak() -> int | None:
    """The high-water mark since it was set back last; None where the system does not tell."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


def host_peak_bytes() -> int:
    """The most that this process held of main memory, since its start."""
    if os.name == "nt":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
