"""Runs that are killed, stopped and hurt, checkpoints that are damaged: a few trials of `python -m tests.faults`."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.db import jobs
from studio.errors import StudioError
from studio.messages import has
from tests.faults.injected import FAULT
from tests.faults.server_kills import kill_servers
from tests.faults.studio import SAVE_STEPS, STEPS, FaultStudio, fault_studio
from tests.faults.trials import TRIALS, Reference, undisturbed
from tests.faults.ways import FIRST
from trainers.checkpoints.manifest import damaged_files


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStudio]:
    with fault_studio(tmp_path_factory.mktemp("faults") / "studio") as made:
        yield made


@pytest.fixture(scope="module", params=FIRST)
def reference(request: pytest.FixtureRequest, studio: FaultStudio) -> tuple[str, Reference]:
    return request.param, undisturbed(studio, request.param)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRIALS)
@pytest.mark.parametrize("seed", range(2))
def test_the_run_ends_as_if_nothing_had_happened(
    studio: FaultStudio, reference: tuple[str, Reference], kind: str, seed: int
) -> None:
    tuning, left_alone = reference
    trial = TRIALS[kind](studio, tuning, left_alone, random.Random(f"{kind} {seed}"))
    assert trial.is_survived, trial


@pytest.mark.slow
def test_runs_of_the_starter_model_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    with fault_studio(tmp_path / "studio", ways=["starter lora"]) as studio:
        left_alone = undisturbed(studio, "starter lora")
        for kind, hurt in TRIALS.items():
            trial = hurt(studio, "starter lora", left_alone, random.Random(kind))
            assert trial.is_survived, trial


def test_no_event_is_lost_or_doubled_when_servers_are_killed(tmp_path: Path) -> None:
    found = kill_servers(tmp_path / "studio", kills=3, chance=random.Random(3))
    assert found.is_clean, found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason", "told"),
    [
        ("out_of_memory:5", "job.out_of_memory", {"batch": 2}),
        ("non_finite:5", "job.non_finite", {"step": 5}),
        ("non_finite_loss:5", "job.non_finite", {"step": 5}),
        ("hang:5", "job.hung", {"minutes": 1}),
        ("library:5", "job.unexpected", {}),
    ],
)
def test_a_fault_ends_in_a_state_with_a_cause_and_what_was_saved_stays(
    studio: FaultStudio, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str, told: dict[str, int]
) -> None:
    monkeypatch.setenv(FAULT, fault)
    job_id = studio.train("lora")
    job = studio.until_ended(job_id)
    assert (job.state, job.reason) == ("failed", reason)
    assert job.reason_values.items() >= told.items()
    assert job.figures["steps"] == 4
    assert has(f"errors.{reason}") and "{" not in StudioError(reason, **job.reason_values).message()
    saved = studio.saved(job_id)
    assert list(saved) == [SAVE_STEPS] and damaged_files(saved[SAVE_STEPS]) == []
    monkeypatch.delenv(FAULT)
    studio.resume(job_id)
    assert studio.until_ended(job_id).state == "succeeded"


@pytest.mark.slow
def test_a_run_that_runs_out_of_memory_goes_on_smaller_where_that_is_allowed(
    studio: FaultStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT, "out_of_memory:5")
    job_id = studio.train("lora", retry_smaller=True)
    job = studio.until_ended(job_id)
    assert (job.state, job.attempt, job.figures["steps"]) == ("succeeded", 2, STEPS)
    batch = job.values["per_device_train_batch_size"], job.values["gradient_accumulation_steps"]
    assert batch == (1, 4), "as many rows an update"
    with studio.writer.begin() as session:
        told = [event.data["changes"] for event in jobs.events(session, job_id, types=("smaller",))]
    assert told == [{"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}]
    assert list(studio.saved(job_id)) == [3, 6, 9, 12]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["slow_batch:0.4", "slow_evaluation:1.5"])
def test_a_stop_within_a_step_or_an_evaluation_is_obeyed_and_the_run_goes_on_the_same(
    studio: FaultStudio, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    wanted = undisturbed(studio, "lora").weights
    monkeypatch.setenv(FAULT, fault)
    job_id = studio.train("lora")
    phase = "evaluating" if "evaluation" in fault else "training"
    studio.until(lambda: studio.job(job_id).phase == phase and studio.job(job_id).last_metrics.get("step", 0) >= 2)
    studio.wish(job_id, "stop")
    assert studio.until_ended(job_id).reason == "job.stopped"
    assert studio.saved(job_id), "the last whole step was saved"
    monkeypatch.delenv(FAULT)
    studio.resume(job_id)
    assert studio.until_ended(job_id).state == "succeeded"
    assert studio.final_weights(job_id) == wanted
