"""Every verb that changes something: what pages call directly and the command line calls through the server.

Each verb checks what it is asked completely, changes the registry in one short transaction, and leaves the work to
jobs. Nothing here loads weights, reads a whole data file or waits for training.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from studio.db import checkpoints, comparisons, datasets, jobs, models
from studio.db.datasets import DatasetSummary
from studio.db.engine import Writer
from studio.db.jobs import NewJob
from studio.db.models import ModelSummary
from studio.db.tables import Preference
from studio.desk_asking import AskingDesk
from studio.desk_baseline import BaselineDesk
from studio.desk_choosing import ChoosingDesk
from studio.desk_data import check_name
from studio.desk_exporting import ExportingDesk
from studio.desk_going_on import GoingOnDesk
from studio.desk_memory import MemoryDesk
from studio.desk_pipelines import PipelineDesk
from studio.desk_rewards import RewardDesk
from studio.desk_runs import RunsDesk
from studio.desk_scoring import ScoringDesk
from studio.desk_settings import SettingsDesk
from studio.desk_training import TrainingDesk
from studio.desk_trying import TryingDesk
from studio.errors import Conflict, RefusedInput
from studio.jobs import supervisor
from studio.jobs.lifecycle import LIVE
from studio.labelling_requests import LabellingRequests
from studio.paths import Workspace, written_path

_HUB_ID = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}")


def is_hub_id(text: str) -> bool:
    """Whether this is how a model is named on a hub: `owner/name`."""
    return bool(_HUB_ID.fullmatch(text))


class Desk(
    TrainingDesk,
    TryingDesk,
    GoingOnDesk,
    RunsDesk,
    ChoosingDesk,
    ScoringDesk,
    AskingDesk,
    ExportingDesk,
    BaselineDesk,
    RewardDesk,
    PipelineDesk,
    MemoryDesk,
    SettingsDesk,
):
    """The studio's counter. One per server; its methods may be called from any thread."""

    def __init__(
        self, workspace: Workspace, writer: Writer, *, wake: Callable[[], None] = lambda: None, machine: Any = None
    ) -> None:
        self.workspace = workspace
        self._writer = writer
        self._wake = wake
        self._machine = machine
        self._leaving = False
        self._stays = False
        self.labelling = LabellingRequests(workspace, writer, self._change)

    # -- models --------------------------------------------------------------------------------------------------

    def add_model(self, path_or_id: str, *, name: str | None = None) -> str:
        """Register a model folder; returns its name.

        Raises:
            RefusedInput: the folder holds no model that the studio can use.
        """
        from studio.models.folder import read_model_folder

        folder = written_path(path_or_id)
        if folder is None or not folder.exists():
            raise RefusedInput("model.no_such_folder", folder=path_or_id)
        facts = read_model_folder(folder)
        chosen = name or folder.name
        check_name(chosen)
        source = "starter" if folder == self.workspace.starter_model else "local"
        with self._writer.begin() as session:
            if any(known.name == chosen and known.path != str(folder) for known in models.list_models(session)):
                raise Conflict("model.name_taken", name=chosen)
            models.add_model(session, name=chosen, source=source, path=str(folder), facts=msgspec.to_builtins(facts))
        return chosen

    def fetch_model(self, model_id: str, *, name: str | None = None) -> int:
        """Queue the download of a model from the hub; returns the job, whose success registers the model.

        Raises:
            RefusedInput: this is no id of a hub.
        """
        if not is_hub_id(model_id):
            raise RefusedInput("model.no_such_folder", folder=model_id)
        chosen = name or model_id.rpartition("/")[2]
        check_name(chosen)
        values = {"model": model_id, "name": chosen}
        return self._queue(NewJob(kind="fetch", title=model_id, values=values, needs_device=False))

    def unpack_model(self, path: str, *, name: str | None = None) -> int:
        """Queue the unpacking of a GGUF file into weights that can be trained; the job's success registers the model.

        Raises:
            RefusedInput: there is no GGUF file, several, or part of one.
        """
        from studio.models.folder import packed_file

        place = written_path(path)
        if place is None or not place.exists():
            raise RefusedInput("model.no_such_folder", folder=path)
        file = packed_file(place)
        if file is None:
            raise RefusedInput("model.no_gguf", path=str(place))
        chosen = name or file.stem
        check_name(chosen)
        values = {"source": str(file.resolve()), "name": chosen}
        return self._queue(NewJob(kind="unpack", title=file.name, values=values, needs_device=False))

    def register_starter(self) -> None:
        """Enter the starter model if set-up has laid it out and the registry does not know it."""
        folder = self.workspace.starter_model
        if not (folder / "manifest.json").exists():
            return
        with self._writer.begin() as session:
            if any(known.path == str(folder) for known in models.list_models(session)):
                return
        self.add_model(str(folder), name="starter")

    def inspect(self, model: str, dataset: str | None = None) -> int | None:
        """Queue an inspect job for a model (and a data set under its tokenizer); None if its answer is known already.

        Asked again while it runs, it returns the same job.
        """
        with self._writer.begin() as session:
            base = models.model(session, model)
            version = datasets.dataset(session, dataset) if dataset else None
            content = version.content_hash if version else None
            if models.inspection(session, base.content_hash, content) is not None:
                return None
            for job in jobs.list_jobs(session, kinds=("inspect",), states=LIVE | {"queued"}):
                if job.model == base.name and job.dataset == (version.name if version else None):
                    return job.id
            return self._add(session, _inspect_job(base, version))

    # -- jobs ----------------------------------------------------------------------------------------------------

    def stop(self, job_id: int, *, now: bool = False) -> None:
        """Save and stop, or stop at once; a waiting job is cancelled, a paused one stopped."""
        with self._writer.begin() as session:
            job = jobs.require(session, job_id)
            if job.state == "queued":
                jobs.move(session, job_id, "cancelled", reason="job.cancelled")
            elif job.state == "paused":
                jobs.move(session, job_id, "stopped", reason="job.stopped")
            else:
                jobs.wish(session, job_id, "stop_now" if now else "stop")
        self._wake()

    def save_now(self, job_id: int) -> None:
        """Have a run write a checkpoint at its next step and go on."""
        self._wish(job_id, "save")

    def pause(self, job_id: int) -> None:
        """Save, end the process and free the device until the run is resumed."""
        self._wish(job_id, "pause")

    def resume(self, job_id: int) -> None:
        """Go on from the newest checkpoint, first in the queue. Asked twice, it changes nothing.

        Raises:
            Conflict: the job cannot be resumed (it succeeded, or never started).
            RefusedInput: the disk has no room for another checkpoint.
        """
        with self._writer.begin() as session:
            job = jobs.require(session, job_id)
            if job.kind != "train" or job.state in ("succeeded", "cancelled"):
                raise Conflict("job.not_resumable", job=job_id)
            saved = checkpoints.list_checkpoints(session, job_id)
            self._require_space(saved[-1].size_bytes if saved else 0)
            supervisor.resume(session, job_id)
        self._wake()

    # -- the studio itself ---------------------------------------------------------------------------------------

    def keep_preference(self, key: str, value: dict[str, Any]) -> None:
        with self._writer.begin() as session:
            session.merge(Preference(key=key, value=value))
            jobs.next_change(session)

    def stay(self) -> None:
        """A browser was opened here: this server no longer leaves when idle."""
        self._stays = True

    def is_idle(self) -> bool:
        """Whether nothing runs, waits or is being answered."""
        with self._writer.begin() as session:
            return _is_idle(session)

    def leave_if_idle(self) -> bool:
        """Close the desk if it is idle, decided under the write lock; every later job is refused."""
        with self._writer.begin() as session:
            self._leaving = _is_idle(session) and not self._stays
        return self._leaving

    def _queue(self, new: NewJob) -> int:
        with self._writer.begin() as session:
            job_id = self._add(session, new)
        self._wake()
        return job_id

    def _add(self, session: Any, new: NewJob) -> int:
        if self._leaving:
            raise Conflict("server.leaving")
        return jobs.add_job(session, new)

    def _wish(self, job_id: int, request: str) -> None:
        with self._writer.begin() as session:
            jobs.wish(session, job_id, request)
        self._wake()

    def _read_machine(self) -> Any:
        from studio.hardware import read_machine

        return self._machine or read_machine()


def _is_idle(session: Any) -> bool:
    return not (jobs.live(session) or jobs.queue(session) or comparisons.open_answers(session))


def _inspect_job(base: ModelSummary, version: DatasetSummary | None) -> NewJob:
    return NewJob(
        kind="inspect",
        title=base.name,
        values={},
        needs_device=False,
        model_id=base.id,
        dataset_version_id=version.version_id if version else None,
    )
