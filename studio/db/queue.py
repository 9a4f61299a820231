"""When waiting runs may start: at once, from a time of day on, or not before a person says so.

Only runs that never began are held. One that is resumed, or started again after it was killed, was let in before; and
what a person waits for beside the queue (an answer, a look at data) is never held.
"""

from dataclasses import asdict, dataclass, replace

from sqlalchemy.orm import Session

from studio.db.tables import Clock, Preference

_KEY = "queue"


@dataclass(frozen=True, kw_only=True)
class QueueRules:
    """What a person decided about the queue."""

    is_held: bool = False
    not_before: str | None = None
    """UTC time as `studio.protocol.utc_now` writes it; null or past: at once."""
    holds_after_failure: bool = False
    """A run that fails or is lost holds the queue; else the next one starts."""
    failed_run: int | None = None
    """The run whose end holds the queue."""

    def holds(self, now: str) -> bool:
        return self.is_held or (self.not_before or "") > now


def rules(session: Session) -> QueueRules:
    kept = session.get(Preference, _KEY)
    known = kept.value if kept else {}
    return QueueRules(**{name: known[name] for name in QueueRules.__dataclass_fields__ if name in known})


def keep_rules(session: Session, decided: QueueRules) -> None:
    session.merge(Preference(key=_KEY, value=asdict(decided)))


def note_failure(session: Session, job_id: int) -> None:
    """A run failed or was lost: hold the queue if that was asked for."""
    decided = rules(session)
    if decided.holds_after_failure and not decided.is_held:
        keep_rules(session, replace(decided, is_held=True, failed_run=job_id))


def next_number(session: Session) -> int:
    """A job's number; none is given twice."""
    clock = session.get_one(Clock, 1)
    clock.last_job += 1
    return clock.last_job


def last_number(session: Session) -> int:
    """The highest number that a job ever had."""
    return session.get_one(Clock, 1).last_job


def next_checkpoint_number(session: Session) -> int:
    """A checkpoint's number; none is given twice."""
    clock = session.get_one(Clock, 1)
    clock.last_checkpoint += 1
    return clock.last_checkpoint
