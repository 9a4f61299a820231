"""Answers that a run wrote while it learned from rewards: `steps` says at which steps it told any, `rollout` which."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db.tables import JobEvent

ROLLOUT = "rollout"


def steps(session: Session, job_id: int) -> dict[int, int]:
    """{step: id of its event} in the order of the steps; what a resumed run did again is the newer attempt's."""
    place = JobEvent.data["step"].as_integer()
    told = select(place, JobEvent.id, JobEvent.attempt).where(JobEvent.job_id == job_id, JobEvent.type == ROLLOUT)
    found: dict[int, int] = {}
    last = None
    for step, event, attempt in session.execute(told.order_by(JobEvent.id)):
        if attempt != last:
            found = {earlier: known for earlier, known in found.items() if earlier < step}
        found[step], last = event, attempt
    return found


def rollout(session: Session, event_id: int) -> dict[str, Any]:
    """What `studio.protocol.Event` says of a `rollout`."""
    return session.get_one(JobEvent, event_id).data
