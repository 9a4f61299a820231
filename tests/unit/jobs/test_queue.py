"""The queue: who starts on which device, who waits for what, and when waiting runs may start."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from studio.db import jobs, metrics
from studio.db import queue as queue_rules
from studio.db.jobs import NewJob, Waiting
from studio.db.queue import QueueRules
from studio.desk_runs import next_time
from studio.errors import Failure, RefusedInput
from studio.jobs import queueing, supervisor
from studio.jobs.folders import folder_bytes
from studio.jobs.queueing import Devices, Holder, Wait, decide
from studio.jobs.supervisor import Supervisor
from studio.paths import Workspace
from studio.protocol import read_spec, utc_now
from tests.unit.jobs.conftest import Shop, fake_command

GPUS = ("cuda:0", "cuda:1")


def waits(job_id: int, kind: str = "train", *, wanted: str | None = None, attempt: int = 0) -> Waiting:
    needs = kind in ("train", "serve")
    return Waiting(
        id=job_id, kind=kind, title=f"run {job_id}", needs_device=needs, wanted_device=wanted, attempt=attempt
    )


def decided(*queued: Waiting, held: dict[str, Holder] | None = None, devices=GPUS, num_light=0, held_by=None):
    return decide(queued, Devices(devices, held or {}), num_light=num_light, held_by=held_by)


def test_the_first_gets_the_first_free_device_and_the_next_the_other():
    found = decided(waits(1), waits(2), waits(3))
    assert found.start == (1, "cuda:0")
    assert found.waits == {1: Wait("starts"), 2: Wait("starts"), 3: Wait("devices", {"runs": [1, 2]})}


def test_what_wants_a_busy_gpu_lets_others_pass():
    found = decided(waits(5, wanted="cuda:0"), waits(6), held={"cuda:0": Holder(4, "train")})
    assert found.start == (6, "cuda:1")
    assert found.waits[5] == Wait("device", {"device": "cuda:0", "run": 4})


def test_behind_another_that_waits_for_the_same():
    held = {"cuda:0": Holder(1, "train"), "cuda:1": Holder(2, "train")}
    found = decided(waits(3), waits(4), held=held)
    assert found.waits == {
        3: Wait("devices", {"runs": [1, 2]}),
        4: Wait("behind", {"run": 3, "title": "run 3"}),
    }


def test_a_device_that_is_gone_is_named_and_blocks_nobody():
    found = decided(waits(1, wanted="cuda:7"), waits(2))
    assert found.start == (2, "cuda:0") and found.waits[1] == Wait("no_device", {"device": "cuda:7"})


def test_only_the_server_that_is_in_the_way_gives_way():
    held = {"cuda:0": Holder(1, "serve"), "cuda:1": Holder(2, "serve")}
    found = decided(waits(3, wanted="cuda:1"), held=held)
    assert (found.start, found.evict, found.waits[3]) == (None, 2, Wait("server_leaves"))
    leaving = held | {"cuda:1": Holder(2, "serve", is_leaving=True)}
    assert decided(waits(3, wanted="cuda:1"), held=leaving).evict is None, "it is asked once"
    assert decided(waits(3, "serve"), held=held).evict is None, "serving never takes a device from serving"


def test_light_jobs_wait_for_light_ones_only():
    found = decided(waits(1, "look"), waits(2, "look"), held={}, num_light=1)
    assert found.start == (1, None) and found.waits[2] == Wait("light")


def test_held_are_runs_that_never_began_and_nothing_else():
    found = decided(waits(1), waits(2, attempt=1), waits(3, "look"), waits(4, "serve"), held_by=Wait("held"))
    assert found.start == (2, "cuda:0")
    assert {job: wait.code for job, wait in found.waits.items()} == {1: "held", 2: "starts", 3: "starts", 4: "starts"}


@pytest.fixture
def shop_of_two(tmp_path: Path):
    made = Shop(Workspace(tmp_path).make())
    made.supervisor = Supervisor(made.workspace, made.writer, devices=GPUS, command=fake_command)
    yield made
    made.writer.close()


def queue_on(shop: Shop, device: str | None, **values) -> int:
    new = NewJob(
        kind="train",
        method="sft",
        title="a run",
        values={"method": "sft", "steps": 400} | values,
        needs_device=True,
        wanted_device=device,
    )
    with shop.writer.begin() as session:
        return jobs.add_job(session, new)


def leases(shop: Shop) -> dict[str, int]:
    with shop.writer.begin() as session:
        return jobs.lease_holders(session)


def test_two_gpus_run_two_jobs_each_on_its_own_and_never_a_third(shop_of_two):
    shop = shop_of_two
    first, second, third = (queue_on(shop, device) for device in ("cuda:1", None, None))
    shop.until(lambda: shop.job(second).state == "running" and shop.job(first).state == "running")
    assert leases(shop) == {"cuda:1": first, "cuda:0": second}
    seen = {job: read_spec(shop.workspace.attempt(job, 1)) for job in (first, second)}
    assert [seen[job].device for job in (first, second)] == ["cuda:1", "cuda:0"]
    assert shop.job(third).state == "queued"
    with shop.writer.begin() as session:
        assert queueing.look(session, GPUS).waits[third] == Wait("devices", {"runs": [first, second]})
    shop.wish(second, "stop_now")
    shop.until(lambda: shop.job(third).state == "running")
    assert leases(shop) == {"cuda:1": first, "cuda:0": third}
    for job in (first, third):
        shop.wish(job, "stop_now")
    shop.until(lambda: leases(shop) == {})


def test_a_job_sees_its_gpu_alone_and_has_its_share_of_the_threads(shop_of_two, monkeypatch):
    shop = shop_of_two
    monkeypatch.setattr(supervisor, "cpu_count", lambda: 13)
    queued = {device: queue_on(shop, device) for device in reversed(GPUS)}
    shop.until(lambda: all(shop.job(job).state == "running" for job in queued.values()))
    for device, job in queued.items():
        with shop.writer.begin() as session:
            given = psutil.Process(jobs.newest_attempt(session, job).pid).environ()
        told = read_spec(shop.workspace.attempt(job, 1))
        assert (told.device, given["CUDA_VISIBLE_DEVICES"]) == (device, device.removeprefix("cuda:"))
        assert (told.threads, given["OMP_NUM_THREADS"]) == (6, "6"), "of 13 cores, for two GPUs"
        shop.wish(job, "stop_now")
    shop.until(lambda: leases(shop) == {})


def test_a_wanted_gpu_is_waited_for_and_its_server_leaves(shop_of_two):
    shop = shop_of_two
    other, serving = (shop.queue(kind="serve", steps=4000) for _ in range(2))
    shop.until(lambda: len(leases(shop)) == 2 and shop.job(serving).state == "running")
    held = {job: device for device, job in leases(shop).items()}
    job_id = queue_on(shop, held[serving], steps=2)
    shop.until_state(job_id, "succeeded")
    assert (shop.job(serving).state, shop.job(other).state) == ("stopped", "running")
    shop.wish(other, "stop_now")
    shop.until(lambda: leases(shop) == {})


def keep(shop: Shop, **decided) -> None:
    with shop.writer.begin() as session:
        queue_rules.keep_rules(session, QueueRules(**decided))


def test_the_queue_waits_for_the_night_and_a_resumed_run_does_not(shop):
    later = (datetime.now(UTC) + timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    keep(shop, not_before=later)
    waiting, looking = shop.queue(steps=2), shop.queue(kind="look", needs_device=False, steps=2)
    shop.until_state(looking, "succeeded")
    assert shop.job(waiting).state == "queued"
    with shop.writer.begin() as session:
        assert queueing.look(session, ("cpu",)).waits == {waiting: Wait("until", {"time": later})}
    keep(shop, not_before=utc_now())
    shop.until_state(waiting, "succeeded")


def test_going_on_after_a_failure_is_the_rule_and_holding_a_choice(shop):
    first, second = shop.queue(fail_at=2), shop.queue(steps=2)
    shop.until_state(second, "succeeded")
    keep(shop, holds_after_failure=True)
    third, fourth = shop.queue(fail_at=2), shop.queue(steps=2)
    shop.until_state(third, "failed")
    for _ in range(5):
        shop.supervisor.tick()
    assert shop.job(fourth).state == "queued"
    with shop.writer.begin() as session:
        assert queueing.look(session, ("cpu",)).waits == {fourth: Wait("after_failure", {"run": third})}
    keep(shop, holds_after_failure=True)
    shop.until_state(fourth, "succeeded")
    assert shop.job(first).state == "failed"


def test_the_queue_and_its_rules_outlive_the_server(shop):
    keep(shop, is_held=True)
    first, second = shop.queue(steps=2), shop.queue(steps=2)
    with shop.writer.begin() as session:
        jobs.set_position(session, second, 1)
    shop.writer.close()
    fresh = Shop(shop.workspace)
    fresh.supervisor.tick()
    with fresh.writer.begin() as session:
        assert [job.id for job in jobs.waiting(session)] == [second, first]
    keep(fresh)
    fresh.until_state(first, "succeeded")
    assert fresh.job(second).started_at < fresh.job(first).started_at


def test_what_an_ended_run_holds_on_the_disk_is_known(shop):
    job_id = shop.queue(steps=4, save_every=2)
    job = shop.until_state(job_id, "succeeded")
    assert job.disk_bytes == folder_bytes(shop.workspace.job(job_id)) > 1000


def pages(shop: Shop, most: int | None) -> None:
    """Let the registry grow no further, as on a full disk; None gives the room back."""
    with shop.writer.begin() as session:
        connection = session.connection()
        most = most or 2**31 - 2
        connection.exec_driver_sql(f"PRAGMA max_page_count={most}")


def test_a_registry_on_a_full_disk_catches_up_once_there_is_room(shop):
    job_id = shop.queue(steps=3000, seconds_a_step=0.0005)
    shop.until_state(job_id, "running")
    pages(shop, 1)  # SQLite takes what it holds now as the least
    refused = 0
    while not (shop.workspace.attempt(job_id, 1) / "result.json").exists():
        try:
            shop.supervisor.tick()
        except Failure as failure:
            refused += 1
            assert "disk is full" in str(failure)
        time.sleep(0.02)
    assert refused
    pages(shop, None)
    shop.until_state(job_id, "succeeded")
    with shop.writer.begin() as session:
        assert metrics.points(session, job_id, "loss").steps.tolist() == list(range(1, 3001))


def test_a_number_is_never_given_twice(shop):
    job_id = shop.queue()
    with shop.writer.begin() as session:
        session.delete(jobs.require(session, job_id))
    assert shop.queue() == job_id + 1


def test_a_time_of_day_is_the_next_one():
    noon = datetime(2026, 1, 31, 12, 0).astimezone()
    local = [datetime.fromisoformat(next_time(text, now=noon)).astimezone() for text in ("22:30", "06:05", "12:00")]
    assert [f"{each:%d %H:%M}" for each in local] == ["31 22:30", "01 06:05", "01 12:00"]
    for wrong in ("", "25:00", "10 pm", "noon"):
        with pytest.raises(RefusedInput):
            next_time(wrong, now=noon)
