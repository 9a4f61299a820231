"""Backup and restore: what was there comes back, nothing is deleted, and no number or place is given twice."""

import os
import resource
import sqlite3
import sys
from pathlib import Path

import pytest

from studio.db import backup, jobs, metrics, runs
from studio.db.backup import back_up, restore
from studio.db.engine import Reader, Writer
from studio.db.tables import Attempt
from studio.errors import Conflict, RefusedInput
from studio.jobs import processes
from studio.paths import Workspace
from studio.protocol import utc_now
from tests.app.seeding import add_run
from tests.e2e.luthier import luthier_here


@pytest.fixture
def place(workspace: Workspace) -> Workspace:
    """A studio with an ended run, its curve and its folder."""
    writer = Writer(workspace.registry)
    with writer.begin() as session:
        job_id = add_run(session, title="kept", state="succeeded")
        metrics.append(session, job_id, 1, {"loss": [(step, 1.0) for step in range(700)]})
        runs.add_tag(session, job_id, "good")
    writer.close()
    workspace.job(job_id).mkdir(parents=True)
    return workspace


def add(place: Workspace, title: str, state: str) -> int:
    writer = Writer(place.registry)
    with writer.begin() as session:
        job_id = add_run(session, title=title, state=state)
    writer.close()
    folder = place.job(job_id) / "checkpoints" / "step-10"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights of " + title.encode())
    return job_id


def states(place: Workspace) -> dict[str, str]:
    reader = Reader(place.registry)
    with reader.session() as session:
        found = {job.title: job.state for job in jobs.list_jobs(session)}
    reader.close()
    return found


def test_what_was_backed_up_comes_back_and_what_was_there_is_kept(place: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "backup.sqlite"
    assert back_up(place, file) == file.stat().st_size and file.stat().st_mode & 0o777 == 0o600
    later = add(place, "later", "failed")
    found = restore(place, file)
    assert states(place) == {"kept": "succeeded"} and (found.runs, found.ended) == (1, [])
    reader = Reader(place.registry)
    with reader.session() as session:
        assert len(metrics.points(session, 1, "loss").steps) == 700 and runs.tags_of(session, [1]) == {1: ["good"]}
    reader.close()
    assert found.kept is not None and sqlite3.connect(found.kept).execute("SELECT count(*) FROM jobs").fetchone() == (
        2,
    )
    assert found.set_aside is not None
    assert (found.set_aside / "jobs" / str(later) / "checkpoints/step-10/model.safetensors").read_bytes()
    assert place.job(1).exists(), "what the backup knows stays where it is"
    assert add(place, "new", "failed") > later, "its number is not given again"
    assert not list(place.root.glob(".restoring*"))


def test_a_backup_while_somebody_writes_is_one_moment(place: Workspace, tmp_path: Path) -> None:
    writer = Writer(place.registry)
    with writer.begin() as session:
        add_run(session, title="half", state="failed")
        session.flush()
        back_up(place, tmp_path / "b.sqlite")
    writer.close()
    with sqlite3.connect(tmp_path / "b.sqlite") as copy:
        assert copy.execute("SELECT title FROM jobs").fetchall() == [("kept",)]


def test_nothing_starts_by_itself_after_a_restore(place: Workspace, tmp_path: Path) -> None:
    add(place, "ran", "running")
    add(place, "waited", "queued")
    back_up(place, tmp_path / "b.sqlite")
    found = restore(place, tmp_path / "b.sqlite")
    assert states(place) == {"kept": "succeeded", "ran": "lost", "waited": "cancelled"} and found.ended == [2, 3]


def test_versions_and_fetched_models_of_later_are_set_aside_too(place: Workspace, tmp_path: Path) -> None:
    back_up(place, tmp_path / "b.sqlite")
    for folder in (place.datasets / "4" / "v2", place.models / "hub-9", place.models / "starter"):
        folder.mkdir(parents=True)
    found = restore(place, tmp_path / "b.sqlite")
    assert found.set_aside is not None
    assert (found.set_aside / "datasets/4/v2").is_dir() and (found.set_aside / "models/hub-9").is_dir()
    assert (place.models / "starter").is_dir()


def test_a_server_or_a_job_that_runs_refuses_a_restore(place: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "b.sqlite"
    back_up(place, file)
    lock = processes.hold_lock(place.lock)
    assert lock is not None
    with lock, pytest.raises(Conflict, match="open"):
        restore(place, file)
    job_id = add(place, "runs", "running")
    folder = place.attempt(job_id, 1)
    folder.mkdir(parents=True)
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)", str(folder)]
    alive = processes.start(sleeping, folder=tmp_path, log=tmp_path / "log", environment=dict(os.environ))
    writer = Writer(place.registry)
    with writer.begin() as session:
        same = {"ended_at": None, "exit_code": None, "event_offset": 0, "invalid_lines": 0, "start_step": 0}
        noted = Attempt(job_id=job_id, number=1, pid=alive.pid, process_started_at=alive.started_at, **same)
        noted.started_at = utc_now()
        session.add(noted)
    writer.close()
    with pytest.raises(Conflict, match=f"Job {job_id}"):
        restore(place, file)
    processes.end_group(alive, str(folder), force=True)
    processes.reap(alive.pid)
    assert restore(place, file).runs == 1


def test_a_damaged_registry_is_what_a_restore_is_for(place: Workspace, tmp_path: Path) -> None:
    back_up(place, tmp_path / "b.sqlite")
    with place.registry.open("r+b") as file:
        file.write(b"no database at all" * 300)
    found = restore(place, tmp_path / "b.sqlite")
    assert states(place) == {"kept": "succeeded"}
    assert found.kept is not None and found.kept.read_bytes().startswith(b"no database")


@pytest.mark.parametrize("kind", ["nothing", "text", "torn", "other", "newer"])
def test_what_is_no_backup_is_refused_and_changes_nothing(place: Workspace, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "b.sqlite"
    back_up(place, file)
    if kind == "nothing":
        file.unlink()
    elif kind == "text":
        file.write_text("hello")
    elif kind == "torn":
        file.write_bytes(file.read_bytes()[:20_000])
    else:
        with sqlite3.connect(file) as changed:
            changed.execute(
                "DROP TABLE alembic_version" if kind == "other" else "UPDATE alembic_version SET version_num = '9999'"
            )
    before = place.registry.read_bytes()
    with pytest.raises(RefusedInput):
        restore(place, file)
    assert place.registry.read_bytes() == before and states(place) == {"kept": "succeeded"}


@pytest.mark.parametrize("moment", ["_keep", "_set_aside"])
def test_a_crash_in_mid_restore_leaves_the_old_or_the_new_one(
    place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    add(place, "later", "failed")
    file = tmp_path / "b.sqlite"
    back_up(place, file)
    add(place, "latest", "failed")

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, moment, power_cut)
    with pytest.raises(KeyboardInterrupt):
        restore(place, file)
    assert states(place).keys() == {"kept", "later"} | ({"latest"} if moment == "_keep" else set())


def test_a_backup_that_does_not_fit_leaves_nothing(place: Workspace, tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "no" / "such.sqlite"):
        with pytest.raises(RefusedInput):
            back_up(place, wrong)
    (tmp_path / "b.sqlite").write_text("an earlier one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(RefusedInput):
            back_up(place, tmp_path / "b.sqlite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "b.sqlite").read_text() == "an earlier one"
    assert not list(tmp_path.glob(".*part"))


def test_both_are_commands(place: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "b.sqlite"
    made = luthier_here(place, "backup", file, "--json")
    assert made.code == 0 and made.document["bytes"] == file.stat().st_size
    add(place, "later", "failed")
    put_back = luthier_here(place, "restore", file)
    assert put_back.code == 0 and "1 run." in put_back.out and "registry-before" in put_back.out
    assert luthier_here(place, "restore", tmp_path / "none").code == 2
