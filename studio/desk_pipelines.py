"""The desk's verbs about several stages in a row: domain text first, then the task, then preferences.

All stages train the same weights of the same base model: the second goes on with the first one's adapter, or with the
whole model where that is what is trained. So what decides which weights those are is settled by the first stage
(`studio.params.changing.shaping`); everything else is each stage's own.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from studio.db import jobs, pipelines
from studio.db.engine import Writer
from studio.db.pipelines import NewStage
from studio.errors import Conflict, Fault, RefusedInput, SpecRefused
from studio.jobs.lifecycle import LIVE, RESUMABLE
from studio.params.changing import shaping

if TYPE_CHECKING:
    from studio.advisor.complete import Completed

MOST_STAGES = 8
COMMON = ("model_name_or_path", "tuning")
"""What a pipeline says once for all of its stages."""


class PipelineDesk:
    """What `Desk` can do with several stages in a row."""

    _writer: Writer
    _wake: Callable[[], None]

    def train_pipeline(
        self,
        stages: list[dict[str, Any]],
        *,
        title: str = "",
        request_id: str | None = None,
        device: str | None = None,
    ) -> int:
        """Check and settle every stage, and queue the first; returns the pipeline.

        Args:
            stages: a spec each, as `train` takes them; model and what is trained need to stand in the first only.

        Raises:
            SpecRefused: the faults of the first stage that has any; a field is named `stage 2: learning_rate`.
            RefusedInput: fewer than two stages, or too many.
        """
        from studio.advisor.complete import kept_with_run

        if not 2 <= len(stages) <= MOST_STAGES:
            raise RefusedInput("pipeline.stages", count=len(stages), most=MOST_STAGES)
        settled: list[NewStage] = []
        shape: dict[str, Any] = {}
        for place, spec in enumerate(stages):
            wanted = _joined(stages[0], shape, spec)
            try:
                base, version, (completed,) = self._completed([wanted], device, was_tuned=place > 0)
                _refuse_other_weights(shape, completed, place)
            except SpecRefused as error:
                raise SpecRefused(_placed(error.faults, place)) from error
            shape = shape or {name: completed.values[name] for name in shaping() if name in completed.values}
            name = str(spec.get("run_name") or f"{version.name} · {completed.values['method']}")
            settled.append(
                NewStage(
                    title=f"{title} {place + 1}: {name}".strip(),
                    values=completed.values,
                    chosen=completed.chosen,
                    plan=kept_with_run(completed),
                    wanted_device=device,
                    dataset_version_id=version.version_id,
                    model_id=base.id,
                )
            )
        with self._writer.begin() as session:
            number = pipelines.add(session, title or _title(settled), settled, request_id=request_id)
        self._wake()
        return number

    def stop_pipeline(self, pipeline: int) -> None:
        """Save and stop the stage that runs, and begin no further one until it is resumed."""
        with self._writer.begin() as session:
            pipelines.set_stopped(session, pipeline, is_stopped=True)
            current = pipelines.view(session, pipeline).current
            job = jobs.job(session, current.job) if current and current.job else None
        if job is not None and job.state in LIVE | {"queued", "paused"}:
            self.stop(job.id)

    def resume_pipeline(self, pipeline: int) -> None:
        """Go on where it stands: resume the run of a stage that stopped or failed, or begin the next stage.

        Raises:
            Conflict: pipeline.nothing_to_resume, pipeline.stage_gone.
        """
        with self._writer.begin() as session:
            found = pipelines.view(session, pipeline)
            current = found.current
            if found.state == "succeeded":
                raise Conflict("pipeline.nothing_to_resume", pipeline=pipeline)
            if current is not None and current.state == pipelines.GONE:
                raise Conflict("pipeline.stage_gone", pipeline=pipeline, stage=current.place + 1)
            pipelines.set_stopped(session, pipeline, is_stopped=False)
            if current is None or current.state == "succeeded":
                pipelines.begin_next(session, pipeline)
        if current is not None and current.state in RESUMABLE:
            self.resume(current.job)
        elif current is not None and current.state == "cancelled":
            self.next_stage(pipeline)
        self._wake()

    def next_stage(self, pipeline: int) -> int:
        """Begin the next stage with the best that the one before has saved, though that one did not succeed.

        Raises:
            Conflict: pipeline.stage_runs, pipeline.no_stage_left, pipeline.nothing_saved.
        """
        with self._writer.begin() as session:
            found = pipelines.view(session, pipeline)
            current = found.current
            if current is not None and current.state in LIVE | {"queued"}:
                raise Conflict("pipeline.stage_runs", pipeline=pipeline, stage=current.place + 1)
            if all(stage.state != pipelines.WAITING for stage in found.stages):
                raise Conflict("pipeline.no_stage_left", pipeline=pipeline)
            pipelines.set_stopped(session, pipeline, is_stopped=False)
            begun = pipelines.begin_next(session, pipeline)
            if begun is None:
                raise Conflict("pipeline.nothing_saved", pipeline=pipeline, stage=current.place + 1)
        self._wake()
        return begun


def _joined(first: Mapping[str, Any], shape: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's spec with what the first one has settled for all; what it says itself goes before."""
    common = {name: first[name] for name in COMMON if first.get(name)}
    return {**common, **shape, **{name: value for name, value in spec.items() if value is not None}}


def _refuse_other_weights(shape: Mapping[str, Any], completed: "Completed", place: int) -> None:
    other = sorted(name for name, value in shape.items() if completed.values.get(name) != value)
    if place and other:
        raise SpecRefused([Fault(name, "pipeline.other_weights", {"value": shape[name]}) for name in other])


def _placed(faults: list[Fault], place: int) -> list[Fault]:
    return [Fault(f"stage {place + 1}: {fault.field}", fault.code, fault.values) for fault in faults]


def _title(stages: list[NewStage]) -> str:
    return " → ".join(stage.values["method"] for stage in stages)
