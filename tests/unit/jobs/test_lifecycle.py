"""The table of states, and that nothing but `move` gets past it."""

import pytest
from sqlalchemy.exc import IntegrityError

from studio.db import jobs
from studio.db.tables import Job, Lease
from studio.jobs.lifecycle import ENDED, LIVE, STATES, TRANSITIONS, is_legal


def test_every_target_is_a_state():
    assert {target for targets in TRANSITIONS.values() for target in targets} <= set(STATES)


def test_only_waiting_jobs_start_and_cancelled_ones_stay_so():
    assert [old for old in STATES if is_legal(old, "starting")] == ["queued"]
    assert not TRANSITIONS["cancelled"]
    assert not LIVE & ENDED


def test_an_illegal_move_changes_nothing(shop):
    job_id = shop.queue()
    with shop.writer.begin() as session:
        assert not jobs.move(session, job_id, "succeeded")
    assert shop.job(job_id).state == "queued"


def test_each_move_writes_an_event(shop):
    job_id = shop.queue()
    with shop.writer.begin() as session:
        jobs.move(session, job_id, "cancelled", reason="job.cancelled")
        written = [event.data for event in jobs.events(session, job_id, types=("state",))]
    assert [entry["to"] for entry in written] == ["queued", "cancelled"]
    assert written[-1]["reason"] == "job.cancelled"


def test_the_registry_refuses_an_unknown_state(shop):
    job_id = shop.queue()
    with pytest.raises(IntegrityError), shop.writer.begin() as session:
        session.get_one(Job, job_id).state = "dreaming"


def test_a_device_is_held_by_one_job(shop):
    first, second = shop.queue(), shop.queue()
    with shop.writer.begin() as session:
        session.add(Lease(device="cpu", job_id=first))
    with pytest.raises(IntegrityError), shop.writer.begin() as session:
        session.add(Lease(device="cpu", job_id=second))
