"""Pipelines in the registry: several stages in a row, each of which becomes a run when the one before has succeeded.

    state_of(["succeeded", "failed", None], is_stopped=False)  ->  "failed"

A pipeline has no state of its own: it is read off its stages' runs, so resuming the run of a failed stage is enough to
have the pipeline go on. A stage begins with the weights of the best checkpoint of the one before: the one with the
lowest held-out loss, or the last where nothing was held out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db import checkpoints, jobs, lineage
from studio.db.checkpoints import CheckpointView
from studio.db.engine import next_change
from studio.db.jobs import JobView, NewJob, add_job, record_event
from studio.db.tables import DatasetVersion, Job, Pipeline, PipelineStage
from studio.errors import UnknownName
from studio.protocol import utc_now

WAITING, GONE, STOPPED = "waiting", "gone", "stopped"


@dataclass(frozen=True, kw_only=True)
class NewStage:
    """A run that is settled completely."""

    title: str
    values: dict[str, Any]
    chosen: list[str]
    plan: dict[str, Any]
    wanted_device: str | None
    dataset_version_id: int
    model_id: int


@dataclass(frozen=True, kw_only=True)
class StageView:
    place: int
    title: str
    method: str
    dataset: str
    state: str
    """That of its run; waiting: its turn has not come; gone: its run was deleted."""
    job: int | None
    score: float | None
    """Held-out loss of its best checkpoint."""
    best: int | None
    """The checkpoint that the next stage begins with, as it stands now."""


@dataclass(frozen=True, kw_only=True)
class PipelineView:
    id: int
    title: str
    state: str
    created_at: str
    stages: tuple[StageView, ...]

    @property
    def current(self) -> StageView | None:
        """The stage that has begun last."""
        return next((each for each in reversed(self.stages) if each.state != WAITING), None)


def state_of(states: Sequence[str | None], *, is_stopped: bool) -> str:
    """What the runs of the stages make of their pipeline; None is a stage whose turn has not come."""
    begun = [state for state in states if state is not None]
    if len(begun) == len(states) and begun[-1] == "succeeded":
        return "succeeded"
    last = begun[-1] if begun else None
    if last in (None, "succeeded"):
        return STOPPED if is_stopped else WAITING
    return {"starting": "running", "lost": "failed", "cancelled": STOPPED, "queued": WAITING}.get(last, last)


def add(session: Session, title: str, stages: Sequence[NewStage], *, request_id: str | None = None) -> int:
    """Enter a pipeline and queue its first stage; the same request again is the same pipeline."""
    known = session.scalar(select(Pipeline).where(Pipeline.request_id == request_id)) if request_id else None
    if known is not None:
        return known.id
    made = Pipeline(title=title, request_id=request_id, is_stopped=False, created_at=utc_now())
    session.add(made)
    session.flush()
    for place, stage in enumerate(stages):
        session.add(PipelineStage(pipeline_id=made.id, place=place, job_id=None, began_at=None, **vars(stage)))
    session.flush()
    begin_next(session, made.id)
    return made.id


def require(session: Session, number: int) -> Pipeline:
    """
    Raises:
        UnknownName: no such pipeline.
    """
    found = session.get(Pipeline, number)
    if found is None:
        raise UnknownName("pipeline.unknown", pipeline=number)
    return found


def after(session: Session, job: Job) -> None:
    """A run has ended: where it was a stage that succeeded, the next one's turn has come."""
    stage = session.scalar(select(PipelineStage).where(PipelineStage.job_id == job.id))
    if stage is not None and job.state == "succeeded" and not require(session, stage.pipeline_id).is_stopped:
        begin_next(session, stage.pipeline_id)


def begin_next(session: Session, number: int) -> int | None:
    """Queue the first stage whose turn has not come, from the best checkpoint before it; None where none is left.

    Also None where the stage before has saved nothing that it could begin with.
    """
    stages = _stages(session, number)
    place = next((stage.place for stage in stages if stage.began_at is None), None)
    if place is None:
        return None
    stage, before = stages[place], stages[place - 1] if place else None
    saved = best_of(session, before.job_id) if before and before.job_id else None
    if before is not None and saved is None:
        return None
    same = ("title", "values", "chosen", "wanted_device", "model_id", "dataset_version_id")
    new = NewJob(
        kind="train",
        method=stage.values["method"],
        tuning=stage.values["tuning"],
        needs_device=True,
        **{name: getattr(stage, name) for name in same},
    )
    stage.job_id, stage.began_at = add_job(session, new), utc_now()
    record_event(session, stage.job_id, type="plan", data=stage.plan)
    if saved is not None:
        lineage.record_origin(session, stage.job_id, saved, weights_only=True)
    return stage.job_id


def best_of(session: Session, job_id: int) -> CheckpointView | None:
    """The checkpoint with the lowest held-out loss; the last where none has one."""
    saved = checkpoints.list_checkpoints(session, job_id)
    scored = [each for each in saved if each.metrics.get("eval_loss") is not None]
    return min(scored, key=lambda each: each.metrics["eval_loss"]) if scored else saved[-1] if saved else None


def view(session: Session, number: int) -> PipelineView:
    """
    Raises:
        UnknownName: no such pipeline.
    """
    found, stages = require(session, number), _stages(session, number)
    runs = {stage.job_id: jobs.job(session, stage.job_id) for stage in stages if stage.job_id is not None}
    states = [_state(stage, runs) for stage in stages]
    begun = [None if state == WAITING else state for state in states]
    return PipelineView(
        id=found.id,
        title=found.title,
        state=state_of(begun, is_stopped=found.is_stopped),
        created_at=found.created_at,
        stages=tuple(_stage_view(session, stage, state) for stage, state in zip(stages, states, strict=True)),
    )


def list_pipelines(session: Session, *, limit: int = 20) -> list[PipelineView]:
    """The newest first."""
    numbers = session.scalars(select(Pipeline.id).order_by(Pipeline.id.desc()).limit(limit)).all()
    return [view(session, number) for number in numbers]


def set_stopped(session: Session, number: int, *, is_stopped: bool) -> None:
    require(session, number).is_stopped = is_stopped
    next_change(session)


def document(found: PipelineView) -> dict[str, Any]:
    """As the command line prints it."""
    return asdict(found)


def _stages(session: Session, number: int) -> list[PipelineStage]:
    wanted = select(PipelineStage).where(PipelineStage.pipeline_id == number)
    return list(session.scalars(wanted.order_by(PipelineStage.place)))


def _state(stage: PipelineStage, runs: dict[int, JobView]) -> str:
    if stage.began_at is None:
        return WAITING
    return runs[stage.job_id].state if stage.job_id is not None else GONE


def _stage_view(session: Session, stage: PipelineStage, state: str) -> StageView:
    best = best_of(session, stage.job_id) if stage.job_id is not None else None
    version = session.get_one(DatasetVersion, stage.dataset_version_id)
    return StageView(
        place=stage.place,
        title=stage.title,
        method=stage.values["method"],
        dataset=f"{stage.values['dataset'].partition('@')[0]}@{version.number}",
        state=state,
        job=stage.job_id,
        score=best.metrics.get("eval_loss") if best else None,
        best=best.id if best else None,
    )
