"""The desk's verbs that queue training runs: one, one for each combination of some values, the same once more."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from studio.db import datasets, jobs, lineage, models, runs
from studio.db.datasets import DatasetSummary
from studio.db.jobs import NewJob
from studio.db.models import ModelSummary
from studio.desk_baseline import begin_curve
from studio.desk_runs import LONGEST_TAG
from studio.errors import Conflict, Failure, Fault, RefusedInput, SpecRefused, UnknownName
from studio.jobs.lifecycle import ENDED
from studio.params.methods import METHODS, method_of
from studio.paths import written_path

if TYPE_CHECKING:
    from studio.advisor.complete import Completed


class TrainingDesk:
    """What `Desk` can do to train."""

    def train(self, spec: dict[str, Any], *, request_id: str | None = None, device: str | None = None) -> int:
        """Check a spec, fill in what it leaves out, and queue the run; returns the job.

        Args:
            spec: names of the parameter tables, and model_name_or_path, dataset, run_name.
            request_id: the same id asked twice gives the same job.
            device: the one device that it may run on, cuda:1; any by default.

        Raises:
            SpecRefused: every fault of the spec at once.
            RefusedInput: this machine has no such device.
        """
        base, version, (completed,) = self._completed([spec], device)
        title = str(spec.get("run_name") or f"{version.name} · {completed.values['tuning']}")
        with self._writer.begin() as session:
            job_id = self._enter(session, base, version, completed, title=title, device=device, request_id=request_id)
        self._wake()
        return job_id

    def train_grid(
        self,
        spec: dict[str, Any],
        tried: Mapping[str, Sequence[Any]],
        *,
        request_id: str | None = None,
        device: str | None = None,
    ) -> dict[str, Any]:
        """Queue a run for each combination of values, all or none; returns {"tag": their tag, "jobs": [numbers]}.

        Args:
            tried: setting -> the values to try.

        Raises:
            SpecRefused: every fault of the first combination that has one.
            RefusedInput: nothing is varied, or too much.
        """
        from studio.params.grid import NOT_TRIED, combinations

        if fixed := [name for name in tried if name in NOT_TRIED]:
            raise RefusedInput("grid.fixed", setting=fixed[0])
        chosen = combinations(tried)
        base, version, completed = self._completed([{**spec, **each} for each in chosen], device)
        name = str(spec.get("run_name") or version.name)
        wished = str(spec.get("run_name") or f"{version.name} grid")
        ids = [f"{request_id}-{place}" if request_id else None for place in range(len(chosen))]
        with self._writer.begin() as session:
            known = jobs.by_request(session, ids[0]) if ids[0] else None
            kept = runs.tags_of(session, [known]).get(known) if known else None
            tag = kept[0] if kept else runs.free_tag(session, wished[:LONGEST_TAG].strip())
            entered = []
            for each, values, one_id in zip(chosen, completed, ids, strict=True):
                title = " · ".join([name, *(f"{setting} {value}" for setting, value in each.items())])
                job_id = self._enter(session, base, version, values, title=title, device=device, request_id=one_id)
                runs.add_tag(session, job_id, tag)
                entered.append(job_id)
        self._wake()
        return {"tag": tag, "jobs": entered}

    def duplicate(self, job_id: int, *, request_id: str | None = None) -> int:
        """Queue the same run once more, with the very values that it had; returns the new job.

        Raises:
            Conflict: this is no training run.
        """
        with self._writer.begin() as session:
            known = jobs.require(session, job_id)
            if known.kind != "train":
                raise Conflict("run.not_a_run", job=job_id)
            same = ("kind", "method", "tuning", "title", "values", "chosen", "needs_device", "wanted_device")
            same += ("dataset_version_id", "model_id")
            again = NewJob(**{name: getattr(known, name) for name in same}, request_id=request_id)
            plans = jobs.events(session, job_id, types=("plan",))
            new_id = self._add(session, again)
            if plans and not jobs.events(session, new_id, types=("plan",)):
                jobs.record_event(session, new_id, type="plan", data=plans[-1].data)
                self._begin_curve(session, new_id, known)
            for tag in runs.tags_of(session, [job_id]).get(job_id, ()):
                runs.add_tag(session, new_id, tag)
            lineage.copy_origin(session, job_id, new_id)
        self._wake()
        return new_id

    def _begin_curve(self, session: Session, job_id: int, known: Any) -> None:
        if known.model_id and known.dataset_version_id:
            base = models.by_id(session, known.model_id)
            version = datasets.by_version_id(session, known.dataset_version_id)
            begin_curve(session, self.workspace, job_id, base, version, known.values)

    def _completed(
        self, specs: Sequence[dict[str, Any]], device: str | None, *, was_tuned: bool = False
    ) -> tuple[ModelSummary, DatasetSummary, list["Completed"]]:
        """Specs of one model and data set with everything filled in; room on the disk for all of them.

        Args:
            was_tuned: the runs begin with what an earlier stage has learned.
        """
        from studio.advisor.complete import complete_spec
        from studio.advisor.known import known_of

        machine = self._machine_with(device)
        self._register_named_folder(specs[0].get("model_name_or_path"))
        base, version = self._named(specs[0])
        specs = [self._with_old_rows(spec) for spec in specs]
        inventory = self._inspection(base, version)
        with self._writer.begin() as session:
            known = known_of(session, self.workspace, base, version)
        known["was_tuned"] |= was_tuned
        completed = [
            complete_spec(spec, dataset=version, inspection=inventory, machine=machine, **known) for spec in specs
        ]
        self._require_space(sum(each.disk_bytes for each in completed))
        return base, version, completed

    def _machine_with(self, device: str | None) -> Any:
        """The machine as a run on `device` finds it."""
        machine = self._read_machine()
        if device is None:
            return machine
        if device not in machine.devices:
            raise RefusedInput("run.no_device", device=device, known=", ".join(machine.devices))
        return machine.only(device)

    def _enter(  # noqa: PLR0913 - what is known of a run
        self,
        session: Session,
        base: ModelSummary,
        version: DatasetSummary,
        completed: "Completed",
        *,
        title: str,
        device: str | None,
        request_id: str | None,
    ) -> int:
        """Queue one completed run with its plan; the same request again is the same run."""
        from studio.advisor.complete import kept_with_run

        new = NewJob(
            kind="train",
            method=completed.values["method"],
            tuning=completed.values["tuning"],
            title=title,
            values=completed.values,
            chosen=completed.chosen,
            needs_device=True,
            wanted_device=device,
            request_id=request_id,
            dataset_version_id=version.version_id,
            model_id=base.id,
        )
        job_id = self._add(session, new)
        if not jobs.events(session, job_id, types=("plan",)):
            jobs.record_event(session, job_id, type="plan", data=kept_with_run(completed))
            begin_curve(session, self.workspace, job_id, base, version, completed.values)
        return job_id

    def _register_named_folder(self, model: object) -> None:
        """A spec may name a model's folder that was never added; adding it is what the person meant."""
        folder = written_path(model) if isinstance(model, str) and model else None
        if folder is None or not folder.is_dir():
            return
        with self._writer.begin() as session:
            known = {word for each in models.list_models(session) for word in (each.name, each.path)}
        if model not in known and str(folder) not in known:
            self.add_model(model)

    def _named(self, spec: dict[str, Any]) -> tuple[ModelSummary, DatasetSummary]:
        """The model and data set that a spec names; both faults are reported together."""
        faults: list[Fault] = []
        found: dict[str, Any] = {}
        with self._writer.begin() as session:
            for field, look in (("model_name_or_path", models.model), ("dataset", datasets.dataset)):
                if not spec.get(field):
                    faults.append(Fault(field, "spec.missing"))
                    continue
                try:
                    found[field] = look(session, str(spec[field]))
                except UnknownName as error:
                    faults.append(Fault(field, error.code, error.values))
        if faults:
            raise SpecRefused(faults)
        return found["model_name_or_path"], found["dataset"]

    def _with_old_rows(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The spec with the version of its old data set that is the newest now: a later one is not meant.

        Raises:
            SpecRefused: there is none of that name, or its rows are of a kind that this method does not learn from.
        """
        if not spec.get("old_dataset"):
            return spec
        with self._writer.begin() as session:
            try:
                old = datasets.dataset(session, str(spec["old_dataset"]))
            except UnknownName as error:
                raise SpecRefused([Fault("old_dataset", error.code, error.values)]) from error
        learns_answers = spec.get("general_rows") in ("answers", "both")
        if old.format not in (METHODS["sft"] if learns_answers else method_of(spec)).formats:
            raise SpecRefused([Fault("old_dataset", "spec.old_format", {"found": old.format})])
        return {**spec, "old_dataset": f"{old.name}@{old.version}"}

    def _inspection(self, base: ModelSummary, version: DatasetSummary, *, seconds: float = 300.0) -> dict[str, Any]:
        """What an inspect job found out about this pair; asks and waits for it where nobody asked before."""
        job_id = self.inspect(base.name, f"{version.name}@{version.version}")
        deadline = time.monotonic() + seconds
        while job_id is not None and time.monotonic() < deadline:
            with self._writer.begin() as session:
                job = jobs.job(session, job_id)
            if job.state in ENDED:
                if job.state != "succeeded":
                    raise Failure(job.reason or "job.unexpected", **job.reason_values)
                break
            time.sleep(0.2)
        with self._writer.begin() as session:
            figures = models.inspection(session, base.content_hash, version.content_hash)
        if figures is None:
            raise Failure("model.inspection_slow", model=base.name, seconds=int(seconds))
        return figures
