"""How fast finished runs were is kept, newest last, and a finished training run adds to it."""

import pytest

from studio.db import jobs, models
from studio.db.engine import Writer
from studio.db.speeds import MOST, MeasuredSpeed, keep_speed, list_speeds
from studio.db.tables import Job
from studio.jobs.products import take_product
from studio.paths import Workspace
from studio.protocol import Spec, write_struct

SPEED = MeasuredSpeed(
    parameters=1000,
    tuning="lora",
    gradient_checkpointing=False,
    dtype="float32",
    device="cpu",
    seconds_per_token=0.5,
)
VALUES = {"tuning": "lora", "gradient_checkpointing": False, "dtype": "float32"}


@pytest.fixture(name="workspace")
def fixture_workspace(tmp_path):
    return Workspace(tmp_path / "studio").make()


@pytest.fixture(name="session")
def fixture_session(workspace):
    writer = Writer(workspace.registry)
    with writer.begin() as session:
        yield session
    writer.close()


def test_speeds_are_kept_in_order_and_old_ones_forgotten(session):
    assert list_speeds(session) == ()
    for _ in range(MOST):
        keep_speed(session, SPEED)
    newest = MeasuredSpeed(**{**vars(SPEED), "seconds_per_token": 0.25})
    keep_speed(session, newest)
    assert len(list_speeds(session)) == MOST and list_speeds(session)[-1] == newest


def finished(session, workspace, *, attempt=1, figures):
    facts = {"architecture": "LlamaForCausalLM", "size_bytes": 1, "content_hash": "h"}
    model = models.add_model(session, name="m", source="local", path="/m", facts=facts)
    models.keep_inspection(session, "h", None, {"inventory": {"parameters": 1000}})
    new = jobs.NewJob(kind="train", title="t", values=VALUES, needs_device=True, model_id=model)
    job = session.get_one(Job, jobs.add_job(session, new))
    job.attempt, job.figures, job.last_metrics = attempt, figures, {"num_tokens": 40.0}
    folder = workspace.attempt(job.id, attempt)
    folder.mkdir(parents=True)
    spec = Spec(job_id=job.id, attempt=attempt, kind="train", values=VALUES, checkpoints_path="c", output_path="o")
    write_struct(folder / "spec.json", spec)
    return job


def test_a_finished_run_tells_its_speed(session, workspace):
    take_product(session, workspace, finished(session, workspace, figures={"train_seconds": 20.0}))
    assert list_speeds(session) == (SPEED,)


@pytest.mark.parametrize("odd", [{"attempt": 2, "figures": {"train_seconds": 20.0}}, {"figures": {"seconds": 20.0}}])
def test_a_resumed_run_and_one_without_figures_tell_none(session, workspace, odd):
    take_product(session, workspace, finished(session, workspace, **odd))
    assert list_speeds(session) == ()
