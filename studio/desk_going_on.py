"""The desk's verbs that take up a run where it ended: further from a checkpoint, smaller, or more carefully."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from studio.db import checkpoints, datasets, jobs, lineage
from studio.db.checkpoints import CheckpointView
from studio.db.engine import Writer
from studio.db.jobs import NewJob
from studio.db.tables import Job
from studio.errors import Conflict, Fault, RefusedInput, SpecRefused
from studio.jobs import shrinking
from studio.params.changing import ANEW
from studio.params.clashes import clashes
from studio.params.table import find_fault, parameters

NON_FINITE = frozenset({"job.non_finite", "job.non_finite_weights"})
SLOWER = 0.5
"""What the learning rate is multiplied with after a loss or gradient that was no number."""


class GoingOnDesk:
    """What `Desk` can do with a run that ended, besides resuming it as it was."""

    _writer: Writer
    _wake: Callable[[], None]

    def go_on(
        self,
        checkpoint_id: int,
        *,
        epochs: float = 0.0,
        learning_rate: float | None = None,
        run_name: str | None = None,
        request_id: str | None = None,
    ) -> int:
        """Queue a run of its own that goes on from a checkpoint, optimizer and place in the data included.

        Args:
            epochs: so many more than the run of the checkpoint was to have.
            learning_rate: another one from there on; None keeps it.

        Raises:
            UnknownName: no such checkpoint.
            RefusedInput: run.checkpoint_gone; run.nothing_more, where it would be over before its first step.
            SpecRefused: the rate or the epochs are no such number.
        """
        with self._writer.begin() as session:
            saved = checkpoints.checkpoint(session, checkpoint_id)
            known = _run_of(session, saved)
            _require_files(saved)
            values, changed = _longer(known.values, saved, epochs), ["num_train_epochs"] if epochs else []
            if learning_rate is not None and learning_rate != values["learning_rate"]:
                values, changed = values | {"learning_rate": learning_rate}, [*changed, "learning_rate"]
            _check(values, changed, saved)
            self._require_space(saved.size_bytes)
            same = ("method", "tuning", "dataset_version_id", "model_id", "wanted_device")
            new = NewJob(
                kind="train",
                title=run_name or f"{known.title} › {saved.step}",
                values=values,
                chosen=sorted({*known.chosen, *changed}),
                needs_device=True,
                request_id=request_id,
                **{name: getattr(known, name) for name in same},
            )
            job_id = self._add(session, new)
            if lineage.origin(session, job_id) is None:  # the same request again is the same run
                lineage.record_origin(session, job_id, saved)
                for plan in jobs.events(session, known.id, types=("plan",))[-1:]:
                    jobs.record_event(session, job_id, type="plan", data=plan.data)
        self._wake()
        return job_id

    def begin_anew(
        self,
        checkpoint_id: int,
        *,
        dataset: str | None = None,
        changes: dict[str, Any] | None = None,
        run_name: str | None = None,
        request_id: str | None = None,
    ) -> int:
        """Queue a run that begins with a checkpoint's weights and nothing else of it: other rows or batches are fine.

        Args:
            dataset: NAME or NAME@VERSION; None: the version that the checkpoint's run had.
            changes: settings of `studio.params.changing.ANEW`; the others stay as they were.

        Raises:
            UnknownName: no such checkpoint or data set.
            RefusedInput: run.checkpoint_gone, run.other_format.
            SpecRefused: a setting is none of those, or its value is out of bounds.
        """
        changes = changes or {}
        with self._writer.begin() as session:
            saved = checkpoints.checkpoint(session, checkpoint_id)
            known = _run_of(session, saved)
            _require_files(saved)
            changes = _with_old_rows(session, known, changes)
            values = _with_defaults(known.values | changes)
            if others := sorted(changes.keys() - ANEW):
                raise SpecRefused(
                    [Fault(name, "run.fixed_anew", {"known": ", ".join(sorted(ANEW))}) for name in others]
                )
            _refuse_faults(values, [name for name in changes if name in values])
            if changes.get("continual") and (found := clashes(_complete(values))):
                raise SpecRefused(found)
            self._require_space(saved.size_bytes)
            new = NewJob(
                kind="train",
                method=known.method,
                tuning=known.tuning,
                title=run_name or f"{known.title} › {saved.step}",
                values=values,
                chosen=sorted({*known.chosen, *(name for name in changes if changes[name] != known.values.get(name))}),
                needs_device=True,
                wanted_device=known.wanted_device,
                request_id=request_id,
                dataset_version_id=_version_for(session, known, dataset),
                model_id=known.model_id,
            )
            job_id = self._add(session, new)
            if lineage.origin(session, job_id) is None:  # the same request again is the same run
                lineage.record_origin(session, job_id, saved, weights_only=True)
                for plan in jobs.events(session, known.id, types=("plan",))[-1:]:
                    reasons = {name: why for name, why in plan.data.get("reasons", {}).items() if name not in changes}
                    jobs.record_event(session, job_id, type="plan", data={"reasons": reasons})
        self._wake()
        return job_id

    def try_smaller(self, job_id: int) -> None:
        """Queue a run that ran out of memory again, with the next smaller setting, from its newest checkpoint.

        Raises:
            Conflict: it did not run out of memory, or nothing smaller is left.
        """
        with self._writer.begin() as session:
            job = jobs.require(session, job_id)
            if job.state != "failed" or job.reason not in shrinking.OUT_OF_MEMORY:
                raise Conflict("run.had_memory", job=job_id)
            if not shrinking.shrink(session, job, job.reason_values):
                raise Conflict("run.nothing_smaller", job=job_id)
        self._wake()

    def try_slower(self, job_id: int, *, request_id: str | None = None) -> int:
        """Queue a run with half the learning rate, from the last checkpoint of one whose loss was no number any more.

        Raises:
            Conflict: its loss was fine, or nothing was saved.
        """
        with self._writer.begin() as session:
            job = jobs.require(session, job_id)
            saved = checkpoints.list_checkpoints(session, job_id)
            if job.state != "failed" or job.reason not in NON_FINITE or not saved:
                raise Conflict("run.was_finite", job=job_id)
            rate = SLOWER * job.values["learning_rate"]
        return self.go_on(saved[-1].id, learning_rate=rate, request_id=request_id)


def _longer(values: dict[str, Any], saved: CheckpointView, epochs: float) -> dict[str, Any]:
    """The values of a run that lasts so many epochs more; where steps are counted, as many steps as those are."""
    if values["max_steps"] > 0:
        steps = math.ceil(epochs * saved.step / saved.epoch) if saved.epoch else 0
        return values | {"max_steps": values["max_steps"] + steps}
    return values | {"num_train_epochs": values["num_train_epochs"] + epochs}


def _run_of(session: Session, saved: CheckpointView) -> Job:
    """
    Raises:
        RefusedInput: run.not_a_run: several adapters were combined, and nobody trained that.
    """
    found = jobs.require(session, saved.job_id)
    if found.kind != "train":
        raise RefusedInput("run.not_a_run", job=found.id)
    return found


def _require_files(saved: CheckpointView) -> None:
    if not (Path(saved.path) / "manifest.json").exists():
        raise RefusedInput("run.checkpoint_gone", step=saved.step)


def _version_for(session: Session, known: Job, dataset: str | None) -> int | None:
    """The data set version that is asked for; its rows must be of the kind that the run learns from."""
    if dataset is None:
        return known.dataset_version_id
    wanted = datasets.dataset(session, dataset)
    before = datasets.by_version_id(session, known.dataset_version_id) if known.dataset_version_id else None
    if before is not None and before.format != wanted.format:
        raise RefusedInput("run.other_format", dataset=dataset, found=wanted.format, wanted=before.format)
    return wanted.version_id


def _with_old_rows(session: Session, known: Job, changes: dict[str, Any]) -> dict[str, Any]:
    """What is to be kept is what the run of the checkpoint learned, unless other rows are named."""
    if changes.get("continual", "none") == "none" or changes.get("old_dataset") or known.dataset_version_id is None:
        return changes
    old = datasets.by_version_id(session, known.dataset_version_id)
    return changes | {"old_dataset": f"{old.name}@{old.version}"}


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Values with those that keeping an old task needs, and without those that it does not need any more."""
    own = [each for each in parameters(values["method"]) if each.group == "continual"]
    found = {each.name: each.default for each in own} | values
    return {name: value for name, value in found.items() if all(name != p.name or p.applies_to(found) for p in own)}


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    """Values of an older run with what the table has had since."""
    return {each.name: each.default for each in parameters(values["method"])} | values


def _refuse_faults(values: dict[str, Any], changed: list[str]) -> None:
    table = {parameter.name: parameter for parameter in parameters(values["method"])}
    faults: list[Fault | None] = [find_fault(table[name], values[name]) for name in changed]
    if found := [fault for fault in faults if fault]:
        raise SpecRefused(found)


def _check(values: dict[str, Any], changed: list[str], saved: CheckpointView) -> None:
    _refuse_faults(values, changed)
    counts_steps = values["max_steps"] > 0
    done, wanted = (saved.step, values["max_steps"]) if counts_steps else (saved.epoch, values["num_train_epochs"])
    # Epochs are told as a share of batches, so the last step may stand a little before the whole number.
    if wanted <= done + (0 if counts_steps else 1e-3):
        raise RefusedInput("run.nothing_more", step=saved.step)
