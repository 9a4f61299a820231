"""What becomes of a run that ended otherwise than it should, of its processes and of its checkpoints."""

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from studio.db import checkpoints, jobs, lineage
from studio.db.jobs import newest_attempt
from studio.jobs import processes, supervisor, temporary
from studio.jobs.retention import surplus
from studio.params.changing import smaller
from studio.paths import Workspace
from studio.protocol import LOG, SPEC, Spec, read_spec, write_struct
from tests.unit.jobs.conftest import Shop

BATCH = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3, "gradient_checkpointing": True}
RAN_OUT = {"fail_at": 5, "fail_reason": "job.out_of_memory", "tuning": "full"}


def pid_of(shop: Shop, job_id: int) -> int:
    with shop.writer.begin() as session:
        return newest_attempt(session, job_id).pid


def saved_steps(shop: Shop, job_id: int) -> list[int]:
    with shop.writer.begin() as session:
        return [each.step for each in checkpoints.list_checkpoints(session, job_id)]


# -- out of memory ---------------------------------------------------------------------------------------------------


def test_out_of_memory_it_goes_on_with_fewer_rows_at_once_and_as_many_an_update(shop):
    job_id = shop.queue(steps=6, save_every=2, **RAN_OUT, **BATCH, fits=1, retry_smaller=True)
    job = shop.until_state(job_id, "succeeded")
    assert job.attempt == 3, "4 rows at once, then 2, then 1"
    assert (job.values["per_device_train_batch_size"], job.values["gradient_accumulation_steps"]) == (1, 12)
    with shop.writer.begin() as session:
        told = [event.data["changes"] for event in jobs.events(session, job_id, types=("smaller",))]
        starts = [read_spec(shop.workspace.attempt(job_id, number)).resume_from[0].step for number in (2, 3)]
    assert [each["per_device_train_batch_size"] for each in told] == [2, 1]
    assert starts == [4, 4], "from the newest checkpoint"


@pytest.mark.parametrize(
    "changes", [{"retry_smaller": False}, {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}]
)
def test_out_of_memory_it_fails_where_that_was_not_allowed_or_nothing_is_smaller(shop, changes):
    job = shop.until_state(shop.queue(steps=6, **(RAN_OUT | BATCH | {"retry_smaller": True} | changes)), "failed")
    assert (job.attempt, job.reason) == (1, "job.out_of_memory")


def test_a_run_that_the_kernel_ended_for_want_of_memory_says_so(shop, monkeypatch):
    kills = [7]
    monkeypatch.setattr(processes, "oom_kills", lambda: kills[0])
    job_id = shop.queue(steps=500)
    shop.until_state(job_id, "running")
    kills[0] += 1
    os.kill(pid_of(shop, job_id), signal.SIGKILL)
    assert shop.until_state(job_id, "failed").reason == "job.out_of_memory_killed"
    assert processes.oom_kills() is not None


def test_a_run_killed_by_somebody_else_is_not_out_of_memory(shop, monkeypatch):
    monkeypatch.setattr(processes, "oom_kills", lambda: 7)
    assert shop.until_state(shop.queue(die_at=3), "lost").reason == "job.lost"


@pytest.mark.parametrize(
    ("values", "given", "changes"),
    [
        ({"rows": 8, "batches": 2}, {}, {"rows": 4, "batches": 4}),
        ({"rows": 3, "batches": 4}, {}, {"rows": 1, "batches": 12}),
        ({"rows": 6, "batches": 1}, {}, {"rows": 3, "batches": 2}),
        ({"rows": 1, "batches": 16}, {}, {"gradient_checkpointing": True}),
        ({"rows": 1, "batches": 1, "gradient_checkpointing": True, "tuning": "lora"}, {}, {"tuning": "qlora"}),
        (
            {"rows": 1, "batches": 1, "gradient_checkpointing": True, "tuning": "lora"},
            {"has_checkpoints": True},
            {},
        ),
        ({"rows": 1, "batches": 1, "gradient_checkpointing": True, "tuning": "full"}, {}, {}),
        ({"rows": 8, "batches": 2, "tuning": "lora"}, {"phase": "loading_model"}, {"tuning": "qlora"}),
        ({"rows": 8, "batches": 2, "tuning": "full"}, {"phase": "loading_model"}, {}),
        ({"rows": 8, "batches": 2, "eval": 8}, {"phase": "evaluating"}, {"eval": 4}),
        ({"rows": 8, "batches": 2, "eval": 1}, {"phase": "evaluating"}, {"rows": 4, "batches": 4}),
    ],
)
def test_the_next_smaller_setting_learns_from_as_many_rows_an_update(values, given, changes):
    names = {
        "rows": "per_device_train_batch_size",
        "batches": "gradient_accumulation_steps",
        "eval": "per_device_eval_batch_size",
    }
    found = smaller({names.get(name, name): value for name, value in values.items()}, **given)
    assert found == {names.get(name, name): value for name, value in changes.items()}


# -- processes -------------------------------------------------------------------------------------------------------


def test_what_a_killed_job_had_started_is_gone_with_it(shop):
    job_id = shop.queue(steps=500, child=True)
    shop.until_state(job_id, "running")
    pid = pid_of(shop, job_id)
    shop.until(lambda: psutil.Process(pid).children())
    child = psutil.Process(pid).children()[0]
    os.kill(pid, signal.SIGKILL)
    shop.until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=15)
    shop.wish(job_id, "stop_now") if shop.job(job_id).state == "running" else None


def test_a_stranger_in_a_session_of_that_number_is_left_alone(tmp_path):
    leader = processes.start(["sleep", "60"], folder=tmp_path, log=tmp_path / "log", environment=dict(os.environ))
    processes.end_leftovers(leader.pid + 1, str(tmp_path))
    processes.end_leftovers(leader.pid, str(tmp_path))
    assert psutil.Process(leader.pid).status() != psutil.STATUS_ZOMBIE
    os.kill(leader.pid, signal.SIGKILL)
    processes.reap(leader.pid)


def test_a_job_that_reports_and_does_not_obey_is_ended_all_the_same(tmp_path):
    clock = [0.0]
    shop = Shop(Workspace(tmp_path).make(), now=lambda: clock[0])
    job_id = shop.queue(steps=100_000, seconds_a_step=0.005, deaf=True)
    shop.until_state(job_id, "running")
    pid = pid_of(shop, job_id)
    shop.wish(job_id, "stop_now")
    for _ in range(30):  # half a second a round: 15 s, and it reports all the time
        clock[0] += 0.5
        shop.supervisor.tick()
        time.sleep(0.02)
        if shop.job(job_id).state == "stopped":
            break
    shop.until_state(job_id, "stopped")
    assert (shop.job(job_id).reason, clock[0] <= 15) == ("job.stopped_by_force", True)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    shop.writer.close()


# -- temporary files -------------------------------------------------------------------------------------------------

DEEP = "d" * 80
"""A folder's name with which no path below is one of a socket any more."""


@pytest.fixture(params=["", DEEP], ids=["shallow", "deep"])
def shop_at(request, monkeypatch) -> Iterator[Shop]:
    """A studio in a folder with a short path, as a person's is, and one in a deep folder."""
    with tempfile.TemporaryDirectory(prefix="w") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        made = Shop(Workspace(Path(short) / "h" / request.param).make())
        yield made
        made.writer.close()


@pytest.mark.parametrize(
    ("values", "state"),
    [({}, "succeeded"), ({"fail_at": 2}, "failed"), ({"die_at": 2}, "lost"), ({"steps": 9000}, "stopped")],
    ids=["whole", "failed", "killed", "stopped"],
)
def test_temporary_files_of_an_attempt_end_with_it(shop_at, values, state):
    shop, system = shop_at, Path(tempfile.gettempdir())
    job_id = shop.queue(**{"steps": 3, "litters": True} | values)
    if state == "stopped":
        shop.until_state(job_id, "running")
        shop.wish(job_id, "stop_now")
    attempts = [shop.workspace.attempt(job_id, n + 1) for n in range(shop.until_state(job_id, state).attempt)]
    assert len(attempts) == (2 if state == "lost" else 1)
    for attempt in attempts:
        left = Path((attempt / LOG).read_text().strip())
        assert left.parent == Path(read_spec(attempt).temporary_path) and not left.parent.exists()
        assert left.parent.parent == (system if DEEP in str(attempt) else attempt)
    assert list(system.iterdir()) == [system / "h"]


def test_a_job_that_cannot_start_leaves_no_temporary_files(shop_at):
    shop = shop_at
    shop.supervisor = supervisor.Supervisor(shop.workspace, shop.writer, command=lambda *_: ["/no/such/python"])
    job_id = shop.queue()
    shop.until_state(job_id, "failed")
    assert not Path(read_spec(shop.workspace.attempt(job_id, 1)).temporary_path).exists()


def test_sockets_of_loaders_fit_behind_the_folder(shop_at):
    attempt = shop_at.workspace.attempt(1, 1)
    attempt.mkdir(parents=True)
    folder = temporary.make_folder(attempt)
    assert folder.stat().st_mode & 0o077 == 0 or folder.is_relative_to(shop_at.workspace.root)
    for name in ("pymp-12345678/listener-12345678", "torch-shm-dir-123456/manager.sock"):
        (folder / name).parent.mkdir()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / name))


def test_nothing_but_such_a_folder_is_deleted(tmp_path):
    """Whatever stands in the spec of a workspace that came from elsewhere."""
    precious = tmp_path / "precious"
    precious.mkdir()
    fields = {"job_id": 1, "attempt": 1, "kind": "train", "values": {}, "checkpoints_path": "", "output_path": ""}
    for named in (str(precious), str(tmp_path), ""):
        write_struct(tmp_path / SPEC, Spec(**fields, temporary_path=named))
        temporary.delete_folder(tmp_path)
    (tmp_path / SPEC).write_text("{")
    temporary.delete_folder(tmp_path)
    assert precious.exists()


# -- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saved", "limit", "used", "gone"),
    [
        ([(1, None), (2, None), (3, None)], 0, set(), []),
        ([(1, None), (2, None), (3, None)], 2, set(), [1]),
        ([(1, 5.0), (2, 1.0), (3, 2.0), (4, 3.0), (5, 4.0)], 2, set(), [1, 3]),
        ([(1, 5.0), (2, 1.0), (3, 2.0), (4, 3.0), (5, 4.0)], 1, {1, 4}, [3]),
        ([(1, 1.0)], 5, set(), []),
    ],
)
def test_the_newest_the_best_and_those_in_use_stay(saved, limit, used, gone):
    assert surplus(saved, limit=limit, used=used) == gone


def test_a_run_keeps_as_many_checkpoints_as_it_was_told(shop):
    job_id = shop.queue(steps=12, save_every=2, best_at=4, save_total_limit=2)
    shop.until_state(job_id, "succeeded")
    assert saved_steps(shop, job_id) == [4, 10, 12]
    assert sorted(each.name for each in shop.workspace.checkpoints(job_id).iterdir()) == [
        "step-10",
        "step-12",
        "step-4",
    ]


def test_a_checkpoint_that_another_run_goes_on_from_stays(shop):
    first = shop.queue(steps=4, save_every=2)
    shop.until_state(first, "succeeded")
    with shop.writer.begin() as session:
        origin = checkpoints.list_checkpoints(session, first)[0]
    second = shop.queue(steps=6, save_every=2)
    with shop.writer.begin() as session:
        lineage.record_origin(session, second, origin)
        assert lineage.used_checkpoints(session) == {origin.id}
    shop.until_state(second, "succeeded")
    with shop.writer.begin() as session:
        assert lineage.used_checkpoints(session) == set()
    spec = read_spec(shop.workspace.attempt(second, 1))
    assert (spec.start_from.step, spec.start_from.digest, spec.resume_from) == (2, origin.digest, [])


@pytest.mark.parametrize(
    ("wish", "phase", "silent", "asked", "ended"),
    [
        ("stop_now", "saving", 1, 7, False),
        ("stop_now", "training", 0, 9, True),
        ("stop", "training", 100, 100, False),
        ("stop", "training", 121, 130, True),
        ("pause", "training", 0, 601, True),
        ("stop", "saving", 1700, 1700, False),
        ("stop", "saving", 1801, 1801, True),
    ],
)
def test_a_large_checkpoint_has_its_time_and_a_deaf_job_its_end(shop, wish, phase, silent, asked, ended):
    shop.supervisor._now = lambda: 10_000.0
    watch = supervisor._Watch(last_sign=10_000.0 - silent, asked=10_000.0 - asked)
    assert shop.supervisor._has_waited(SimpleNamespace(wish=wish, phase=phase), watch) == ended
