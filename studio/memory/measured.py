"""What runs on this machine really took corrects what is predicted for it: `Experience.correct(estimate, ...)`.

    predicted 10.0 GiB; three runs like it took 1.10, 1.12 and 1.08 times what was predicted   ->  10.4 GiB
    a smaller run took 10.7 GiB here, or a larger one 10.2 GiB                                 ->  10.7, or 10.2 GiB
    these very settings were measured, by a run or a probe, with 10.9 GiB                      ->  10.9 GiB, measured
    a smaller run ran out of memory here                                                       ->  never "fits"

**Shrinkage.** Of each run r = ln(measured / predicted) is known. The calculator's error on this machine for settings
like these, b, has the prior N(0, t^2); a run tells it with an error of its own, N(b, s^2 / w), where w in (0, 1] says
how much the run is like the one asked about (`likeness`). The posterior mean is

    b = sum(w r) / (sum(w) + k),    k = s^2 / t^2 = PRIOR_RUNS,

and the prediction is multiplied by e^b. It lies between the prior (no correction) and the weighted mean of the runs:
one run like it moves it a fifth of the way, four move it half of it. k is stated, not estimated: a machine has too few
kinds of runs to tell t from s.

**Bounds.** Whatever b says, the figure is never below a measured peak of the same or a smaller configuration, nor above
one of the same or a larger one; where the two clash (memory of a process wavers a little) the first counts.

**Why a search can rely on it.** With |r| <= ln 2 and w falling by e for each factor of 4 in size, b changes more slowly
than the logarithm of the prediction: |db / d ln p| <= 2 ln 2 / ln 4 * W / (W + k) < 1. So what was predicted larger
stays larger, the bounds keep that order too, and `studio.memory.fit` may go on halving its interval.

Only runs on the same device with the same libraries count. A device is its name and memory: the allocator does not ask
which case it is built into, and a container has another name each time.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from studio.hardware import Machine
from studio.memory.configuration import Configuration, configuration_of
from studio.memory.estimate import Estimate, Shapes, as_document, estimate
from studio.memory.inventory import Inventory
from studio.memory.stack import LIBRARIES, Stack, installed_stack

PRIOR_RUNS = 4.0
"""The prior counts as much as so many runs like the one asked about."""
LARGEST_RATIO = 2.0
"""A run further off than this says that something else was counted; it moves no more than one at the limit."""
NEAR = 4.0
"""A run so many times smaller or larger counts 1/e."""
OTHER_FAMILY = 0.25
"""What a run of another method or tuning counts: the device's part of the error is shared, the layers' is not."""
NEWEST = 30
"""So many runs go into the ratio."""
SAME_MEMORY = 0.05
"""Drivers and kernels keep a little more or less for themselves."""
_EXACT = frozenset({"weights", "adapter", "optimizer", "gradients"})
"""Parts that are counted, not guessed: a correction leaves them alone where it can."""


@dataclass(frozen=True)
class Place:
    """A device that runs were measured on."""

    device: str
    """cpu, or the GPU's name."""
    memory_bytes: int
    """All that it has."""

    def is_same(self, other: "Place") -> bool:
        near = abs(self.memory_bytes - other.memory_bytes) <= SAME_MEMORY * max(self.memory_bytes, other.memory_bytes)
        return self.device == other.device and near


def place_of(machine: Machine) -> Place:
    """Where a run would go on this machine."""
    return Place(machine.gpu.name, machine.gpu.total_bytes) if machine.gpu else Place("cpu", machine.ram_bytes)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run or probe, as it was."""

    place: Place
    libraries: tuple[tuple[str, str], ...]
    """Library and the first two parts of its version."""
    configuration: Configuration
    """Its sizes are those of the largest batches that it really came to."""
    ran_out: bool
    """Of memory: then `peak_bytes` is what it had got by then."""
    is_probe: bool
    peak_bytes: int
    predicted_bytes: int | None
    """What the calculator alone says of this configuration; None where it cannot."""

    @property
    def log_ratio(self) -> float:
        limit = math.log(LARGEST_RATIO)
        return max(-limit, min(limit, math.log(self.peak_bytes / self.predicted_bytes)))

    @property
    def tells_ratio(self) -> bool:
        return bool(not self.ran_out and self.peak_bytes and self.predicted_bytes and self.configuration.sizes.rows)


@dataclass(frozen=True)
class Corrected(Estimate):
    """An estimate with what was learned from runs on this machine."""

    predicted_bytes: int = 0
    """What the calculator alone says."""
    num_runs: int = 0
    """Runs that moved it."""
    is_measured: bool = False
    """These very settings were measured."""
    ran_out: bool = False
    """These settings, or smaller ones, ran out of memory here."""

    @property
    def verdict(self) -> str:
        found = super().verdict
        return "tight" if found == "fits" and self.ran_out else found


@dataclass(frozen=True)
class Experience:
    """What earlier runs, on any machine and of any model, tell about runs of one model."""

    model: str = ""
    """Content hash."""
    runs: tuple[Measurement, ...] = ()
    """Oldest first."""
    _known: dict[Any, "_Here"] = field(default_factory=dict, compare=False, repr=False)

    def correct(
        self,
        found: Estimate,
        values: Mapping[str, Any],
        *,
        shapes: Shapes,
        machine: Machine | None,
        stack: Stack | None = None,
    ) -> Estimate:
        """The estimate with what runs on this machine say of it; as it is where none does.

        Args:
            found: the estimate of these values.
        """
        if machine is None or not self.runs or not found.allocated_bytes:
            return found
        here = self._here(place_of(machine), libraries_of(stack or installed_stack()))
        return here.correct(found, configuration_of(self.model, values, shapes.row_tokens(values)))

    def _here(self, place: Place, libraries: tuple[tuple[str, str], ...]) -> "_Here":
        if (place, libraries) not in self._known:
            runs = [run for run in self.runs if run.place.is_same(place) and run.libraries == libraries]
            self._known[place, libraries] = _Here(runs, self.model)
        return self._known[place, libraries]


class _Here:
    """The runs of one place and set of libraries, sorted by what they can say."""

    def __init__(self, runs: list[Measurement], model: str) -> None:
        self._telling = [run for run in runs if run.tells_ratio][-NEWEST:]
        self._same_model = [run for run in runs if run.configuration.model == model]
        self._ran_out = _standing(self._same_model)

    def correct(self, found: Estimate, asked: Configuration) -> Estimate:
        ran_out = any(run.configuration <= asked for run in self._ran_out)
        low, high = self._bounds(asked)
        if not (self._telling or low or ran_out):
            return found
        told = ((likeness(run, asked, found.allocated_bytes), run.log_ratio) for run in self._telling)
        peak = max(low, min(high, math.exp(shrunk(told)) * found.allocated_bytes))
        factor = peak / found.allocated_bytes
        return Corrected(
            **_fields(found)
            | {"phases": {name: spread(parts, factor * sum(parts.values())) for name, parts in found.phases.items()}},
            predicted_bytes=found.allocated_bytes,
            num_runs=len(self._telling),
            is_measured=any(run.tells_ratio and run.configuration == asked for run in self._same_model),
            ran_out=ran_out,
        )

    def _bounds(self, asked: Configuration) -> tuple[int, float]:
        """What was measured of smaller and of larger configurations; those of the same count as both."""
        low = max((run.peak_bytes for run in self._same_model if run.configuration <= asked), default=0)
        whole = (run for run in self._same_model if run.tells_ratio)
        return low, min((run.peak_bytes for run in whole if asked <= run.configuration), default=math.inf)


def estimate_here(
    inventory: Inventory,
    values: Mapping[str, Any],
    *,
    shapes: Shapes,
    machine: Machine | None,
    stack: Stack | None = None,
    experience: Experience | None = None,
) -> Estimate:
    """As `estimate`, corrected by what runs on this machine took."""
    found = estimate(inventory, values, shapes=shapes, machine=machine, stack=stack)
    if experience is None:
        return found
    return experience.correct(found, values, shapes=shapes, machine=machine, stack=stack)


def shrunk(told: Iterable[tuple[float, float]]) -> float:
    """The posterior mean of the calculator's error, as a logarithm, from (weight, log ratio) of each run."""
    weight = total = 0.0
    for each, log_ratio in told:
        weight, total = weight + each, total + each * log_ratio
    return total / (weight + PRIOR_RUNS)


def likeness(run: Measurement, asked: Configuration, predicted_bytes: int) -> float:
    """How much a run says of another, in (0, 1]: less of another family, and less the more their sizes differ."""
    kin = 1.0 if run.configuration.family == asked.family else OTHER_FAMILY
    return kin * math.exp(-abs(math.log(run.predicted_bytes / predicted_bytes)) / math.log(NEAR))


def spread(parts: Mapping[str, int], total: float) -> dict[str, int]:
    """The parts of a phase so that they add up to `total`: what is counted exactly stays, as far as it can.

    {"weights": 4, "layer": 2}, 7 -> {"weights": 4, "layer": 3}
    """
    exact = sum(size for name, size in parts.items() if name in _EXACT)
    rest = sum(parts.values()) - exact
    kept = _EXACT if rest > 0 and total > exact else frozenset()
    free = [name for name in parts if name not in kept]
    factor = (total - exact) / rest if kept else total / max(1, exact + rest)
    made = {name: int(parts[name] * factor) if name in free else parts[name] for name in parts}
    if free:
        made[max(free, key=made.__getitem__)] += round(total) - sum(made.values())
    return made


def libraries_of(stack: Stack) -> tuple[tuple[str, str], ...]:
    """What must be the same for a measurement to count: {"torch": "2.13.0+cpu"} -> (("torch", "2.13"),)."""
    known = ((name, stack.versions[name]) for name in LIBRARIES if name in stack.versions)
    return tuple((name, ".".join(version.split(".")[:2])) for name, version in known)


def document(found: Estimate) -> dict[str, Any]:
    """As `as_document`, and where the figure comes from."""
    known = (
        found if isinstance(found, Corrected) else Corrected(**_fields(found), predicted_bytes=found.allocated_bytes)
    )
    own = {name: getattr(known, name) for name in ("predicted_bytes", "num_runs", "is_measured", "ran_out")}
    return as_document(found) | own


def _standing(runs: list[Measurement]) -> list[Measurement]:
    """Runs out of memory but those that a later run disproved: it was as large or larger, and ended well."""
    return [
        run
        for place, run in enumerate(runs)
        if run.ran_out
        and not any(later.tells_ratio and run.configuration <= later.configuration for later in runs[place + 1 :])
    ]


def _fields(found: Estimate) -> dict[str, Any]:
    return {each.name: getattr(found, each.name) for each in fields(Estimate)}
