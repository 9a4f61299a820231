"""Checkpoints that jobs reported, with the digest that proves them."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db.tables import Checkpoint, Job, Model
from studio.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class CheckpointView:
    id: int
    job_id: int
    run: str
    """The run's title."""
    method: str | None
    tuning: str | None
    load_in_8bit: bool
    """It was trained on a base model of 8 bits a weight."""
    model: str | None
    """Name of the base model."""
    step: int
    epoch: float
    path: str
    size_bytes: int
    digest: str
    metrics: dict[str, float]
    created_at: str


def list_checkpoints(session: Session, job_id: int | None = None, *, limit: int = 500) -> list[CheckpointView]:
    """Newest run first, within a run by step."""
    query = _views().order_by(Checkpoint.job_id.desc(), Checkpoint.step).limit(limit)
    if job_id is not None:
        query = query.where(Checkpoint.job_id == job_id)
    return [_view(*row) for row in session.execute(query)]


def checkpoint(session: Session, checkpoint_id: int) -> CheckpointView:
    """One checkpoint.

    Raises:
        UnknownName: none with this number.
    """
    row = session.execute(_views().where(Checkpoint.id == checkpoint_id)).first()
    if row is None:
        raise UnknownName("checkpoint.unknown", checkpoint=checkpoint_id)
    return _view(*row)


def _views():
    return (
        select(Checkpoint, Job, Model.name)
        .join(Job, Checkpoint.job_id == Job.id)
        .outerjoin(Model, Job.model_id == Model.id)
    )


def _view(found: Checkpoint, run: Job, model: str | None) -> CheckpointView:
    same = ("id", "job_id", "step", "epoch", "path", "size_bytes", "digest", "metrics", "created_at")
    return CheckpointView(
        run=run.title,
        method=run.method,
        tuning=run.tuning,
        load_in_8bit=bool(run.values.get("load_in_8bit")),
        model=model,
        **{name: getattr(found, name) for name in same},
    )
