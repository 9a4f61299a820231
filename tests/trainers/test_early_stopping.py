"""What the log of a run says about its validations."""

from pathlib import Path

import pytest

from tests.trainers.jobs import events_of
from tests.trainers.resumed import metric_of, rows_of, run_of
from trainers.training.early_stopping import validations_without_gain


@pytest.mark.parametrize(
    ("losses", "count"), [([], 0), ([2.0], 0), ([2.0, 1.5, 1.4], 0), ([1.9, 1.4, 1.5, 1.6], 2), ([1.0, 1.0, 1.0], 2)]
)
def test_validations_since_the_best_one(losses, count):
    log = [entry for loss in losses for entry in ({"loss": 9.0}, {"eval_loss": loss})]
    assert validations_without_gain(log) == count


def test_of_what_is_right_the_most_is_best():
    log = [{"eval_loss": 1 + n, "eval_mean_token_accuracy": share} for n, share in enumerate((0.4, 0.6, 0.5))]
    assert validations_without_gain(log) == 2
    assert validations_without_gain(log, "mean_token_accuracy") == 1
    assert validations_without_gain(log, "f1") == 0


def test_a_run_ends_when_its_tokens_get_no_more_right_though_the_loss_still_falls(tmp_path: Path, tiny: Path) -> None:
    # So small a rate that no likeliest token becomes another one.
    held_out = {"validation_split": 0.25, "eval_steps": 1, "learning_rate": 1e-5, "tuning": "full"}
    watched = {"metric_for_best_model": "mean_token_accuracy", "early_stopping_patience": 2}
    folder = run_of(tmp_path / "job", tiny, rows_of(tmp_path / "rows"), **held_out, **watched)
    right, losses = (list(metric_of(folder, f"eval_{name}").values()) for name in ("mean_token_accuracy", "loss"))
    assert len(set(right)) == 1 and len(right) == 3 and losses == sorted(set(losses), reverse=True)
    (alert,) = [each.data for each in events_of(folder, "alert") if each.data["code"] == "stopped_early"]
    assert alert["values"] == {"step": 3, "patience": 2}
