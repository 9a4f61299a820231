"""A studio in a folder, its real supervisor driven round by round, with a tiny model and rows to train on."""

import time
from collections.abc import Callable, Iterator
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
from studio.paths import Workspace
from tests.faults.nursery import Nursery
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
WEIGHTS = {"lora": "adapter_model.safetensors", "qlora": "adapter_model.safetensors", "full": "model.safetensors"}


@contextmanager
def fault_studio(folder: Path, model: Path) -> Iterator["FaultStudio"]:
    """A studio whose jobs are forked from a nursery, on one thread each: two that wait for each other would spin."""
    pairs = [{"prompt": f"{i}?", "completion": f"{i}."} for i in range(8)]
    rows, warm_up = write_dataset(folder.with_name("warm") / "rows", pairs), []
    for tuning in WEIGHTS:
        fields = {
            "values": SFT | VALUES | {"tuning": tuning, "max_steps": 3},
            "dataset": rows,
            "model": model_ref(model),
        }
        warm_up.append(write_spec(folder.with_name("warm") / tuning, **fields))
    with (
        Nursery(warm_up) as nursery,
        patch.object(processes, "start", nursery.start),
        patch.object(supervisor, "cpu_count", lambda: 1),
    ):
        studio = FaultStudio(folder, model)
        try:
            yield studio
        finally:
            studio.writer.close()


class FaultStudio:
    """Registry, supervisor and job folders as a server has them, without its thread."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.workspace = Workspace(folder).make()
        self.writer = Writer(self.workspace.registry)
        self.supervisor = Supervisor(self.workspace, self.writer)
        pairs = [{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(24)]
        rows = write_dataset(folder / "rows", pairs)
        same = {"format": rows.format, "shape": "prompt_completion", "rows": rows.rows, "problems": 0, "excluded": 0}
        with self.writer.begin() as session:
            facts = {"architecture": "LlamaForCausalLM", "size_bytes": 1, "content_hash": "0" * 64, "license": None}
            self._model = models.add_model(session, name="tiny", source="local", path=str(model), facts=facts)
            number = datasets.reserve(session, "sums")
            made_by = jobs.add_job(session, NewJob(kind="prepare", title="sums", values={}, needs_device=False))
            jobs.move(session, made_by, "cancelled")
            manifest = same | {"content_hash": "1" * 32, "splits": {}}
            datasets.add_version(session, number, number=1, path=rows.path, job_id=made_by, manifest=manifest)
            self._rows = datasets.dataset(session, "sums").version_id

    def train(self, tuning: str, **values: Any) -> int:
        """Queue a run; returns the job."""
        chosen = SFT | VALUES | {"tuning": tuning} | values
        new = NewJob(
            kind="train",
            method="sft",
            tuning=tuning,
            title=tuning,
            values=chosen,
            needs_device=True,
            dataset_version_id=self._rows,
            model_id=self._model,
        )
        with self.writer.begin() as session:
            return jobs.add_job(session, new)

    def job(self, job_id: int) -> JobView:
        with self.writer.begin() as session:
            return jobs.job(session, job_id)

    def pid(self, job_id: int) -> int | None:
        with self.writer.begin() as session:
            attempt = newest_attempt(session, job_id)
            return attempt.pid if attempt else None

    def until(self, reached: Callable[[], object], *, seconds: float = 120.0) -> None:
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
        job = self.job(job_id)
        return (self.saved(job_id)[STEPS] / WEIGHTS[job.tuning]).read_bytes()

    def set_aside(self, job_id: int) -> list[int]:
        """Steps of checkpoints that proved damaged."""
        with self.writer.begin() as session:
            return [event.data["step"] for event in jobs.events(session, job_id, types=("set_aside",))]
