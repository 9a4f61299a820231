"""SFT in processes as production starts them: whole checkpoints, stop, kill and resume, numbers that are none."""

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from studio.errors import JobFailed
from studio.protocol import CheckpointRef, DatasetRef, read_spec
from studio.workshop.reports import DIFFICULTY
from tests.trainers.jobs import (
    SFT,
    ask,
    events_of,
    model_ref,
    read_json,
    result_of,
    run_here,
    saved_by,
    start,
    wait_until,
    write_dataset,
    write_spec,
)
from trainers import sft
from trainers.attempt import Attempt
from trainers.checkpoints.manifest import damaged_files, digest_of, whole_folder
from trainers.checkpoints.resuming import check_same, newest_whole, same_run
from trainers.rows import token_rows
from trainers.training import recipe

STEPS, SAVE_STEPS = 18, 6
COMPARED = {"lora": "adapter_model.safetensors", "qlora": "adapter_model.safetensors", "full": "model.safetensors"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    pairs = [{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(40)]
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", pairs)


def spec_of(job: Path, model: Path, rows: DatasetRef, *, attempt: int = 1, **changes: Any) -> Path:
    fields = {"resume_from": changes.pop("resume_from", [])}
    values = SFT | {"max_steps": STEPS, "save_steps": SAVE_STEPS} | changes
    return write_spec(job, attempt=attempt, values=values, dataset=rows, model=model_ref(model), **fields)


def checkpoint_steps(folder: Path) -> list[int]:
    return [event.data["step"] for event in events_of(folder, "checkpoint")]


@pytest.fixture(
    scope="module", params=["lora", *(pytest.param(each, marks=pytest.mark.slow) for each in ("full", "qlora"))]
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny: Path, rows: DatasetRef) -> Any:
    """One run left alone, and beside it the same run killed after its first checkpoint and resumed."""
    place, tuning = tmp_path_factory.mktemp("runs"), request.param
    left_alone = spec_of(place / "1", tiny, rows, tuning=tuning, validation_split=0.1, eval_steps=SAVE_STEPS)
    killed = spec_of(place / "2", tiny, rows, tuning=tuning, validation_split=0.1, eval_steps=SAVE_STEPS)
    process = start("trainers.sft", killed)
    wait_until(lambda: checkpoint_steps(killed), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "result.json").exists()
    saved = saved_by(killed)[0]
    resumed = spec_of(
        place / "2",
        tiny,
        rows,
        attempt=2,
        tuning=tuning,
        validation_split=0.1,
        eval_steps=SAVE_STEPS,
        resume_from=[saved],
    )
    run_here(sft.main, left_alone)
    run_here(sft.main, resumed)
    return tuning, left_alone, resumed


def test_a_run_reports_all_it_does(pair: tuple[str, Path, Path]) -> None:
    tuning, folder, _ = pair
    result = result_of(folder)
    assert result.outcome == "succeeded", result
    assert result.figures["steps"] == STEPS
    assert result.figures["train_loss"] > 0 < result.figures["eval_loss"]
    assert result.figures["peak_memory_bytes"] > 100 << 20
    metrics = events_of(folder, "metric")
    losses = {event.data["step"]: event.data["values"]["loss"] for event in metrics if "loss" in event.data["values"]}
    assert list(losses) == list(range(1, STEPS + 1))
    assert losses[STEPS] < losses[1]
    assert {"learning_rate", "grad_norm", "mean_token_accuracy"} <= metrics[0].data["values"].keys()
    assert [e.data["step"] for e in metrics if "eval_loss" in e.data["values"]] == [6, 12, 18]
    assert events_of(folder, "progress")[-1].data["done"] == STEPS
    assert checkpoint_steps(folder) == [6, 12, 18]
    assert not events_of(folder, "alert")


def test_checkpoints_are_whole_and_hold_no_pickled_settings(pair: tuple[str, Path, Path]) -> None:
    tuning, folder, _ = pair
    for event in events_of(folder, "checkpoint"):
        path = Path(event.data["path"])
        assert damaged_files(path) == []
        assert digest_of(path) == event.data["digest"]
        names = {each.name for each in path.iterdir()}
        assert {COMPARED[tuning], "tokenizer.json", "optimizer.pt", "trainer_state.json", "manifest.json"} <= names
        assert "training_args.bin" not in names
    checkpoints = folder.parent.parent / "checkpoints"
    assert sorted(each.name for each in checkpoints.iterdir()) == ["step-12", "step-18", "step-6"]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(pair: tuple[str, Path, Path]) -> None:
    tuning, left_alone, resumed = pair
    assert result_of(resumed).outcome == "succeeded", result_of(resumed)
    assert checkpoint_steps(resumed) == [12, 18]
    ends = [folder.parent.parent / "checkpoints" / "step-18" / COMPARED[tuning] for folder in (left_alone, resumed)]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    losses = [
        {e.data["step"]: e.data["values"]["loss"] for e in events_of(f, "metric") if "loss" in e.data["values"]}
        for f in (left_alone, resumed)
    ]
    assert losses[1] == {step: loss for step, loss in losses[0].items() if step > SAVE_STEPS}


def split_rows(folder: Path, sides: list[str | None]) -> DatasetRef:
    turns = [{"prompt": f"{side} {n}?", "completion": f"{side} {n}.", "split": side} for n, side in enumerate(sides)]
    return write_dataset(folder, turns)


def asked(data: Any, tokenizer: Any) -> set[str]:
    """The sides that a data set's rows come from."""
    texts = [tokenizer.decode(row["input_ids"]) for row in data] if data is not None else []
    return {side for side in ("train", "validation", "test", "None") if any(f"{side} " in text for text in texts)}


@pytest.mark.parametrize(
    ("sides", "share", "train", "validation"),
    [
        (["train", "train", "validation", "test"] * 5, 0.1, 10, 5),
        (["train", "train", "validation", "test"] * 5, 0.0, 10, 0),
        (["train", "train", "train", "test"] * 5, 0.2, 12, 3),
        ([None] * 20, 0.25, 15, 5),
    ],
)
def test_rows_held_out_by_the_version_are_not_trained_on(
    tmp_path: Path, tiny: Path, tokenizer: Any, sides: list[str | None], share: float, train: int, validation: int
) -> None:
    folder = spec_of(tmp_path / "1", tiny, split_rows(tmp_path / "v", sides), validation_split=share)
    learned, checked = token_rows.prepare_data(Attempt(folder, read_spec(folder)), tokenizer)
    assert (len(learned), len(checked or ())) == (train, validation)
    own = "validation" in sides
    assert asked(learned, tokenizer) == {sides[0] or "None"}
    assert asked(checked, tokenizer) == (set() if not validation else {"validation" if own else sides[0] or "None"})


def test_a_split_version_is_trained_and_validated_on_its_own_sides(tmp_path: Path, tiny: Path) -> None:
    rows = split_rows(tmp_path / "v", ["train", "validation", "test"] * 4)
    folder = spec_of(tmp_path / "1", tiny, rows, max_steps=1, save_steps=1, eval_steps=1, validation_split=0.1)
    assert run_here(sft.main, folder).outcome == "succeeded"
    assert [e.data["step"] for e in events_of(folder, "metric") if "eval_loss" in e.data["values"]] == [1]


def test_a_curriculum_brings_the_easy_rows_first_in_every_epoch(
    tmp_path: Path, tiny: Path, rows: DatasetRef, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hard = [17 * row % 41 for row in range(1, rows.rows + 1)]  # each from 1 to 40 once
    scored = shutil.copytree(rows.path, tmp_path / "v2")
    scores = pl.DataFrame({"row": range(1, rows.rows + 1), "difficulty": [each / 40 for each in hard]})
    scores.filter(pl.col("difficulty") != 0.5).write_parquet(scored / DIFFICULTY)  # that row was changed since
    seen, whole = [], recipe.trainer_class

    def recording(*bases: type) -> type:
        class Recorded(whole(*bases)):
            def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **named: Any) -> Any:
                seen.extend(tokenizer.batch_decode(inputs["input_ids"]))
                return super().training_step(model, inputs, *args, **named)

        return Recorded

    monkeypatch.setattr(recipe, "trainer_class", recording)
    settings = {"curriculum": "easy_to_hard", "validation_split": 0.1, "max_steps": -1, "num_train_epochs": 2.0}
    version = msgspec.structs.replace(rows, path=str(scored))
    folder = spec_of(tmp_path / "job", tiny, version, save_steps=100, **settings)
    result = run_here(sft.main, folder)
    assert result.outcome == "succeeded", result
    trained = [int(re.search(r"What is (\d+) plus", text)[1]) for text in seen]
    first, second = trained[:36], trained[36:]
    assert first == second == sorted(first, key=lambda place: hard[place])
    assert len(set(first)) == 36 and first != sorted(first)
    unscored = hard.index(20) + 1
    told = [event.data["values"]["rows"] for event in events_of(folder, "alert")]
    assert (str(unscored) in told) == (unscored - 1 in first)


def test_a_curriculum_needs_rows_with_a_score(tmp_path: Path, tiny: Path, rows: DatasetRef, tokenizer: Any) -> None:
    folder = spec_of(tmp_path / "1", tiny, rows, curriculum="easy_to_hard")
    with pytest.raises(JobFailed) as caught:
        token_rows.prepare_data(Attempt(folder, read_spec(folder)), tokenizer)
    assert caught.value.reason == "no_difficulty"


def begin(job: Path, tiny: Path, rows: DatasetRef) -> tuple[Path, subprocess.Popen]:
    """A run that would take long, at a moment when it trains."""
    folder = spec_of(job, tiny, rows, max_steps=100_000, save_steps=100_000)
    process = start("trainers.sft", folder)
    wait_until(lambda: len(events_of(folder, "metric")) > 2, process)
    return folder, process


def test_save_now_then_stop_and_save(tmp_path: Path, tiny: Path, rows: DatasetRef) -> None:
    folder, process = begin(tmp_path / "job", tiny, rows)
    ask(folder, "save", 1)
    wait_until(lambda: checkpoint_steps(folder), process)
    ask(folder, "stop", 2)
    process.wait(60)
    result = result_of(folder)
    assert (result.outcome, result.reason) == ("stopped", "job.stopped")
    assert checkpoint_steps(folder)[-1] == result.figures["steps"]
    last = Path(events_of(folder, "checkpoint")[-1].data["path"])
    assert damaged_files(last) == []
    assert read_json(last / "trainer_state.json")["global_step"] == result.figures["steps"]


def test_stop_now_leaves_at_once(tmp_path: Path, tiny: Path, rows: DatasetRef) -> None:
    folder = spec_of(tmp_path / "job", tiny, rows)
    process = start("trainers.sft", folder)
    wait_until(lambda: events_of(folder, "phase"), process)
    ask(folder, "stop_now")
    process.wait(10)
    assert (result_of(folder).outcome, result_of(folder).reason) == ("stopped", "job.stopped_now")


def test_a_gradient_that_is_no_number_ends_the_run_and_keeps_what_was_saved(
    tmp_path: Path, tiny: Path, rows: DatasetRef
) -> None:
    # With such a rate the weights leave the range of numbers after a finite step or two.
    settings = {"tuning": "full", "optim": "sgd", "max_grad_norm": 0.0, "save_steps": 1}
    folder = spec_of(tmp_path / "job", tiny, rows, **settings, learning_rate=1e25, lr_scheduler_type="constant")
    result = run_here(sft.main, folder)
    assert (result.outcome, result.exit_code) == ("failed", 1)
    assert result.reason in ("job.non_finite", "job.non_finite_weights")
    assert result.values["step"] >= 1
    checkpoints = folder.parent.parent / "checkpoints"
    assert all(damaged_files(each) == [] for each in checkpoints.iterdir())


def test_a_run_that_gets_no_better_ends_early_and_is_saved(tmp_path: Path, tiny: Path, rows: DatasetRef) -> None:
    # Steps too small to change anything: the first validation stays the best one.
    still = {"learning_rate": 1e-30, "validation_split": 0.1, "eval_steps": 1, "save_steps": STEPS}
    folder = spec_of(tmp_path / "job", tiny, rows, **still, early_stopping_patience=2)
    result = run_here(sft.main, folder)
    assert (result.outcome, result.figures["steps"]) == ("succeeded", 3)
    assert checkpoint_steps(folder) == [3]
    (told,) = [each.data for each in events_of(folder, "alert") if each.data["code"] == "stopped_early"]
    assert told["values"] == {"step": 3, "patience": 2}
    assert 0 < result.figures["train_seconds"] < result.figures["seconds"], "evaluating is not training"


def test_a_damaged_checkpoint_is_set_aside_unopened_and_an_older_one_taken(
    tmp_path: Path, tiny: Path, rows: DatasetRef
) -> None:
    saved = [a_checkpoint(tmp_path / "job", step) for step in (3, 2, 1)]
    (Path(saved[0].path) / "optimizer.pt").write_bytes(b"tampered")
    with whole_folder(Path(saved[1].path), step=2) as folder:
        (folder / "optimizer.pt").write_bytes(b"another whole one")
    attempt = attempt_with(tmp_path / "job", tiny, rows, resume_from=saved)
    assert newest_whole(attempt) == Path(saved[2].path)
    told = {event.data["step"]: event.data for event in events_of(attempt.folder, "set_aside")}
    assert {step: each["files"] for step, each in told.items()} == {3: ["optimizer.pt"], 2: ["manifest.json"]}
    assert (Path(told[3]["path"]) / "optimizer.pt").read_bytes() == b"tampered", "nothing was deleted"
    assert not Path(saved[0].path).exists()
    assert [event.data["code"] for event in events_of(attempt.folder, "alert")] == ["checkpoint_set_aside"] * 2


def a_checkpoint(job: Path, step: int) -> CheckpointRef:
    target = job / "checkpoints" / f"step-{step}"
    with whole_folder(target, step=step) as folder:
        (folder / "optimizer.pt").write_bytes(b"as saved")
    return CheckpointRef(step=step, path=str(target), digest=digest_of(target))


def attempt_with(job: Path, model: Path, rows: DatasetRef, **changes: Any) -> Attempt:
    folder = spec_of(job, model, rows, attempt=2, **changes)
    return Attempt(folder, read_spec(folder))


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({}, None),
        ({"save_steps": 3, "goal": "politeness"}, None),
        ({"seed": 7}, "seed"),
        ({"per_device_train_batch_size": 4, "learning_rate": 1e-4}, "learning_rate, per_device_train_batch_size"),
        ({"rows": "other"}, "dataset"),
        ({"model": "other"}, "model"),
    ],
)
def test_another_run_is_refused_by_name(
    tmp_path: Path, tiny: Path, rows: DatasetRef, changed: dict[str, Any], names: str | None
) -> None:
    tokens, others = tmp_path / "train.arrow", tmp_path / "others.arrow"
    tokens.write_bytes(b"tokens"), others.write_bytes(b"tokenz")
    before = read_spec(spec_of(tmp_path / "1", tiny, rows))
    with whole_folder(tmp_path / "step-2", step=2, same_run=same_run(before, [tokens])):
        pass
    other = shutil.copytree(tiny, tmp_path / "other")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    model = other if changed.pop("model", None) else tiny
    files = [others if changed.pop("rows", None) else tokens]
    now = same_run(read_spec(spec_of(tmp_path / "2", model, rows, **changed)), files)
    if names is None:
        check_same(tmp_path / "step-2", now)
        return
    with pytest.raises(JobFailed) as refused:
        check_same(tmp_path / "step-2", now)
    assert refused.value.values == {"step": 2, "names": names}
