"""What the log of a run says about its validations."""

import pytest

from trainers.early_stopping import validations_without_gain


@pytest.mark.parametrize(
    ("losses", "count"), [([], 0), ([2.0], 0), ([2.0, 1.5, 1.4], 0), ([1.9, 1.4, 1.5, 1.6], 2), ([1.0, 1.0, 1.0], 2)]
)
def test_validations_since_the_best_one(losses, count):
    log = [entry for loss in losses for entry in ({"loss": 9.0}, {"eval_loss": loss})]
    assert validations_without_gain(log) == count
