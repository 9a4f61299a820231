"""What the log of a run says about its validations."""

import pytest

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
