"""Who starts next, who waits for what, and which serve job gives way: a pure function of what the registry says.

    decide([Waiting(id=7, ...)], Devices(("cuda:0", "cuda:1"), {"cuda:0": Holder(3, "train")}), ...)
        ->  Decision(start=(7, "cuda:1"), waits={7: Wait("starts", {})}, evict=None)

The supervisor starts `start` and asks `evict` to leave; the pages show `waits`. One function, so what is shown is true.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from studio.db.jobs import Waiting, require, waiting
from studio.db.jobs import lease_holders as _lease_holders
from studio.db.jobs import live as _live
from studio.db.queue import QueueRules, rules
from studio.jobs.lifecycle import LIVE
from studio.protocol import utc_now

LIGHT_JOBS_AT_ONCE = 2
"""Jobs without a device: reading files, looking at models."""


@dataclass(frozen=True)
class Holder:
    """Who holds a device."""

    job_id: int
    kind: str
    is_leaving: bool = False
    """It was asked to end."""


@dataclass(frozen=True)
class Devices:
    names: tuple[str, ...]
    held: Mapping[str, Holder]

    def free(self, wanted: str | None) -> list[str]:
        return [name for name in self.suiting(wanted) if name not in self.held]

    def suiting(self, wanted: str | None) -> list[str]:
        return [name for name in self.names if wanted in (None, name)]


@dataclass(frozen=True)
class Wait:
    """Why a job does not run yet: words are `queue.wait.<code>` in the locale files."""

    code: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    start: tuple[int, str | None] | None
    """Job and its device, null for one that needs none."""
    waits: dict[int, Wait]
    evict: int | None
    """A serve job that should leave its device."""


def decide(queued: Sequence[Waiting], devices: Devices, *, num_light: int, held_by: Wait | None) -> Decision:
    """One look at the queue.

    Args:
        queued: in the order of the queue. Serving waits until all else has had its turn.
        num_light: jobs without a device that run.
        held_by: why runs that never began are held; None where they are not.
    """
    start: tuple[int, str | None] | None = None
    evict: int | None = None
    waits: dict[int, Wait] = {}
    taken: dict[str, Waiting] = {}
    last: Waiting | None = None
    for job in sorted(queued, key=lambda each: each.kind == "serve"):
        if held_by is not None and job.kind == "train" and not job.attempt:
            waits[job.id] = held_by
        elif not job.needs_device:
            is_free = num_light < LIGHT_JOBS_AT_ONCE
            start = start or ((job.id, None) if is_free else None)
            num_light += 1
            waits[job.id] = Wait("starts" if is_free else "light")
        elif not devices.suiting(job.wanted_device):
            waits[job.id] = Wait("no_device", {"device": job.wanted_device})
        elif free := [name for name in devices.free(job.wanted_device) if name not in taken]:
            start = start or (job.id, free[0])
            taken[free[0]] = job
            waits[job.id] = Wait("starts")
        else:
            waits[job.id] = _wait(job, devices, taken, last)
            if evict is None and job.kind != "serve":
                evict = _server_in_the_way(job, devices)
            last = job
    return Decision(start, waits, evict)


def _wait(job: Waiting, devices: Devices, taken: Mapping[str, Waiting], last: Waiting | None) -> Wait:
    """What a job waits for that found no device free."""
    if last is not None and (last.wanted_device is None or last.wanted_device == job.wanted_device):
        return Wait("behind", {"run": last.id, "title": last.title})
    suiting = devices.suiting(job.wanted_device)
    holders = [devices.held[name] for name in suiting if name in devices.held]
    if any(holder.kind == "serve" for holder in holders) and job.kind != "serve":
        return Wait("server_leaves")
    runs = sorted({holder.job_id for holder in holders} | {taken[name].id for name in suiting if name in taken})
    if len(suiting) == 1:
        return Wait("device", {"device": suiting[0], "run": runs[0]})
    return Wait("devices", {"runs": runs})


def _server_in_the_way(job: Waiting, devices: Devices) -> int | None:
    """The serve job that holds a device which `job` could have, unless a device of its kind is being left already."""
    holders = [devices.held[name] for name in devices.suiting(job.wanted_device) if name in devices.held]
    servers = [holder for holder in holders if holder.kind == "serve"]
    if not servers or any(holder.is_leaving for holder in servers):
        return None
    return servers[0].job_id


def look(session: Session, devices: Sequence[str], *, now: str | None = None) -> Decision:
    """`decide` for the registry as it stands."""
    held = {}
    for device, job_id in _lease_holders(session).items():
        job = require(session, job_id)
        held[device] = Holder(job.id, job.kind, job.wish is not None and job.state in LIVE)
    num_light = sum(1 for job in _live(session) if not job.needs_device)
    known = Devices(tuple(devices), held)
    return decide(waiting(session), known, num_light=num_light, held_by=_held_by(rules(session), now or utc_now()))


def _held_by(decided: QueueRules, now: str) -> Wait | None:
    if not decided.holds(now):
        return None
    if decided.failed_run is not None:
        return Wait("after_failure", {"run": decided.failed_run})
    return Wait("held") if decided.is_held else Wait("until", {"time": decided.not_before})
