"""From a job that ended to the experience that later predictions learn from, in a real registry."""

from pathlib import Path

import pytest

from studio.db import datasets, jobs, measurements, models
from studio.db.engine import Writer
from studio.db.tables import Attempt, Job, JobEvent, MemoryMeasurement
from studio.hardware import Machine
from studio.jobs import measuring
from studio.memory.configuration import configuration_of
from studio.params.table import check
from studio.paths import Workspace
from studio.protocol import SPEC, Spec, utc_now, write_struct
from tests.app.test_train_page import HASH, ROWS_HASH, inspected

MACHINE = Machine(cpu_count=2, ram_bytes=16 << 30, ram_free_bytes=12 << 30)
LIBRARIES = {"torch": "2.13.0+cpu", "transformers": "5.23.0", "trl": "1.16.0", "datasets": "5.2.0"}
VALUES = check(
    {
        "model_name_or_path": "m",
        "dataset": "d",
        "dtype": "float32",
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
    }
)
PEAKS = {
    "peak_bytes": 2_000_000_000,
    "phases": {"load": 1_200_000_000, "forward_and_loss": 2_000_000_000},
    "host_peak_bytes": 2_000_000_000,
    "seen": {"rows": 4, "tokens": 70},
    "tried": {"rows": 4, "tokens": 70},
    "evaluated": {"rows": 4, "tokens": 64},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(measuring, "read_machine", lambda: MACHINE)
    return Workspace(tmp_path).make()


@pytest.fixture
def writer(place: Workspace):
    made = Writer(place.registry)
    with made.begin() as session:
        facts = {"architecture": "LlamaForCausalLM", "size_bytes": 1, "content_hash": HASH}
        models.add_model(session, name="m", source="local", path="/m", facts=facts)
        manifest = {"format": "messages", "shape": "chat", "rows": 9, "problems": 0, "excluded": 0}
        owner = datasets.reserve(session, "d")
        manifest |= {"content_hash": ROWS_HASH}
        datasets.add_version(session, owner, number=1, path="/d/v1", job_id=1, manifest=manifest)
        models.keep_inspection(session, HASH, ROWS_HASH, inspected())
    yield made
    made.close()


def end(session, place: Workspace, *, peaks=PEAKS, kind="train", state="succeeded", reason=None, values=VALUES) -> int:
    """A job that has just ended so, with its spec and its event."""
    new = jobs.NewJob(
        kind=kind, title="t", values=values, needs_device=True, model_id=1, dataset_version_id=1, method="sft"
    )
    job = session.get_one(Job, jobs.add_job(session, new))
    job.attempt = 1
    folder = place.attempt(job.id, 1)
    folder.mkdir(parents=True)
    spec = Spec(
        job_id=job.id,
        attempt=1,
        kind=kind,
        values=values,
        checkpoints_path="",
        output_path="",
        libraries=LIBRARIES,
    )
    write_struct(folder / SPEC, spec)
    session.add(Attempt(job_id=job.id, number=1, started_at=utc_now(), event_offset=0, invalid_lines=0, start_step=0))
    jobs.record_event(session, job.id, type="plan", data={"memory": {"allocated_bytes": 1_900_000_000}})
    if peaks:
        event = {"attempt": 1, "seq": 0, "time": utc_now(), "type": "peaks", "data": peaks}
        session.add(JobEvent(job_id=job.id, **event))
    measuring.take_measurement(session, place, job, state=state, reason=reason)
    return job.id


def test_a_finished_run_is_kept_whole_and_outlives_its_job(place, writer):
    with writer.begin() as session:
        job_id = end(session, place)
        session.flush()
        session.delete(session.get_one(Job, job_id))
    with writer.begin() as session:
        (kept,) = session.query(MemoryMeasurement).all()
        (run,) = measurements.experience(session, HASH).runs
    assert (kept.kind, kept.outcome, kept.device, kept.device_bytes) == ("train", "succeeded", "cpu", 16 << 30)
    assert kept.values == VALUES and kept.libraries == LIBRARIES and kept.longest_row == 70
    assert kept.peaks == PEAKS and kept.prediction == {"allocated_bytes": 1_900_000_000}
    assert run.configuration == configuration_of(HASH, VALUES, 70).with_sizes(eval_tokens=64)
    assert run.tells_ratio and 0.5 < run.peak_bytes / run.predicted_bytes < 2


def test_smaller_batches_are_predicted_as_they_were(place, writer):
    with writer.begin() as session:
        end(session, place)
        end(session, place, peaks=PEAKS | {"seen": {"rows": 2, "tokens": 30}})
        whole, smaller = measurements.experience(session, HASH).runs
    assert smaller.predicted_bytes < whole.predicted_bytes
    assert smaller.configuration <= whole.configuration and not whole.configuration <= smaller.configuration


def test_a_run_out_of_memory_is_a_bound_and_no_ratio(place, writer):
    with writer.begin() as session:
        end(session, place, state="failed", reason="job.out_of_memory")
        end(session, place, state="failed", reason="job.out_of_memory", peaks=None)
        training, loading = measurements.experience(session, HASH).runs
    assert training.ran_out and loading.ran_out and not training.tells_ratio
    assert training.configuration.sizes.rows == 4
    assert (loading.configuration.sizes.rows, loading.peak_bytes) == (0, 0)


def test_a_run_that_came_to_no_training_says_nothing(place, writer):
    with writer.begin() as session:
        end(session, place, peaks=None, state="stopped")
        end(session, place, peaks=PEAKS | {"seen": {"rows": 0, "tokens": 0}}, state="failed", reason="job.non_finite")
        end(session, place, kind="score")
        assert measurements.experience(session, HASH).runs == ()


def test_rows_laid_end_to_end_count_as_the_rows_they_hold(place, writer):
    packed = {"seen": {"rows": 1, "tokens": 4096}, "evaluated": {"rows": 0, "tokens": 0}}
    with writer.begin() as session:
        end(session, place, values=VALUES | {"packing": True, "max_length": 1024}, peaks=PEAKS | packed)
        (run,) = measurements.experience(session, HASH).runs
    assert (run.configuration.sizes.rows, run.configuration.sizes.tokens) == (4, 1024)


def test_another_calculator_speaks_again_of_what_was_measured(place, writer):
    with writer.begin() as session:
        end(session, place)
        (kept,) = session.query(MemoryMeasurement).all()
        right = kept.predicted_bytes
        kept.calculator, kept.predicted_bytes = "an older one", 1
    with writer.begin() as session:
        assert measurements.predict_again(session) == 1
        assert session.query(MemoryMeasurement).one().predicted_bytes == right
        assert measurements.predict_again(session) == 0


def test_a_measurement_that_cannot_be_predicted_any_more_does_not_keep_the_studio_from_opening(place, writer):
    with writer.begin() as session:
        end(session, place)
        (kept,) = session.query(MemoryMeasurement).all()
        kept.calculator, kept.values = "an older one", {**VALUES, "optim": "an optimizer of another time"}
    with writer.begin() as session:
        measurements.predict_again(session)
        (run,) = measurements.experience(session, HASH).runs
    assert run.predicted_bytes is None and not run.tells_ratio and run.peak_bytes == PEAKS["peak_bytes"]
