"""A studio in a folder, its real supervisor driven round by round, with models and rows for each way of training."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from studio.db import checkpoints, datasets, jobs, models
from studio.db.engine import Writer
from studio.db.jobs import JobView, NewJob, newest_attempt
from studio.jobs import processes, supervisor
from studio.jobs.lifecycle import ENDED
from studio.jobs.supervisor import Supervisor
from studio.params.table import check, parameters
from studio.paths import Workspace
from tests.faults.nursery import Nursery
from tests.faults.tiny import CHAT, write_byte_model
from tests.faults.ways import FIRST, WAYS, Way
from tests.starter import whole_starter
from tests.trainers.jobs import SFT, model_ref, write_dataset, write_spec

STEPS, SAVE_STEPS = 12, 3
ROUND_SECONDS = 0.04
"""Between two rounds of the supervisor, which take their share of the processor too."""
VALUES = {
    "max_steps": STEPS,
    "save_steps": SAVE_STEPS,
    "eval_steps": SAVE_STEPS,
    "validation_split": 0.1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
}
PATIENCE_SECONDS = 300.0


@contextmanager
def fault_studio(folder: Path, *, ways: Sequence[str] = FIRST) -> Iterator["FaultStudio"]:
    """A studio whose jobs are forked from a nursery, on one thread each: two that wait for each other would spin.

    Args:
        folder: need not be there; other things are laid out beside it.
        ways: those that are to be trained, names of `WAYS`.
    """
    models_here = {name: _model(folder.with_name(name), name) for name in {WAYS[way].model for way in ways}}
    warm, warm_up = folder.with_name("warm"), []
    for name in ways:
        way = WAYS[name]
        rows = write_dataset(warm / name / "rows", list(map(dict, way.rows[:8])))
        fields = {"values": values_of(way, max_steps=3), "dataset": rows, "model": model_ref(models_here[way.model])}
        warm_up.append(write_spec(warm / name / "job", **fields))
    with (
        Nursery(warm_up) as nursery,
        patch.object(processes, "start", nursery.start),
        patch.object(supervisor, "cpu_count", lambda: 1),
    ):
        studio = FaultStudio(folder, models_here)
        try:
            yield studio
        finally:
            studio.writer.close()


def values_of(way: Way, **changes: Any) -> dict[str, Any]:
    """Every setting of the method: the way's own, those of the trials, those of the trainers' tests, the table's."""
    named = {"method": way.method, "tuning": way.tuning, "model_name_or_path": way.model, "dataset": "rows"}
    known = {each.name: each for each in parameters(way.method)}
    asked = SFT | VALUES | dict(way.values) | named
    usual = {name: value for name, value in asked.items() if name in known and known[name].applies_to(asked)}
    complete = check(usual | dict(way.values) | changes | named)
    return {name: value for name, value in complete.items() if name not in ("model_name_or_path", "dataset")}


def _model(folder: Path, name: str) -> Path:
    if name == "starter":
        return whole_starter().starter_model
    return write_byte_model(folder, chat_template=CHAT if name == "chatty" else None)


class FaultStudio:
    """Registry, supervisor and job folders as a server has them, without its thread."""

    def __init__(self, folder: Path, models_here: Mapping[str, Path]) -> None:
        self.workspace = Workspace(folder).make()
        self.writer = Writer(self.workspace.registry)
        self.supervisor = Supervisor(self.workspace, self.writer)
        self._rows: dict[str, int] = {}
        facts = {"architecture": "LlamaForCausalLM", "size_bytes": 1, "license": None}
        with self.writer.begin() as session:
            self._models = {
                name: models.add_model(
                    session, name=name, source="local", path=str(path), facts=facts | {"content_hash": name}
                )
                for name, path in models_here.items()
            }

    def train(self, name: str, **values: Any) -> int:
        """Queue a run of one of the ways; returns the job."""
        way = WAYS[name]
        if name not in self._rows:
            self._rows[name] = self._enter_rows(name, way)
        new = NewJob(
            kind="train",
            method=way.method,
            tuning=way.tuning,
            title=name,
            values=values_of(way, **values),
            needs_device=True,
            dataset_version_id=self._rows[name],
            model_id=self._models[way.model],
        )
        with self.writer.begin() as session:
            return jobs.add_job(session, new)

    def _enter_rows(self, name: str, way: Way) -> int:
        """The rows of a way as a data set; returns its version's number."""
        rows = write_dataset(self.workspace.root / "rows" / name, list(map(dict, way.rows)))
        manifest = {"format": rows.format, "shape": rows.format, "rows": rows.rows, "problems": 0, "excluded": 0}
        manifest |= {"content_hash": name, "splits": {}}
        with self.writer.begin() as session:
            number = datasets.reserve(session, name)
            made_by = jobs.add_job(session, NewJob(kind="prepare", title=name, values={}, needs_device=False))
            jobs.move(session, made_by, "cancelled")
            datasets.add_version(session, number, number=1, path=rows.path, job_id=made_by, manifest=manifest)
            return datasets.dataset(session, name).version_id

    def job(self, job_id: int) -> JobView:
        with self.writer.begin() as session:
            return jobs.job(session, job_id)

    def pid(self, job_id: int) -> int | None:
        with self.writer.begin() as session:
            attempt = newest_attempt(session, job_id)
            return attempt.pid if attempt else None

    def until(self, reached: Callable[[], object], *, seconds: float = PATIENCE_SECONDS) -> None:
        """Run rounds until `reached()` is true."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, "waited in vain"
            self.supervisor.tick()
            time.sleep(ROUND_SECONDS)

    def wish(self, job_id: int, request: str) -> None:
        with self.writer.begin() as session:
            jobs.wish(session, job_id, request)

    def resume(self, job_id: int) -> None:
        with self.writer.begin() as session:
            supervisor.resume(session, job_id)

    def until_ended(self, job_id: int) -> JobView:
        self.until(lambda: self.job(job_id).state in {*ENDED, "paused"})
        return self.job(job_id)

    def saved(self, job_id: int) -> dict[int, Path]:
        """Step -> folder of every checkpoint that the registry knows."""
        with self.writer.begin() as session:
            return {each.step: Path(each.path) for each in checkpoints.list_checkpoints(session, job_id)}

    def final_weights(self, job_id: int) -> bytes:
        """Every file of weights that the last checkpoint holds."""
        files = sorted(self.saved(job_id)[STEPS].glob("*.safetensors"))
        assert files
        return b"".join(path.read_bytes() for path in files)

    def set_aside(self, job_id: int) -> list[int]:
        """Steps of checkpoints that proved damaged."""
        with self.writer.begin() as session:
            return [event.data["step"] for event in jobs.events(session, job_id, types=("set_aside",))]
