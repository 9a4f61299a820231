"""A run, and the same run gone on with from its checkpoint in the middle: they must end in the same bytes."""

from pathlib import Path
from typing import Any

from studio.protocol import CheckpointRef, DatasetRef
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import sft

STEPS = 8
STEADY = {"max_steps": STEPS, "save_steps": STEPS // 2, "num_train_epochs": 1.0}


def rows_of(folder: Path, count: int = 24) -> DatasetRef:
    sums = [{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(count)]
    return write_dataset(folder, sums)


def run_of(job: Path, model: Path, rows: DatasetRef, *, resume_from: tuple = (), **values: Any) -> Path:
    """A finished run; gives its attempt's folder."""
    fields = {"values": SFT | STEADY | values, "dataset": rows, "model": model_ref(model)}
    folder = write_spec(job, resume_from=list(resume_from), **fields)
    result = run_here(sft.main, folder)
    assert result.outcome == "succeeded", result
    return folder


def assert_resumes_alike(place: Path, model: Path, **values: Any) -> Path:
    """Run to the end, go on from the middle in a job of its own, compare weights and optimizer; gives the first run."""
    rows = rows_of(place / "rows")
    whole = run_of(place / "whole", model, rows, **values)
    saved = [
        CheckpointRef(**{k: e.data[k] for k in ("step", "path", "digest")}) for e in events_of(whole, "checkpoint")
    ]
    assert [each.step for each in saved] == [STEPS // 2, STEPS]
    second = run_of(place / "second", model, rows, resume_from=(saved[0],), **values)
    for name in (
        "model.safetensors" if values.get("tuning") == "full" else "adapter_model.safetensors",
        "scheduler.pt",
    ):
        ends = [Path(folder).parent.parent / "checkpoints" / f"step-{STEPS}" / name for folder in (whole, second)]
        assert ends[0].read_bytes() == ends[1].read_bytes(), name
    assert losses_of(second) == {step: loss for step, loss in losses_of(whole).items() if step > STEPS // 2}
    return whole


def metric_of(folder: Path, name: str) -> dict[int, float]:
    told = [event.data for event in events_of(folder, "metric")]
    return {each["step"]: each["values"][name] for each in told if name in each["values"]}


def losses_of(folder: Path) -> dict[int, float]:
    return metric_of(folder, "loss")
