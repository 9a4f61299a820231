"""The life of a job with real processes: starting, following, stopping, dying, and coming back."""

import json
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from sqlalchemy import create_engine

from studio.db import checkpoints, jobs, metrics
from studio.db.jobs import newest_attempt
from studio.db.migrate import upgrade
from studio.errors import Conflict
from studio.jobs import processes, supervisor
from studio.jobs.processes import Process
from studio.jobs.supervisor import Supervisor
from studio.protocol import EVENTS, SPEC, read_spec
from tests.unit.jobs.conftest import Shop


def pid_of(shop: Shop, job_id: int) -> int:
    with shop.writer.begin() as session:
        return newest_attempt(session, job_id).pid


def steps_of(shop: Shop, job_id: int) -> list[int]:
    with shop.writer.begin() as session:
        return metrics.points(session, job_id, "loss").steps.tolist()


def test_a_job_runs_to_its_end(shop):
    job_id = shop.queue(steps=7, save_every=3)
    job = shop.until_state(job_id, "succeeded")
    assert job.figures == {"steps": 7}
    assert job.last_metrics["loss"] == 10 / 7
    assert (job.progress_done, job.progress_total) == (7, 7)
    with shop.writer.begin() as session:
        assert metrics.points(session, job_id, "loss").values.tolist() == [10 / step for step in range(1, 8)]
        assert [each.step for each in checkpoints.list_checkpoints(session, job_id)] == [3, 6]
        assert jobs.lease_holders(session) == {}


def test_one_job_holds_the_device_and_the_next_waits(shop):
    first, second = shop.queue(steps=200), shop.queue(steps=2)
    shop.until_state(first, "running")
    assert shop.job(second).state == "queued"
    shop.wish(first, "stop_now")
    shop.until_state(second, "succeeded")
    assert shop.job(first).state == "stopped"


def test_the_order_of_the_queue_can_be_changed(shop):
    shop.queue(steps=200)
    second, third = shop.queue(), shop.queue()
    shop.supervisor.tick()
    with shop.writer.begin() as session:
        jobs.set_position(session, third, 1)
        assert [job.id for job in jobs.queue(session)] == [third, second]
    with shop.writer.begin() as session, pytest.raises(Conflict):
        jobs.set_position(session, 1, 1)
    shop.wish(1, "stop_now")
    shop.until_state(third, "succeeded")


def test_the_same_request_twice_is_one_job(shop):
    rounds = [threading.Thread(target=shop.queue, kwargs={"request_id": "abc"}) for _ in range(20)]
    for each in rounds:
        each.start()
    for each in rounds:
        each.join()
    with shop.writer.begin() as session:
        assert len(jobs.list_jobs(session)) == 1


def test_a_failure_keeps_its_reason_and_the_queue_goes_on(shop):
    first, second = shop.queue(fail_at=2), shop.queue()
    job = shop.until_state(first, "failed")
    assert (job.reason, job.reason_values) == ("job.non_finite", {"step": 2})
    shop.until_state(second, "succeeded")


def test_killed_before_anything_was_saved_it_is_tried_once_more_then_lost(shop):
    job = shop.until_state(shop.queue(die_at=3), "lost")
    assert (job.attempt, job.reason_values["exit_code"]) == (2, -signal.SIGKILL)


def test_a_damaged_checkpoint_is_set_aside_and_no_choice_any_more(shop):
    job_id = shop.queue(steps=6, save_every=2, die_at=5, sets_aside=4)
    assert shop.until_state(job_id, "succeeded").attempt == 2
    with shop.writer.begin() as session:
        told = [event.data["step"] for event in jobs.events(session, job_id, types=("set_aside",))]
        left = [saved.step for saved in checkpoints.list_checkpoints(session, job_id)]
    assert (told, left) == ([4], [2, 4, 6])
    assert steps_of(shop, job_id) == [1, 2, 3, 4, 5, 3, 4, 5, 6], "it went on from the one before"


def test_killed_after_a_checkpoint_it_starts_again_from_there(shop):
    job_id = shop.queue(steps=6, save_every=2, die_at=5, torn_line=True)
    assert shop.until_state(job_id, "succeeded").attempt == 2
    assert steps_of(shop, job_id) == [1, 2, 3, 4, 5, 5, 6]


def test_a_resumed_job_goes_first_and_resuming_twice_is_once(shop):
    job_id = shop.queue(steps=400, save_every=2)
    shop.until(lambda: len(steps_of(shop, job_id)) > 4)
    shop.wish(job_id, "pause")
    assert shop.until_state(job_id, "paused").reason == "job.paused"
    waiting = shop.queue()
    with shop.writer.begin() as session:
        supervisor.resume(session, job_id)
        supervisor.resume(session, job_id)
        assert [job.id for job in jobs.queue(session)] == [job_id, waiting]
    assert shop.until_state(job_id, "running").attempt == 2


def test_a_deaf_job_is_killed_after_the_grace_time(tmp_path):
    clock = [0.0]
    shop = Shop(supervisor.Workspace(tmp_path).make(), now=lambda: clock[0])
    job_id = shop.queue(steps=1, seconds_a_step=600, deaf=True)
    shop.until_state(job_id, "running")
    pid = pid_of(shop, job_id)
    shop.wish(job_id, "stop_now")
    shop.supervisor.tick()
    assert psutil.pid_exists(pid)
    clock[0] += 11
    job = shop.until_state(job_id, "stopped")
    assert job.reason == "job.stopped_by_force"
    assert not psutil.pid_exists(pid)


def test_an_invalid_line_is_counted_and_skipped(shop):
    job_id = shop.queue(steps=5, bad_line=2)
    shop.until_state(job_id, "succeeded")
    with shop.writer.begin() as session:
        assert newest_attempt(session, job_id).invalid_lines == 1
    assert steps_of(shop, job_id) == [1, 2, 3, 4, 5]


def test_a_new_server_adopts_what_runs_and_misses_nothing(shop):
    job_id = shop.queue(steps=60, seconds_a_step=0.02)
    shop.until(lambda: len(steps_of(shop, job_id)) > 5)
    pid = pid_of(shop, job_id)
    shop.writer.close()  # the old server is gone; what it knew in memory with it
    time.sleep(0.3)
    fresh = Shop(shop.workspace)
    fresh.supervisor.tick()
    assert fresh.job(job_id).state == "running"
    assert pid_of(fresh, job_id) == pid
    fresh.until_state(job_id, "succeeded")
    assert steps_of(fresh, job_id) == list(range(1, 61))


def make_older(registry: Path, revision: str) -> None:
    """Leave what an older version of the studio would have written: its tables and columns, with their rows."""
    newer = registry.rename(registry.with_name("newer.sqlite"))
    engine = create_engine(f"sqlite:///{registry}")
    upgrade(engine, revision)
    engine.dispose()
    with closing(sqlite3.connect(registry)) as older, older:
        older.execute("ATTACH ? AS newer", (str(newer),))
        tables = [name for (name,) in older.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
        for table in set(tables) - {"alembic_version"}:
            columns = ", ".join(f'"{row[1]}"' for row in older.execute(f'PRAGMA main.table_info("{table}")'))
            older.execute(f'INSERT OR REPLACE INTO main."{table}" ({columns}) SELECT {columns} FROM newer."{table}"')
    newer.unlink()


def test_a_new_version_adopts_what_the_old_one_started_and_misses_nothing(shop):
    """The registry is brought up to date while the job runs, whose spec lacks what the old version did not know."""
    job_id = shop.queue(steps=160, seconds_a_step=0.02, save_every=40)
    shop.until(lambda: len(steps_of(shop, job_id)) > 5)
    pid, seen = pid_of(shop, job_id), len(steps_of(shop, job_id))
    shop.writer.close()
    make_older(shop.workspace.registry, "0003")
    spec = shop.workspace.attempt(job_id, 1) / SPEC
    spec.write_text(json.dumps({key: value for key, value in json.loads(spec.read_text()).items() if value}))
    fresh = Shop(shop.workspace)
    assert (steps_of(fresh, job_id), pid_of(fresh, job_id)) == (list(range(1, seen + 1)), pid)
    fresh.supervisor.tick()
    assert fresh.job(job_id).state == "running"
    assert fresh.until_state(job_id, "succeeded").attempt == 1
    assert steps_of(fresh, job_id) == list(range(1, 161))
    with fresh.writer.begin() as session:
        assert [each.step for each in checkpoints.list_checkpoints(session, job_id)] == [40, 80, 120, 160]
        assert jobs.lease_holders(session) == {}
    assert fresh.queue() == job_id + 1
    fresh.writer.close()


def test_a_job_that_ended_while_no_server_ran_has_the_right_end(shop):
    job_id = shop.queue(steps=3)
    shop.supervisor.tick()
    pid = pid_of(shop, job_id)
    shop.writer.close()
    deadline = time.monotonic() + 20
    while processes.reap(pid) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    fresh = Shop(shop.workspace)
    assert fresh.until_state(job_id, "succeeded", "lost").state == "succeeded"
    assert steps_of(fresh, job_id) == [1, 2, 3]


def test_a_server_that_died_before_noting_the_pid_finds_the_process(shop):
    job_id = shop.queue(steps=100, seconds_a_step=0.05)
    shop.supervisor.tick()
    pid = pid_of(shop, job_id)
    with shop.writer.begin() as session:
        newest_attempt(session, job_id).pid = None
    shop.until(lambda: pid_of(shop, job_id) == pid)
    shop.wish(job_id, "stop_now")
    shop.until_state(job_id, "stopped")


def test_a_claimed_job_whose_process_never_started_waits_again(shop, monkeypatch):
    job_id = shop.queue()
    monkeypatch.setattr(Supervisor, "_launch", lambda self, spec: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        shop.supervisor.tick()
    monkeypatch.undo()
    assert shop.job(job_id).state == "starting"
    assert shop.until_state(job_id, "succeeded").attempt == 2


def test_a_reused_pid_is_neither_alive_nor_signalled(tmp_path):
    bystander = processes.start(["sleep", "60"], folder=tmp_path, log=tmp_path / "log", environment=dict(os.environ))
    while psutil.Process(bystander.pid).cmdline()[:1] != ["sleep"]:  # until then its start time alone decides
        time.sleep(0.01)
    stranger = Process(bystander.pid, bystander.started_at)
    assert not processes.is_alive(stranger, str(tmp_path / "attempt"))
    processes.end_group(stranger, str(tmp_path / "attempt"), force=True)
    assert psutil.Process(bystander.pid).status() != psutil.STATUS_ZOMBIE
    assert processes.is_alive(stranger, "60")
    assert not processes.is_alive(Process(bystander.pid, bystander.started_at - 60), "60")
    processes.end_group(stranger, "60", force=True)


def test_a_program_that_cannot_start_fails_its_job(shop):
    shop.supervisor = Supervisor(shop.workspace, shop.writer, command=lambda module, folder: ["/no/such/python"])
    job = shop.until_state(shop.queue(), "failed")
    assert job.reason == "job.could_not_start"


def test_training_takes_the_device_from_an_idle_serve_job(shop):
    serving = shop.queue(kind="serve", steps=2000)
    shop.until_state(serving, "running")
    training = shop.queue(steps=2)
    shop.until_state(training, "succeeded")
    assert shop.job(serving).state == "stopped"


def test_a_run_has_all_cores_and_a_light_job_one(shop, monkeypatch):
    monkeypatch.setattr(supervisor, "cpu_count", lambda: 13)
    for needs_device, threads in ((True, 13), (False, 1)):
        job = shop.queue(steps=400, needs_device=needs_device)
        shop.until_state(job, "running")
        given = psutil.Process(pid_of(shop, job)).environ()
        told = read_spec(shop.workspace.attempt(job, 1))
        assert (told.threads, given["OMP_NUM_THREADS"]) == (threads, str(threads))
        shop.wish(job, "stop_now")
        shop.until_state(job, "stopped")


def test_light_jobs_need_no_device(shop):
    training = shop.queue(steps=300)
    looking = shop.queue(kind="look", needs_device=False, steps=2)
    shop.until_state(looking, "succeeded")
    assert shop.job(training).state in ("starting", "running")
    shop.wish(training, "stop_now")
    shop.until_state(training, "stopped")


def test_events_land_exactly_once_whatever_the_reader_is_interrupted_by(shop):
    """Every prefix of the file, torn lines included, leads to the same points."""
    job_id = shop.queue(steps=5)
    shop.until_state(job_id, "succeeded")
    whole = (shop.workspace.attempt(job_id, 1) / EVENTS).read_bytes()
    from studio.jobs.ingest import ingest

    second = shop.queue()
    with shop.writer.begin() as session:
        jobs.move(session, second, "starting")
        shop.supervisor._prepare_attempt(session, second, "cpu")
    folder = shop.workspace.attempt(second, 1)
    for end in range(0, len(whole) + 1, 7):
        (folder / EVENTS).write_bytes(whole[:end])
        with shop.writer.begin() as session:
            ingest(session, newest_attempt(session, second), folder)
    (folder / EVENTS).write_bytes(whole)
    with shop.writer.begin() as session:
        ingest(session, newest_attempt(session, second), folder)
    assert steps_of(shop, second) == [1, 2, 3, 4, 5]
    assert not np.isnan(metrics_of(shop, second)).any()


def metrics_of(shop: Shop, job_id: int) -> np.ndarray:
    with shop.writer.begin() as session:
        return metrics.points(session, job_id, "loss").values
