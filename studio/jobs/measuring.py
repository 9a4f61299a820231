"""What a training run or a probe needed of its device, kept for later predictions (`studio.memory.measured`)."""

from typing import Any

from sqlalchemy.orm import Session

from studio.db import datasets, jobs, judges, measurements, models
from studio.db.tables import Job, MemoryMeasurement
from studio.hardware import Machine, device_name, read_machine
from studio.paths import Workspace
from studio.protocol import Spec, read_spec, utc_now
from studio.rewards.judges import with_bytes

MEASURED = ("train", measurements.PROBE)
RAN_OUT = "job.out_of_memory"


def take_measurement(session: Session, workspace: Workspace, job: Job, *, state: str, reason: str | None) -> None:
    """Keep what the attempt that has just ended needed; nothing where it came to no training and had memory enough."""
    if job.kind not in MEASURED or job.model_id is None:
        return
    peaks = _peaks(session, job)
    ran_out = reason == RAN_OUT
    if not ran_out and not (peaks and peaks["seen"]["rows"]):
        return
    spec, machine = read_spec(workspace.attempt(job.id, job.attempt)), read_machine()
    base = models.by_id(session, job.model_id)
    found = MemoryMeasurement(
        job_id=job.id,
        attempt=job.attempt,
        kind=job.kind,
        outcome=measurements.OUT_OF_MEMORY if ran_out else state,
        model_hash=base.content_hash,
        device=device_name(spec.device, machine),
        device_bytes=_device_bytes(spec, machine),
        libraries=spec.libraries,
        values=dict(with_bytes(job.values, judges.judges(session), on_gpu=spec.device.startswith("cuda"))),
        longest_row=_longest_row(session, job, base.content_hash),
        peaks=peaks or {},
        prediction=_prediction(session, job),
        measured_at=utc_now(),
    )
    measurements.keep(session, found)
    jobs.next_change(session)


def _peaks(session: Session, job: Job) -> dict[str, Any] | None:
    told = [event for event in jobs.events(session, job.id, types=("peaks",)) if event.attempt == job.attempt]
    return told[-1].data if told else None


def _prediction(session: Session, job: Job) -> dict[str, Any]:
    plans = jobs.events(session, job.id, types=("plan",))
    return (plans[-1].data.get("memory") or {}) if plans else {}


def _longest_row(session: Session, job: Job, model_hash: str) -> int | None:
    version = datasets.by_version_id(session, job.dataset_version_id) if job.dataset_version_id else None
    known = models.inspection(session, model_hash, version.content_hash) if version else None
    return known["tokens"]["lengths"]["max"] if known and known.get("tokens") else None


def _device_bytes(spec: Spec, machine: Machine) -> int:
    gpu = next((gpu for gpu in machine.gpus if f"cuda:{gpu.index}" == spec.device), None)
    return gpu.total_bytes if gpu else machine.ram_bytes
