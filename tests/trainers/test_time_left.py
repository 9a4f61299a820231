"""The time left that a run tells: corrected by what its own steps and evaluations take as it goes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.protocol import DatasetRef
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import sft
from trainers.training import reporting
from trainers.training.peaks import Peaks

STEPS, EVAL_STEPS = 40, 5
QUICK, SLOW, SLOW_FROM = 1.0, 4.0, 10
"""Seconds of the first steps and of those after them."""
EVALUATION = 6.0
"""Seconds of each, after every `EVAL_STEPS` steps."""


class Clock:
    """Seconds that only the run's own work moves, so that no other program counts."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A real run's steps and evaluations take seconds of this clock."""
    made, steps = Clock(), iter(range(STEPS))
    begin_step, evaluate = Peaks.begin_step, reporting.Reporter.on_prediction_step

    def step(self: Peaks) -> None:
        made.now += QUICK if next(steps) < SLOW_FROM else SLOW
        begin_step(self)

    def evaluated(self: Any, *given: Any, **kwargs: Any) -> None:
        made.now += EVALUATION
        evaluate(self, *given, **kwargs)

    monkeypatch.setattr(Peaks, "begin_step", step)
    monkeypatch.setattr(reporting.Reporter, "on_prediction_step", evaluated)
    monkeypatch.setattr(reporting, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


@pytest.fixture
def rows(tmp_path: Path) -> DatasetRef:
    return write_dataset(
        tmp_path / "rows", [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(24)]
    )


def left_at(step: int) -> float:
    """What is really left after this step."""
    steps = max(0, SLOW_FROM - step) * QUICK + min(STEPS - step, STEPS - SLOW_FROM) * SLOW
    return steps + EVALUATION * (STEPS // EVAL_STEPS - max(0, step - 1) // EVAL_STEPS)


def test_the_time_left_follows_what_steps_and_evaluations_take(
    tmp_path: Path, tiny: Path, rows: DatasetRef, clock: Clock
) -> None:
    changes = {"max_steps": STEPS, "save_steps": STEPS, "eval_steps": EVAL_STEPS, "validation_split": 0.15}
    values = SFT | changes
    folder = write_spec(tmp_path / "job", values=values, dataset=rows, model=model_ref(tiny))
    assert run_here(sft.main, folder).outcome == "succeeded"
    told = {event.data["done"]: event.data["seconds_left"] for event in events_of(folder, "progress")}
    assert clock.now == 1000.0 + left_at(0)
    assert told[0] is None, "nothing is known before the first step"
    assert told[1] == STEPS - 1, "as if all steps took what the first one took"
    assert told[6] == (STEPS - 6) * (1 + EVALUATION / 6), "with its share of the first evaluation"
    assert told[SLOW_FROM] < left_at(SLOW_FROM) / 3, "nobody could know that the steps become longer"
    for step in (21, 26, 31, 36):  # more than half of the last twenty steps were long, and an evaluation is just over
        assert told[step] == pytest.approx(left_at(step), rel=0.07)
    assert told[STEPS] == 0
