"""Copy a job's events into the registry, each exactly once: rows and byte offset change in one transaction."""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db import comparisons, metrics
from studio.db.engine import next_change
from studio.db.jobs import move
from studio.db.queue import next_checkpoint_number
from studio.db.tables import Attempt, Checkpoint, Job, JobEvent
from studio.protocol import Event, read_events

_KEPT_AS_ROWS = frozenset(
    {"phase", "memory", "peaks", "checkpoint", "set_aside", "alert", "log", "confusion", "reward_scores", "rollout"}
    | {"batch"}
)


def ingest(session: Session, attempt: Attempt, folder: Path) -> int:
    """Take in what is new in an attempt's events.jsonl; tells how many events that was."""
    batch = read_events(folder, attempt.event_offset)
    if batch.offset == attempt.event_offset:
        return 0
    job = session.get_one(Job, attempt.job_id)
    if job.state == "starting":
        move(session, job.id, "running")
    _take_metrics(session, job, attempt.number, [event for event in batch.events if event.type == "metric"])
    for event in batch.events:
        if event.type in _KEPT_AS_ROWS:
            _keep_row(session, attempt, event)
        _TAKE.get(event.type, _take_nothing)(session, job, attempt, event)
    attempt.event_offset = batch.offset
    attempt.invalid_lines += batch.invalid
    job.change = next_change(session)
    return len(batch.events)


def _keep_row(session: Session, attempt: Attempt, event: Event) -> None:
    session.add(
        JobEvent(
            job_id=attempt.job_id,
            attempt=attempt.number,
            seq=event.seq,
            time=event.time,
            type=event.type,
            data=event.data,
        )
    )


def _take_metrics(session: Session, job: Job, attempt: int, events: list[Event]) -> None:
    points: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        for name, value in event.data["values"].items():
            points.setdefault(name, []).append((event.data["step"], float("nan") if value is None else value))
    metrics.append(session, job.id, attempt, points)
    for event in events:
        job.last_metrics = job.last_metrics | event.data["values"] | {"step": event.data["step"]}


def _take_phase(session: Session, job: Job, attempt: Attempt, event: Event) -> None:
    job.phase = event.data["name"]
    job.progress_done = job.progress_total = job.progress_unit = job.seconds_left = None


def _take_progress(session: Session, job: Job, attempt: Attempt, event: Event) -> None:
    job.progress_done, job.progress_total = event.data["done"], event.data["total"]
    job.progress_unit, job.seconds_left = event.data.get("unit"), event.data.get("seconds_left")


def _take_checkpoint(session: Session, job: Job, attempt: Attempt, event: Event) -> None:
    """A new one, or what has become known since of one that was told before: the score of a caught-up evaluation."""
    told = {name: event.data[name] for name in ("step", "epoch", "path", "size_bytes", "digest", "metrics")}
    known = session.scalar(select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == told["step"]))
    if known is not None and known.digest == told["digest"]:
        known.metrics = told["metrics"]
        return
    if known is not None:  # written again, since the first one proved damaged: whoever named that one finds nothing
        session.delete(known)
        session.flush()
    number = next_checkpoint_number(session)
    session.add(Checkpoint(id=number, job_id=job.id, attempt=attempt.number, created_at=event.time, **told))


def _take_set_aside(session: Session, job: Job, attempt: Attempt, event: Event) -> None:
    """A damaged checkpoint is nobody's choice any more; where it lies now stands in its event."""
    session.query(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == event.data["step"]).delete()


def _take_sample(session: Session, job: Job, attempt: Attempt, event: Event) -> None:
    comparisons.update_answer(session, event.data)


def _take_nothing(session: Session, job: Job, attempt: Attempt, event: Event) -> None:
    """Metrics are taken in bulk; log, alert, memory and peaks need no more than their row."""


_TAKE = {
    "phase": _take_phase,
    "progress": _take_progress,
    "checkpoint": _take_checkpoint,
    "set_aside": _take_set_aside,
    "sample": _take_sample,
}
