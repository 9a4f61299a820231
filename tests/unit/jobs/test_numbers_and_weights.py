"""A checkpoint's number is given once, and every run's folder is weighed, also where nobody did so at its end."""

from sqlalchemy import update

from studio.db import checkpoints, jobs
from studio.db.tables import Job
from studio.desk import Desk
from studio.jobs.folders import weigh_old
from tests.unit.jobs.conftest import Shop


def numbers(shop: Shop, job_id: int) -> list[int]:
    with shop.writer.begin() as session:
        return [each.id for each in checkpoints.list_checkpoints(session, job_id)]


def test_a_deleted_checkpoints_number_is_never_another_ones(shop):
    first = shop.queue(steps=4, save_every=2)
    shop.until_state(first, "succeeded")
    assert numbers(shop, first) == [1, 2]
    Desk(shop.workspace, shop.writer).remove(first)
    second = shop.queue(steps=2, save_every=2)
    shop.until_state(second, "succeeded")
    assert numbers(shop, second) == [3], "an old chat names 1 or 2 and must find nothing, not this run"


def test_what_becomes_known_of_a_checkpoint_later_keeps_its_number(shop):
    job_id = shop.queue(steps=2, save_every=2, scored_later=0.75)
    shop.until_state(job_id, "succeeded")
    with shop.writer.begin() as session:
        (saved,) = checkpoints.list_checkpoints(session, job_id)
    assert (saved.id, saved.metrics) == (1, {"loss": 1.0, "eval_loss": 0.75})


def test_runs_that_nobody_weighed_are_weighed_at_a_start(shop):
    old, waiting = shop.queue(steps=2, save_every=2), None
    shop.until_state(old, "succeeded")
    waiting = shop.queue(steps=2)
    with shop.writer.begin() as session:
        session.execute(update(Job).values(disk_bytes=None))
    assert weigh_old(shop.workspace, shop.writer) == 1
    held = sum(path.stat().st_size for path in shop.workspace.job(old).rglob("*") if path.is_file())
    with shop.writer.begin() as session:
        assert jobs.job(session, old).disk_bytes == held > 0
        assert jobs.job(session, waiting).disk_bytes is None
    assert weigh_old(shop.workspace, shop.writer) == 0
