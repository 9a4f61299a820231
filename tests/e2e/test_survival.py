"""Training outlives the server: SIGKILL, restart, adoption, an unbroken curve, and a stop that saves."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from studio.db import checkpoints
from studio.db.jobs import newest_attempt
from studio.paths import workspace
from tests.e2e import style
from tests.e2e.running_studio import RunningStudio
from tests.e2e.server import end_everything, wait_until
from tests.starter import put_starter

LONG_RUN = {
    "model_name_or_path": "starter",
    "dataset": "style",
    "max_steps": 20_000,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "logging_steps": 1,
    "save_steps": 20_000,
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, small_starter: Path) -> Iterator[RunningStudio]:
    """A studio with a data set, the same for all tests here."""
    place = workspace(tmp_path_factory.mktemp("survival") / "luthier").make()
    put_starter(small_starter, place)
    made = RunningStudio(place)
    train, _ = style.split(place.starter_data / "trivia.jsonl")
    made.import_rows(train[:40])
    yield made
    made.server.stop()
    end_everything(place)


@pytest.mark.slow
def test_killing_the_server_leaves_training_running_and_nothing_is_lost(studio: RunningStudio):
    job_id = studio.server.do("train", spec=LONG_RUN)
    wait_until(lambda: len(studio.steps(job_id)) >= 3, seconds=120, what=studio.server.log)
    pid = studio.read(lambda session: newest_attempt(session, job_id).pid)

    studio.server.kill()
    time.sleep(1)
    assert psutil.Process(pid).is_running()
    studio.server.start()
    assert studio.state(job_id) == "running"
    seen = len(studio.steps(job_id))
    wait_until(lambda: len(studio.steps(job_id)) > seen, seconds=60, what=studio.server.log)

    studio.server.do("stop", job_id=job_id)
    assert studio.until_ended(job_id) == "stopped"
    steps = studio.steps(job_id)
    assert steps == list(range(1, len(steps) + 1))
    saved = studio.read(lambda session: checkpoints.list_checkpoints(session, job_id))
    assert [each.step for each in saved] == [len(steps)]
    assert Path(saved[0].path, "adapter_model.safetensors").exists()
    # Where the first process of a system reaps nobody (a container's, often), the orphan stays as a zombie.
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_train_asked_twice_at_once_is_one_run(studio: RunningStudio):
    spec = LONG_RUN | {"max_steps": 1}
    first = studio.server.do("train", spec=spec, request_id="one")
    second = studio.server.do("train", spec=spec, request_id="one")
    assert first == second
    studio.server.do("stop", job_id=first, now=True)
    assert studio.until_ended(first) in ("stopped", "cancelled")
