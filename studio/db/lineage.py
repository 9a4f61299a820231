"""Where a run came from: the checkpoint of another run that it goes on from, kept as the run's event `lineage`."""

from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db import comparisons, jobs, judges
from studio.db.checkpoints import CheckpointView
from studio.db.jobs import record_event
from studio.db.tables import Comparison, Job, JobEvent
from studio.jobs.lifecycle import ENDED
from studio.protocol import CheckpointRef

LINEAGE = "lineage"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The checkpoint that a run goes on from, as it was then: its run may be gone since."""

    run: int
    title: str
    checkpoint: int
    step: int
    path: str
    digest: str
    weights_only: bool = False
    """The run began with its weights and nothing else of it."""

    def ref(self) -> CheckpointRef:
        return CheckpointRef(step=self.step, path=self.path, digest=self.digest)


def record_origin(session: Session, job_id: int, saved: CheckpointView, *, weights_only: bool = False) -> None:
    found = Origin(
        run=saved.job_id,
        title=saved.run,
        checkpoint=saved.id,
        step=saved.step,
        path=saved.path,
        digest=saved.digest,
        weights_only=weights_only,
    )
    record_event(session, job_id, type=LINEAGE, data=asdict(found))


def origin(session: Session, job_id: int) -> Origin | None:
    told = jobs.events(session, job_id, types=(LINEAGE,))
    return Origin(**told[-1].data) if told else None


def copy_origin(session: Session, job_id: int, to: int) -> None:
    """Have the run `to` begin where the run `job_id` began, if that was at a checkpoint."""
    found = origin(session, job_id)
    if found and origin(session, to) is None:
        record_event(session, to, type=LINEAGE, data=asdict(found))


def used_checkpoints(session: Session) -> set[int]:
    """Checkpoints that must stay: a run that has not ended goes on from them or asks them, or a person asked them."""
    lineages = select(JobEvent).join(Job, JobEvent.job_id == Job.id)
    waiting = session.scalars(lineages.where(JobEvent.type == LINEAGE, Job.state.not_in(ENDED)))
    used = {event.data["checkpoint"] for event in waiting}
    asked = comparisons.columns_of(session, set(session.scalars(select(Comparison.id))))
    used |= judges.asked_checkpoints(session)
    return used | {column["checkpoint"] for columns, _ in asked.values() for column in columns if column["checkpoint"]}
