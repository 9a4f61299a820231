"""A run that ran out of memory, tried again with the next smaller setting: by itself where a person allowed it."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from studio.db.jobs import move, record_event
from studio.db.tables import Checkpoint, Job
from studio.params.changing import smaller

OUT_OF_MEMORY = frozenset({"job.out_of_memory", "job.out_of_memory_killed"})


def changes_for(session: Session, job: Job, values: dict[str, Any]) -> dict[str, Any]:
    """What to change so that the job needs less memory; empty where nothing smaller is left.

    Args:
        values: of the reason that it ended with; `phase` tells what it did.
    """
    if job.kind != "train":
        return {}
    has_checkpoints = bool(session.scalar(select(func.count()).where(Checkpoint.job_id == job.id)))
    return smaller(job.values, phase=values.get("phase"), has_checkpoints=has_checkpoints)


def try_smaller(session: Session, job: Job, reason: str | None, values: dict[str, Any]) -> bool:
    """Queue a run again that ran out of memory, if its person allowed that and something smaller is left."""
    if reason not in OUT_OF_MEMORY or not job.values.get("retry_smaller") or job.wish in ("stop", "stop_now", "pause"):
        return False
    return shrink(session, job, values)


def shrink(session: Session, job: Job, values: dict[str, Any]) -> bool:
    """Change a job's values to the next smaller ones and queue it; tells whether there were any."""
    changes = changes_for(session, job, values)
    if not changes:
        return False
    job.values = job.values | changes
    job.tuning = job.values.get("tuning", job.tuning)
    record_event(session, job.id, type="smaller", data={"attempt": job.attempt, "changes": changes})
    return move(session, job.id, "queued", reason=f"job.smaller.{next(iter(changes))}", values=changes)
