"""Runs that are stopped within a step, go on from another run's checkpoint, or would train nothing. In one process."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.protocol import CheckpointRef, DatasetRef, read_spec
from tests.trainers.jobs import SFT, events_of, model_ref, result_of, run_here, write_dataset, write_spec
from trainers import sft
from trainers.attempt import Attempt
from trainers.checkpoints.manifest import damaged_files
from trainers.checkpoints.pacing import SavePace
from trainers.training import recipe, watchdog
from trainers.training.reporting import mean_loss

STEPS, SAVE_STEPS = 6, 4
WEIGHTS = "adapter_model.safetensors"
VALUES = {
    "max_steps": -1,
    "num_train_epochs": 1.0,
    "save_steps": SAVE_STEPS,
    "eval_steps": 3,
    "gradient_accumulation_steps": 2,
    "validation_split": 0.2,
    "lr_scheduler_type": "linear",
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    """30 rows, 24 to train on: six steps of four an epoch."""
    pairs = [{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(30)]
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", pairs)


@pytest.fixture(scope="module")
def begin(tiny: Path, rows: DatasetRef) -> Callable[..., Path]:
    def spec(job: Path, *, attempt: int = 1, **changes: Any) -> Path:
        names = ("resume_from", "start_from", "weights_from", "dataset")
        fields = {"dataset": rows} | {name: changes.pop(name) for name in names if name in changes}
        values = SFT | VALUES | changes
        seed = values["seed"]
        return write_spec(job, attempt=attempt, values=values, seed=seed, model=model_ref(tiny), **fields)

    return spec


@pytest.fixture(scope="module")
def left_alone(begin: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = begin(tmp_path_factory.mktemp("left") / "1")
    assert run_here(sft.main, folder).outcome == "succeeded"
    return folder


def saved_by(folder: Path) -> list[CheckpointRef]:
    """Newest first."""
    told = [event.data for event in events_of(folder, "checkpoint")][::-1]
    return [CheckpointRef(step=each["step"], path=each["path"], digest=each["digest"]) for each in told]


def losses(folder: Path) -> dict[int, float]:
    told = [event.data for event in events_of(folder, "metric")]
    return {each["step"]: each["values"]["loss"] for each in told if "loss" in each["values"]}


def scores(folder: Path) -> dict[int, float]:
    """Step -> loss on held-out rows."""
    told = [event.data for event in events_of(folder, "metric")]
    return {each["step"]: each["values"]["eval_loss"] for each in told if "eval_loss" in each["values"]}


def stopped_at(monkeypatch: pytest.MonkeyPatch, method: str, call: int) -> None:
    """Have a stop be asked for in the n-th call of one of the trainer's methods."""
    whole, calls = recipe.trainer_class, []

    def watched(*bases: type) -> type:
        def counting(self: Any, *args: Any, **named: Any) -> Any:
            calls.append(1)
            if len(calls) == call:
                self.reporter.attempt.stop_requested.set()
            return getattr(super(made, self), method)(*args, **named)

        made = type("Stopped", (whole(*bases),), {method: counting})
        return made

    monkeypatch.setattr(recipe, "trainer_class", watched)


@pytest.mark.parametrize(
    ("method", "call", "step"),
    [
        pytest.param("training_step", 9, 4, id="within a step, saved before", marks=pytest.mark.slow),
        pytest.param("training_step", 11, 5, id="within a step"),
        pytest.param("training_step", 6, 3, id="at the end of a step that is evaluated"),
        pytest.param("prediction_step", 1, 3, id="while it evaluates"),
        pytest.param("_save_checkpoint", 1, 4, id="while it saves", marks=pytest.mark.slow),
    ],
)
def test_a_stop_saves_the_last_whole_step_and_the_run_goes_on_the_same(
    tmp_path: Path,
    begin: Callable[..., Path],
    left_alone: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    call: int,
    step: int,
) -> None:
    folder = begin(tmp_path / "1")
    with monkeypatch.context() as changed:
        stopped_at(changed, method, call)
        result = run_here(sft.main, folder)
    assert (result.outcome, result.reason, result.figures["steps"]) == ("stopped", "job.stopped", step)
    assert [each.step for each in saved_by(folder)] == sorted({step, *([4] if step > 4 else [])}, reverse=True)
    resumed = begin(tmp_path / "1", attempt=2, resume_from=saved_by(folder))
    assert run_here(sft.main, resumed).outcome == "succeeded"
    last = [Path(saved_by(each)[0].path, WEIGHTS).read_bytes() for each in (left_alone, resumed)]
    assert last[0] == last[1]
    assert losses(folder) | losses(resumed) == losses(left_alone)
    assert scores(folder) | scores(resumed) == scores(left_alone), "an evaluation that was broken off is caught up"
    told = [event.data for event in events_of(resumed, "checkpoint") if event.data["step"] == step]
    assert [each["metrics"].get("eval_loss") for each in told] == ([scores(resumed)[step]] if step == 3 else [])
    counted = [[e.data["values"].get("num_tokens") for e in events_of(f, "metric")][-1] for f in (left_alone, resumed)]
    assert counted[0] == counted[1], "tokens are counted on"
    whole, again = result_of(left_alone).figures, result_of(resumed).figures
    assert again["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-12), "of all steps, not of the last process"


def test_a_stop_in_the_first_step_saves_nothing_and_says_so(
    tmp_path: Path, begin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(tmp_path / "1")
    stopped_at(monkeypatch, "training_step", 1)
    result = run_here(sft.main, folder)
    assert (result.outcome, result.reason) == ("stopped", "job.stopped_before_training")
    assert saved_by(folder) == []


def test_a_run_of_its_own_goes_on_from_another_runs_checkpoint(
    tmp_path: Path, begin: Callable[..., Path], left_alone: Path
) -> None:
    origin = saved_by(left_alone)[0]
    longer = begin(tmp_path / "2", start_from=origin, num_train_epochs=2.0, learning_rate=5e-4)
    result = run_here(sft.main, longer)
    assert (result.outcome, result.figures["steps"]) == ("succeeded", 2 * STEPS)
    assert list(losses(longer)) == list(range(STEPS + 1, 2 * STEPS + 1))
    rates = [e.data["values"]["learning_rate"] for e in events_of(longer, "metric") if "loss" in e.data["values"]]
    halves = [5e-4 * (2 * STEPS - step) / (2 * STEPS) for step in range(STEPS, 2 * STEPS)]
    assert rates == pytest.approx(halves), "the schedule of the longer run, from its middle, at the new rate"
    assert [each.step for each in saved_by(longer)] == [12, 8]
    assert all(each.path.startswith(str(tmp_path / "2")) for each in saved_by(longer))
    assert damaged_files(Path(origin.path)) == []
    resumed = begin(
        tmp_path / "2",
        attempt=2,
        start_from=origin,
        resume_from=saved_by(longer)[1:],
        num_train_epochs=2.0,
        learning_rate=5e-4,
    )
    before = Path(saved_by(longer)[0].path, WEIGHTS).read_bytes()
    assert run_here(sft.main, resumed).outcome == "succeeded"
    assert Path(saved_by(resumed)[0].path, WEIGHTS).read_bytes() == before, "its own checkpoint goes before"


def test_how_often_a_run_saves_may_change_when_it_goes_on(
    tmp_path: Path, begin: Callable[..., Path], left_alone: Path
) -> None:
    resumed = begin(tmp_path / "1", attempt=2, resume_from=saved_by(left_alone)[1:], save_steps=1)
    assert run_here(sft.main, resumed).outcome == "succeeded"
    assert [each.step for each in saved_by(resumed)] == [6, 5]
    last = [Path(saved_by(each)[0].path, WEIGHTS).read_bytes() for each in (left_alone, resumed)]
    assert last[0] == last[1]


@pytest.fixture(scope="module")
def other_rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    pairs = [{"prompt": f"What is {i} times {i}?", "completion": f"It is {i * i}."} for i in range(12)]
    return write_dataset(tmp_path_factory.mktemp("other") / "v1", pairs)


def test_a_run_begins_with_another_ones_weights_and_nothing_else_of_it(
    tmp_path: Path, begin: Callable[..., Path], left_alone: Path, other_rows: DatasetRef
) -> None:
    origin = saved_by(left_alone)[0]
    changes = {"seed": 7, "per_device_train_batch_size": 1, "max_steps": 2, "save_steps": 1}
    still = begin(tmp_path / "2", weights_from=origin, dataset=other_rows, learning_rate=0.0, **changes)
    result = run_here(sft.main, still)
    assert (result.outcome, result.figures["steps"], list(losses(still))) == ("succeeded", 2, [1, 2])
    before, after = (load_file(Path(each.path, WEIGHTS)) for each in (origin, saved_by(still)[0]))
    assert all(torch.equal(before[name], after[name]) for name in before) and before.keys() == after.keys()
    learning = begin(tmp_path / "3", weights_from=origin, dataset=other_rows, **changes)
    assert run_here(sft.main, learning).outcome == "succeeded"
    assert losses(learning)[1] == losses(still)[1] and losses(learning)[2] != losses(still)[2]
    resumed = begin(
        tmp_path / "3",
        attempt=2,
        weights_from=origin,
        dataset=other_rows,
        resume_from=saved_by(learning)[1:],
        **changes,
    )
    whole = Path(saved_by(learning)[0].path, WEIGHTS).read_bytes()
    assert run_here(sft.main, resumed).outcome == "succeeded"
    assert Path(saved_by(resumed)[0].path, WEIGHTS).read_bytes() == whole, "its own checkpoint goes before"


@pytest.mark.parametrize(
    ("changes", "digest", "reason", "names"),
    [({"lora_r": 8}, None, "job.resumed_otherwise", "lora_r"), ({}, "0" * 64, "job.start_damaged", "manifest.json")],
)
def test_weights_that_do_not_fit_or_are_damaged_are_refused_by_name(
    tmp_path: Path, begin: Callable[..., Path], left_alone: Path, changes: dict, digest: str | None, reason, names
) -> None:
    origin = saved_by(left_alone)[0]
    wrong = CheckpointRef(step=origin.step, path=origin.path, digest=digest or origin.digest)
    result = run_here(sft.main, begin(tmp_path / "2", weights_from=wrong, **changes))
    assert (result.outcome, result.reason) == ("failed", reason) and names in str(result.values)


@pytest.mark.parametrize(
    ("changes", "reason", "values"),
    [
        ({}, "job.nothing_to_train", {"step": STEPS}),
        ({"num_train_epochs": 2.0, "per_device_train_batch_size": 4}, "job.resumed_otherwise", None),
        ({"num_train_epochs": 2.0, "seed": 7}, "job.resumed_otherwise", None),
    ],
)
def test_going_on_with_nothing_to_do_or_as_another_run_is_refused(
    tmp_path: Path,
    begin: Callable[..., Path],
    left_alone: Path,
    changes: dict[str, Any],
    reason: str,
    values: dict[str, Any] | None,
) -> None:
    result = run_here(sft.main, begin(tmp_path / "2", start_from=saved_by(left_alone)[0], **changes))
    assert (result.outcome, result.reason) == ("failed", reason)
    assert values is None or result.values == values
    assert saved_by(tmp_path / "2" / "attempts" / "1") == []


def test_a_damaged_start_is_refused_and_not_begun_anew(
    tmp_path: Path, begin: Callable[..., Path], left_alone: Path
) -> None:
    origin = saved_by(left_alone)[0]
    wrong = CheckpointRef(step=origin.step, path=origin.path, digest="0" * 64)
    result = run_here(sft.main, begin(tmp_path / "2", start_from=wrong, num_train_epochs=2.0))
    assert (result.reason, result.values) == ("job.start_damaged", {"step": 6, "files": "manifest.json"})


def test_other_libraries_are_told_when_a_run_goes_on(
    tmp_path: Path, begin: Callable[..., Path], left_alone: Path
) -> None:
    spec = read_spec(left_alone)
    from trainers.checkpoints.resuming import changed_surroundings, surroundings

    now = {"surroundings": surroundings(spec) | {"threads": "8"}}
    assert changed_surroundings(Path(saved_by(left_alone)[0].path), now) == "threads 1 → 8"
    now = {"surroundings": surroundings(spec)}
    assert changed_surroundings(Path(saved_by(left_alone)[0].path), now) is None


def test_a_run_in_which_nothing_moves_is_ended_with_a_reason(
    tmp_path: Path, begin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Attempt(folder := begin(tmp_path / "1"), read_spec(folder))
    left = threading.Event()
    monkeypatch.setattr(watchdog.faulthandler, "dump_traceback", lambda *_, **__: None)
    watched = watchdog.Watchdog(attempt, least_seconds=0.3)
    monkeypatch.setattr(watchdog.os, "_exit", lambda code: (watched.stop(), left.set()))
    watched.start()
    for _ in range(10):
        time.sleep(0.05)
        watched.beat()
    assert not left.is_set()
    assert left.wait(20)
    assert (result_of(folder).outcome, result_of(folder).reason) == ("failed", "job.hung")


@pytest.mark.parametrize(
    ("save", "total", "taken"),
    [(60.0, 3600, 3), (10.0, 3600, 4), (60.0, 1200, 4), (300.0, 3600, 2)],
    ids=["a long save", "a short save", "a short run", "two in any case"],
)
def test_a_long_run_saves_at_a_pace(save: float, total: float, taken: int) -> None:
    """Four saves are asked for, the last of them in any case."""
    pace, elapsed = SavePace(), 0.0
    for number in range(1, 5):
        elapsed += total / 4
        if number == 4 or pace.allows(elapsed_seconds=elapsed, total_seconds=total):
            pace.saved(save)
            elapsed += save
    assert pace.count == taken
    assert pace.seconds <= 0.05 * elapsed or total <= 1800 or taken == 2


def test_the_loss_of_a_run_counts_every_step_once() -> None:
    log = [{"step": 1, "loss": 4.0}, {"step": 3, "loss": 1.0}, {"step": 3, "eval_loss": 9.0}, {"step": 4, "loss": 2.0}]
    assert mean_loss(log) == (4 + 1 + 1 + 2) / 4
    assert mean_loss(log, after=3) == 2.0
    assert mean_loss([], after=3) is None
