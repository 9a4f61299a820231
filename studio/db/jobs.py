"""Jobs in the registry: adding, reading, and the one function that changes a job's state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from studio.db.engine import next_change
from studio.db.queue import next_number, note_failure
from studio.db.tables import Attempt, Clock, Dataset, DatasetVersion, Job, JobEvent, Lease, Model
from studio.errors import Conflict, UnknownName
from studio.jobs.lifecycle import ENDED, LIVE, is_legal
from studio.protocol import utc_now


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What is known of a job when it is asked for."""

    kind: str
    title: str
    values: dict[str, Any]
    needs_device: bool
    method: str | None = None
    tuning: str | None = None
    chosen: list[str] = field(default_factory=list)
    request_id: str | None = None
    dataset_version_id: int | None = None
    model_id: int | None = None
    wanted_device: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job as pages and command line show it; a snapshot."""

    id: int
    kind: str
    method: str | None
    tuning: str | None
    title: str
    state: str
    reason: str | None
    """A code below `errors.`, when the end or the wait has one."""
    reason_values: dict[str, Any]
    wish: str | None
    position: int
    needs_device: bool
    values: dict[str, Any]
    chosen: list[str]
    figures: dict[str, Any]
    dataset: str | None
    dataset_version: int | None
    model: str | None
    attempt: int
    phase: str | None
    progress_done: float | None
    progress_total: float | None
    progress_unit: str | None
    seconds_left: float | None
    last_metrics: dict[str, float]
    change: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    wanted_device: str | None
    is_archived: bool
    disk_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What the queue needs to know of a job that waits."""

    id: int
    kind: str
    title: str
    needs_device: bool
    wanted_device: str | None
    attempt: int
    """0: it never began."""


def add_job(session: Session, new: NewJob) -> int:
    """Queue a job at the end; a request already known returns its job."""
    if new.request_id:
        known = by_request(session, new.request_id)
        if known is not None:
            return known
    job = Job(
        **vars(new),
        id=next_number(session),
        state="queued",
        reason=None,
        reason_values={},
        wish=None,
        wish_number=0,
        wish_at=None,
        position=(session.scalar(select(func.max(Job.position))) or 0) + 1,
        figures={},
        attempt=0,
        last_metrics={},
        change=next_change(session),
        created_at=utc_now(),
    )
    session.add(job)
    session.flush()
    record_event(session, job.id, type="state", data={"to": "queued"})
    return job.id


def move(session: Session, job_id: int, state: str, *, reason: str | None = None, values: dict | None = None) -> bool:
    """Change a job's state if that is legal from where it stands; tells whether it did.

    The only place where `jobs.state` is written. Writes an event row, frees the devices of a job that no longer runs.
    """
    job = session.get_one(Job, job_id)
    old = job.state
    if not is_legal(old, state):
        return False
    job.state, job.reason, job.reason_values, job.change = state, reason, values or {}, next_change(session)
    if state == "starting":
        job.started_at, job.finished_at = job.started_at or utc_now(), None
    if state in ENDED:
        job.finished_at = utc_now()
    if job.kind == "train" and state in ("failed", "lost"):
        note_failure(session, job_id)
    if state not in LIVE:
        job.wish = job.phase = job.seconds_left = None
        session.query(Lease).where(Lease.job_id == job_id).delete()
    record_event(
        session, job_id, type="state", data={"from": old, "to": state, "reason": reason, "values": values or {}}
    )
    return True


def wish(session: Session, job_id: int, request: str) -> None:
    """Note what a person wants of a live job; the supervisor delivers it.

    Raises:
        Conflict: the job does not run.
    """
    job = require(session, job_id)
    if job.state not in LIVE:
        raise Conflict("job.not_running", job=job_id)
    job.wish, job.wish_at = request, utc_now()
    job.wish_number += 1
    job.change = next_change(session)
    record_event(session, job_id, type="wish", data={"request": request})


def record_event(session: Session, job_id: int, *, type: str, data: dict[str, Any]) -> None:
    """An event of the server's own; those of the job come through `studio.jobs.ingest`."""
    session.add(JobEvent(job_id=job_id, attempt=0, seq=None, time=utc_now(), type=type, data=data))


def require(session: Session, job_id: int) -> Job:
    """The mapped job.

    Raises:
        UnknownName: there is none with this number.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise UnknownName("job.unknown", job=job_id)
    return job


def job(session: Session, job_id: int) -> JobView:
    """One job.

    Raises:
        UnknownName: there is none with this number.
    """
    row = session.execute(_views().where(Job.id == job_id)).first()
    if row is None:
        raise UnknownName("job.unknown", job=job_id)
    return _view(row)


def list_jobs(
    session: Session,
    *,
    kinds: tuple[str, ...] | None = None,
    states: frozenset[str] | None = None,
    search: str = "",
    limit: int = 100,
    offset: int = 0,
) -> list[JobView]:
    """Jobs, newest first; `search` looks in title, model and data set names."""
    query = _views().order_by(Job.id.desc()).limit(limit).offset(offset)
    if kinds:
        query = query.where(Job.kind.in_(kinds))
    if states:  # in a query of its own: of a few live jobs among thousands of a kind only those are read
        query = query.where(Job.id.in_(select(Job.id).where(Job.state.in_(states))))
    if search:
        query = query.where(
            or_(*(column.icontains(search, autoescape=True) for column in (Job.title, Model.name, Dataset.name)))
        )
    return [_view(row) for row in session.execute(query)]


def by_numbers(session: Session, numbers: Sequence[int]) -> list[JobView]:
    """Jobs in the order of their numbers here; those that are not there are left out."""
    found = {row[0].id: _view(row) for row in session.execute(_views().where(Job.id.in_(numbers)))}
    return [found[number] for number in numbers if number in found]


def by_request(session: Session, request_id: str) -> int | None:
    """The job of a request, where it was made before."""
    return session.scalar(select(Job.id).where(Job.request_id == request_id))


def queue(session: Session) -> list[JobView]:
    """What waits, in the order in which it will start."""
    return [_view(row) for row in session.execute(_views().where(Job.state == "queued").order_by(Job.position, Job.id))]


def waiting(session: Session) -> list[Waiting]:
    """The same as the queue decides by: no wide rows, however many wait."""
    names = ("id", "kind", "title", "needs_device", "wanted_device", "attempt")
    query = select(*(getattr(Job, name) for name in names)).where(Job.state == "queued")
    return [Waiting(**row._mapping) for row in session.execute(query.order_by(Job.position, Job.id))]


def num_waiting(session: Session) -> int:
    return session.scalar(select(func.count()).where(Job.state == "queued")) or 0


def live(session: Session) -> list[JobView]:
    """What runs now."""
    return [_view(row) for row in session.execute(_views().where(Job.state.in_(LIVE)).order_by(Job.id))]


def change(session: Session) -> int:
    """Number of the registry's last change: the one cheap number that pages poll."""
    return session.scalar(select(Clock.change)) or 0


def events(session: Session, job_id: int, *, types: tuple[str, ...] | None = None, after: int = 0) -> list[JobEvent]:
    """A job's events in the order in which they came, those with an id above `after`."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.id > after).order_by(JobEvent.id)
    if types:
        query = query.where(JobEvent.type.in_(types))
    return list(session.scalars(query))


def newest_attempt(session: Session, job_id: int) -> Attempt | None:
    return session.scalar(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number.desc()).limit(1))


def lease_holders(session: Session) -> dict[str, int]:
    """Device -> job that holds it."""
    return {lease.device: lease.job_id for lease in session.scalars(select(Lease))}


def set_position(session: Session, job_id: int, place: int) -> None:
    """Move a waiting job to `place` (1 is next).

    Raises:
        Conflict: the job does not wait.
    """
    if require(session, job_id).state != "queued":
        raise Conflict("job.not_waiting", job=job_id)
    order = [each.id for each in waiting(session) if each.id != job_id]
    order.insert(max(0, place - 1), job_id)
    stamp = next_change(session)
    for position, waiting_id in enumerate(order, start=1):
        session.execute(update(Job).where(Job.id == waiting_id).values(position=position, change=stamp))


def _views() -> Select:
    return (
        select(Job, Dataset.name, DatasetVersion.number, Model.name)
        .outerjoin(DatasetVersion, Job.dataset_version_id == DatasetVersion.id)
        .outerjoin(Dataset, DatasetVersion.dataset_id == Dataset.id)
        .outerjoin(Model, Job.model_id == Model.id)
    )


_JOINED = {"dataset", "dataset_version", "model"}
_OWN = [name for name in JobView.__dataclass_fields__ if name not in _JOINED]


def _view(row: Any) -> JobView:
    found, dataset, version, model = row
    own = {name: getattr(found, name) for name in _OWN}
    return JobView(**own, dataset=dataset, dataset_version=version, model=model)
