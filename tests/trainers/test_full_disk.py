"""A disk that is really full: a small file system of its own, where the system lets one be mounted."""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from studio.protocol import SPEC, Spec, read_result, write_struct
from trainers.attempt import RESERVE, RESERVE_BYTES, Attempt
from trainers.checkpoints.manifest import damaged_files, whole_folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """2 MB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def save(target: Path, size: int) -> None:
    with whole_folder(target, step=1) as folder:
        (folder / "model.safetensors").write_bytes(b"w" * size)


def test_a_save_that_does_not_fit_leaves_the_earlier_ones_and_nothing_else(small_disk: Path) -> None:
    save(small_disk / "step-1", 900_000)
    with pytest.raises(OSError) as full:
        save(small_disk / "step-2", 1_500_000)
    assert full.value.errno == errno.ENOSPC
    assert [each.name for each in small_disk.iterdir()] == ["step-1"]
    assert damaged_files(small_disk / "step-1") == []
    save(small_disk / "step-2", 900_000)
    assert damaged_files(small_disk / "step-2") == []


def test_what_torch_says_of_a_full_disk_is_understood_though_its_half_file_is_gone_by_then(small_disk: Path) -> None:
    with pytest.raises(OSError) as full, whole_folder(small_disk / "step-1", step=1) as folder:
        torch.save({"state": torch.zeros(1_000_000)}, folder / "optimizer.pt")
    assert full.value.errno == errno.ENOSPC and isinstance(full.value.__cause__, RuntimeError)
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_is_a_pause_and_can_still_be_reported(small_disk: Path) -> None:
    attempt_folder = small_disk / "attempt"
    attempt_folder.mkdir()
    spec = Spec(job_id=1, attempt=1, kind="train", values={}, checkpoints_path="", output_path="")
    write_struct(attempt_folder / SPEC, spec)
    attempt = Attempt(attempt_folder, spec)
    (attempt_folder / RESERVE).write_bytes(b"\0" * RESERVE_BYTES)
    with pytest.raises(OSError) as full, (small_disk / "filler").open("wb") as filler:
        while True:
            filler.write(b"f" * 4096)
            filler.flush()
    attempt.end(attempt.failed(full.value))
    result = read_result(attempt_folder)
    assert (result.outcome, result.reason) == ("paused", "job.disk_full")
