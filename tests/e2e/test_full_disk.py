"""A disk that fills up while a run trains: server, registry, jobs and checkpoints all lie on it."""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from studio.db import checkpoints, jobs
from studio.errors import RefusedInput
from studio.paths import workspace
from tests.e2e.running_studio import RunningStudio
from tests.e2e.server import end_everything, wait_until
from tests.faults.tiny import write_byte_model
from trainers.checkpoints.manifest import TEMPORARY_PREFIX, damaged_files

MEGABYTES = 200
STEPS, SAVE_STEPS = 80, 10
SPEC = {
    "model_name_or_path": "tiny",
    "dataset": "style",
    "tuning": "full",
    "max_steps": STEPS,
    "save_steps": SAVE_STEPS,
    "save_total_limit": 0,
    "logging_steps": 1,
    "validation_split": 0.0,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
}
# A start is refused below some GiB; here it is to begin, and to find the disk full on its way.
NO_RESERVE = "from studio import desk_data; desk_data.LOW_DISK_BYTES = 0"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    size = f"size={MEGABYTES}m"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def studio(small_disk: Path) -> Iterator[RunningStudio]:
    place = workspace(small_disk / "luthier").make()
    made = RunningStudio(place, before=NO_RESERVE)
    made.server.do("add_model", path_or_id=str(write_byte_model(small_disk.parent / "tiny")), name="tiny")
    made.import_rows([{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(24)])
    yield made
    made.server.stop()
    end_everything(place)


def fill(disk: Path) -> Path:
    """Write until there is no byte left."""
    filler = disk / "filler"
    with pytest.raises(OSError) as full, filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"f" * 4096)
    assert full.value.errno == errno.ENOSPC
    return filler


def saved(studio: RunningStudio, job_id: int) -> list[checkpoints.CheckpointView]:
    return studio.read(lambda session: checkpoints.list_checkpoints(session, job_id))


def weights(studio: RunningStudio, job_id: int) -> bytes:
    return Path(saved(studio, job_id)[-1].path, "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_full_disk_pauses_the_run_and_room_lets_it_go_on(studio: RunningStudio, small_disk: Path) -> None:
    undisturbed = studio.server.do("train", spec=SPEC)
    assert studio.until_ended(undisturbed) == "succeeded"
    wanted = weights(studio, undisturbed)
    studio.server.do("remove", job_id=undisturbed)

    job_id = studio.server.do("train", spec=SPEC)
    wait_until(lambda: len(saved(studio, job_id)) >= 2, seconds=120, what=studio.server.log)
    filler = fill(small_disk)
    wait_until(lambda: studio.state(job_id) not in ("starting", "running"), seconds=60, what=studio.server.log)
    job = studio.read(lambda session: jobs.job(session, job_id))
    assert (job.state, job.reason) == ("paused", "job.disk_full"), job.reason_values
    kept = saved(studio, job_id)
    assert len(kept) >= 2 and not any(damaged_files(Path(each.path)) for each in kept)
    assert not list(Path(kept[0].path).parent.glob(f"{TEMPORARY_PREFIX}*"))
    assert httpx.get(f"{studio.server.url}/en/runs?run={job_id}").status_code == 200
    fill(small_disk)
    with pytest.raises(RefusedInput) as refused:
        studio.server.do("resume", job_id=job_id)
    assert refused.value.code == "disk.low"

    filler.unlink()
    studio.server.do("resume", job_id=job_id)
    assert studio.until_ended(job_id) == "succeeded"
    assert weights(studio, job_id) == wanted
    steps = studio.steps(job_id)
    assert sorted(set(steps)) == list(range(1, STEPS + 1))
