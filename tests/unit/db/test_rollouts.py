"""What a run told of its answers, labels and scores reaches the registry, and is found there step by step."""

import pytest

from studio.db import jobs, rollouts
from studio.db.engine import Writer
from studio.db.tables import Attempt
from studio.jobs.ingest import ingest
from studio.paths import Workspace
from studio.protocol import EventLog, utc_now


def begun(writer: Writer, workspace: Workspace, number: int = 1, job_id: int | None = None) -> int:
    with writer.begin() as session:
        if job_id is None:
            job_id = jobs.add_job(session, jobs.NewJob(kind="train", title="t", values={}, needs_device=True))
            assert jobs.move(session, job_id, "starting")
        session.add(
            Attempt(job_id=job_id, number=number, event_offset=0, invalid_lines=0, start_step=0, started_at=utc_now())
        )
    workspace.attempt(job_id, number).mkdir(parents=True)
    return job_id


def take(writer: Writer, workspace: Workspace, job_id: int, number: int = 1) -> None:
    with writer.begin() as session:
        ingest(session, session.get_one(Attempt, (job_id, number)), workspace.attempt(job_id, number))


@pytest.fixture
def writer(workspace: Workspace):
    workspace.make()
    opened = Writer(workspace.registry)
    yield opened
    opened.close()


def answer(text: str) -> dict:
    return {"text": text, "reward": 1.0, "values": {"length": 1.0}}


def test_answers_are_kept_and_a_stretch_done_again_shows_the_newer_ones(writer, workspace):
    job_id = begun(writer, workspace)
    for number, told in ((1, {0: "a", 5: "b", 10: "c"}), (2, {4: "again"})):
        if number > 1:
            begun(writer, workspace, number, job_id)
        log = EventLog(workspace.attempt(job_id, number))
        for step, text in told.items():
            log.write("rollout", step=step, row=1, question="<b>?", answers=[answer(text)])
        log.close()
        take(writer, workspace, job_id, number)
    with writer.begin() as session:
        known = rollouts.steps(session, job_id)
        texts = {step: rollouts.rollout(session, event)["answers"][0]["text"] for step, event in known.items()}
    assert list(texts.items()) == [(0, "a"), (4, "again")]


@pytest.mark.parametrize("type", ["confusion", "reward_scores", "rollout"])
def test_what_the_page_draws_from_events_is_kept(writer, workspace, type):
    job_id = begun(writer, workspace)
    log = EventLog(workspace.attempt(job_id, 1))
    log.write(type, step=3)
    log.close()
    take(writer, workspace, job_id)
    with writer.begin() as session:
        assert [event.data for event in jobs.events(session, job_id, types=(type,))] == [{"step": 3}]
