"""A studio in a folder with a fake trainer, driven round by round."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.db import jobs
from studio.db.engine import Writer
from studio.db.jobs import JobView, NewJob
from studio.jobs import temporary
from studio.jobs.lifecycle import ENDED
from studio.jobs.supervisor import Supervisor
from studio.paths import Workspace


def fake_command(module: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.fake_trainer", module, str(folder)]


class Shop:
    """A registry, a supervisor without its thread, and shorthands for tests."""

    def __init__(self, workspace: Workspace, *, now: Callable[[], float] = time.monotonic) -> None:
        self.workspace = workspace
        self.writer = Writer(workspace.registry)
        self.supervisor = Supervisor(workspace, self.writer, command=fake_command, now=now)

    def queue(self, *, kind: str = "train", needs_device: bool = True, request_id: str | None = None, **values) -> int:
        new = NewJob(
            kind=kind,
            method="sft" if kind == "train" else None,
            title="a run",
            values={"method": "sft", "steps": 5} | values,
            needs_device=needs_device,
            request_id=request_id,
        )
        with self.writer.begin() as session:
            return jobs.add_job(session, new)

    def job(self, job_id: int) -> JobView:
        with self.writer.begin() as session:
            return jobs.job(session, job_id)

    def wish(self, job_id: int, request: str) -> None:
        with self.writer.begin() as session:
            jobs.wish(session, job_id, request)

    def until(self, reached: Callable[[], object], *, seconds: float = 30.0) -> None:
        """Run rounds until `reached()` is true."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline
            self.supervisor.tick()
            time.sleep(0.02)

    def until_state(self, job_id: int, *states: str) -> JobView:
        """Run rounds until the job is in one of `states`; any other end is a failure."""
        self.until(lambda: self.job(job_id).state in {*states, *ENDED})
        assert self.job(job_id).state in states, self.job(job_id)
        return self.job(job_id)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(Workspace(tmp_path).make())
    yield made
    made.writer.close()
    for attempt in made.workspace.jobs.glob("*/attempts/*"):  # of jobs that the test did not follow to their end
        temporary.delete_folder(attempt)
