"""How much memory a run will take: arithmetic on a model's inventory, by phase; the peak is the largest phase.

    load               the weights arrive
    forward_and_loss   all kept activations, and the loss on top
    layer_backward     one decoder layer computed again, its gradients in flight
    reference_pass     log-probabilities of the reference model, or of answers before they are learned from
    generation         the model writes the answers that it learns from
    judging            the models that a reward asks read them
    optimizer_step     gradients and optimizer states, and the optimizer's own copies
    evaluation         held-out rows, nothing kept for a backward pass

Formulas come from what autograd and trl keep (`docs/design.md`, section 6); numbers that depend on library versions
stand in coefficients.yaml with their evidence. Batches are counted at their longest row. Several GPUs, sharding and
offloading are not covered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.hardware import Machine
from studio.memory.inventory import Inventory
from studio.memory.methods import method_of
from studio.memory.notes import notes_of, uncertainty
from studio.memory.parts import Run, phases_of
from studio.memory.stack import Stack, coefficients, installed_stack
from studio.memory.ways import DTYPE_BYTES

__all__ = ["DTYPE_BYTES", "Estimate", "Shapes", "as_document", "estimate"]

GPU_SHARE = 0.95
"""Of a GPU's memory that a run is planned for; the rest is the display's and the driver's."""
GPU_LIMIT = 0.98
"""Of a GPU's memory that a run alone on it can come to: an A100 of 80 GiB gives 79.2."""
RAM_SHARE = 0.85
"""Of the main memory, if nothing but the system ran beside."""


@dataclass(frozen=True)
class Shapes:
    """The longest device batch that the data makes."""

    longest_row: int
    """Tokens of the longest row before `max_length` cuts it."""

    def row_tokens(self, values: Mapping[str, Any]) -> int:
        return values["max_length"] if values.get("packing") else min(self.longest_row, values["max_length"])


@dataclass(frozen=True)
class Estimate:
    device: str
    """cuda, or cpu: then all figures are host memory."""
    phases: Mapping[str, Mapping[str, int]]
    """Phase -> part -> bytes."""
    resting_bytes: int
    """What stays between two steps."""
    available_bytes: int | None
    """What the run may take on this machine; None where no machine was given."""
    limit_bytes: int | None = None
    """What it could take if nothing else ran; None is the same as available."""
    notes: tuple[str, ...] = ()
    """Codes of what makes this less sure than usual (`memory.notes.<code>`); each widens the bands."""

    @property
    def peak_phase(self) -> str:
        return max(self.phases, key=lambda name: sum(self.phases[name].values()))

    @property
    def terms(self) -> Mapping[str, int]:
        """The parts of the peak."""
        return self.phases[self.peak_phase]

    @property
    def allocated_bytes(self) -> int:
        """`torch.cuda.max_memory_allocated`, or the process's own memory on a CPU."""
        return sum(self.terms.values())

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """What the allocator holds, from - to."""
        band = self._band("reserved")
        return self._scaled(band["low"] - self._doubt), self._scaled(band["high"] + self._doubt)

    @property
    def device_bytes(self) -> tuple[int, int]:
        """What the driver shows, from - to."""
        band = self._band("device")
        return self._scaled(band["low"] - self._doubt) + self._context, self._scaled(
            band["high"] + self._doubt
        ) + self._context

    @property
    def likely_device_bytes(self) -> int:
        """What the driver most likely shows: what the allocator keeps besides grows with what comes and goes."""
        if self.device == "cpu":
            return self._scaled(self._band("host")["middle"])
        kept = coefficients()["bands"]["kept_besides"]
        share = kept.get(self.peak_phase, kept["others"])
        return self.allocated_bytes + int(share * max(0, self.allocated_bytes - self.resting_bytes)) + self._context

    @property
    def verdict(self) -> str:
        """fits, tight, too_large, or unknown without a machine."""
        if self.available_bytes is None:
            return "unknown"
        if self.likely_device_bytes + self._scaled(self._doubt) <= self.available_bytes:
            return "fits"
        # Cached blocks are given back before the allocator gives up, so fragmentation of a few per cent is what stays.
        if self._scaled(1.04) + self._context <= max(self.available_bytes, self.limit_bytes or 0):
            return "tight"
        return "too_large"

    @property
    def _doubt(self) -> float:
        """By how much of the peak the bands are wider on either side."""
        return uncertainty(self.notes)

    def _band(self, name: str) -> Mapping[str, float]:
        return coefficients()["bands"]["host" if self.device == "cpu" else name]

    def _scaled(self, factor: float) -> int:
        return int(self.allocated_bytes * factor)

    @property
    def _context(self) -> int:
        return 0 if self.device == "cpu" else coefficients()["constants"]["context_bytes"]


def estimate(
    inventory: Inventory,
    values: Mapping[str, Any],
    *,
    shapes: Shapes,
    machine: Machine | None = None,
    stack: Stack | None = None,
    method: str | None = None,
) -> Estimate:
    """Memory of a training run.

    Args:
        values: checked values of a parameter table (`studio.params.table.check`); what a method adds is named as trl
            spells it (`num_generations`, `max_prompt_length`, `max_completion_length`, `beta`, ...)
            and has trl's default.
        shapes: of the data; for a method that writes its answers, of its prompts.
        machine: where it runs; without a GPU the figures are host memory. None: some GPU.
        stack: library versions; None is what is installed.
        method: one of `studio.memory.methods.METHODS`; None is the method of the values, or sft.

    Raises:
        RefusedInput: no such method.
    """
    device = "cpu" if machine is not None and machine.gpu is None else "cuda"
    run = Run.of(
        inventory,
        values,
        shapes.longest_row,
        stack=stack or installed_stack(),
        device=device,
        method=method_of(method or values.get("method", "sft")),
    )
    return Estimate(
        device=device,
        phases={
            name: {part: int(size) for part, size in parts.items() if size >= 1}
            for name, parts in phases_of(run).items()
        },
        resting_bytes=int(sum(run.static.values())),
        available_bytes=_available(machine),
        limit_bytes=_limit(machine),
        notes=notes_of(run),
    )


def as_document(found: Estimate) -> dict[str, Any]:
    """The prediction as the command line's JSON has it."""
    return {
        "allocated_bytes": found.allocated_bytes,
        "resting_bytes": found.resting_bytes,
        "reserved_bytes": list(found.reserved_bytes),
        "device_bytes": list(found.device_bytes),
        "phases": {name: sum(parts.values()) for name, parts in found.phases.items()},
        "peak_phase": found.peak_phase,
        "terms": dict(found.terms),
        "verdict": found.verdict,
        "notes": list(found.notes),
    }


def _available(machine: Machine | None) -> int | None:
    if machine is None:
        return None
    if machine.gpu is None:
        return machine.ram_free_bytes
    return min(int(machine.gpu.total_bytes * GPU_SHARE), machine.gpu.obtainable_bytes)


def _limit(machine: Machine | None) -> int | None:
    """What there is once other programs have ended."""
    if machine is None:
        return None
    return int(machine.gpu.total_bytes * GPU_LIMIT if machine.gpu else machine.ram_bytes * RAM_SHARE)
