"""Training outlives the server: SIGKILL, restart, adoption, an unbroken curve, and a stop that saves."""

import json
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from studio.db import checkpoints, jobs, metrics
from studio.db.engine import Reader
from studio.db.jobs import newest_attempt
from studio.jobs.lifecycle import ENDED
from studio.paths import Workspace
from tests.e2e import style
from tests.e2e.server import Server, wait_until

LONG_RUN = {
    "model_name_or_path": "starter",
    "dataset": "style",
    "max_steps": 500,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "logging_steps": 1,
    "save_steps": 500,
}


class Studio:
    """A server on a workspace, with what the tests look at."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.server = Server(workspace).start()

    def import_rows(self, rows: list[dict[str, str]]) -> None:
        path = self.workspace.root / "style.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
        job_id = self.server.do("import_dataset", source=str(path), name="style")
        assert self.until_ended(job_id) == "succeeded"

    def state(self, job_id: int) -> str:
        return self._read(lambda session: jobs.job(session, job_id).state)

    def steps(self, job_id: int) -> list[int]:
        return self._read(lambda session: metrics.points(session, job_id, "loss").steps.tolist())

    def until_ended(self, job_id: int, *, seconds: float = 120.0) -> str:
        wait_until(lambda: self.state(job_id) in ENDED, seconds=seconds, what=self.server.log)
        return self.state(job_id)

    def _read(self, look):
        reader = Reader(self.workspace.registry)
        try:
            with reader.session() as session:
                return look(session)
        finally:
            reader.close()


@pytest.fixture
def studio(workspace_with_starter: Workspace):
    made = Studio(workspace_with_starter)
    yield made
    made.server.stop()
    for process in psutil.process_iter():
        if any(str(workspace_with_starter.root) in part for part in _command_line(process)):
            process.kill()


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def test_killing_the_server_leaves_training_running_and_nothing_is_lost(studio: Studio):
    train, _ = style.split(studio.workspace.starter_data / "trivia.jsonl")
    studio.import_rows(train[:40])
    job_id = studio.server.do("train", spec=LONG_RUN)
    wait_until(lambda: len(studio.steps(job_id)) >= 3, seconds=120, what=studio.server.log)
    pid = studio._read(lambda session: newest_attempt(session, job_id).pid)

    studio.server.kill()
    time.sleep(3)
    assert psutil.Process(pid).is_running()
    started = time.monotonic()
    studio.server.start()
    assert studio.state(job_id) == "running"
    seen = len(studio.steps(job_id))
    wait_until(lambda: len(studio.steps(job_id)) > seen, seconds=30, what=studio.server.log)
    assert time.monotonic() - started < 30

    studio.server.do("stop", job_id=job_id)
    assert studio.until_ended(job_id) == "stopped"
    steps = studio.steps(job_id)
    assert steps == list(range(1, len(steps) + 1))
    saved = studio._read(lambda session: checkpoints.list_checkpoints(session, job_id))
    assert [each.step for each in saved] == [len(steps)]
    assert Path(saved[0].path, "adapter_model.safetensors").exists()
    assert not psutil.pid_exists(pid)


def test_train_asked_twice_at_once_is_one_run(studio: Studio):
    train, _ = style.split(studio.workspace.starter_data / "trivia.jsonl")
    studio.import_rows(train[:12])
    spec = LONG_RUN | {"max_steps": 1}
    first = studio.server.do("train", spec=spec, request_id="one")
    second = studio.server.do("train", spec=spec, request_id="one")
    assert first == second
    studio.server.do("stop", job_id=first, now=True)
    assert studio.until_ended(first) in ("stopped", "cancelled")


def test_a_taken_port_is_no_obstacle(studio: Studio, tmp_path: Path):
    port = int(studio.server.url.rpartition(":")[2])
    other = Server(Workspace(tmp_path / "other").make(), port=port).start()
    try:
        assert other.url != studio.server.url
        with urllib.request.urlopen(f"{other.url}/api/health") as answer:
            assert json.load(answer)["workspace"] == str(tmp_path / "other")
    finally:
        other.stop()
