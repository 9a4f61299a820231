"""Steps, time and disk are what the trainer will count, and never nothing."""

import pytest

from studio.advisor.complete import complete
from studio.advisor.forecast import checkpoint_bytes, forecast
from studio.advisor.prefill import recipes

NAMED = {"model_name_or_path": "m", "dataset": "d"}
START = recipes()["speed"]["start_seconds"]


def plan(facts, **chosen):
    return forecast(facts, complete({**NAMED, **chosen}, facts)[0])


@pytest.mark.parametrize(
    ("steps", "save_steps", "checkpoints"), [(20, 5, 4), (20, 7, 3), (20, 20, 1), (20, 100, 1)], ids=str
)
def test_the_last_step_is_a_checkpoint_too(facts, steps, save_steps, checkpoints):
    found = plan(facts(), max_steps=steps, save_steps=save_steps)
    assert (found.steps, found.num_checkpoints) == (steps, checkpoints)


def test_time_grows_with_the_work_and_starts_with_the_start(facts):
    one, two = (plan(facts(), max_steps=steps, validation_split=0).seconds - START for steps in (20, 40))
    assert two == pytest.approx(2 * one) and one > 0


def test_computing_again_and_training_everything_take_longer(facts):
    least = plan(facts(), max_steps=20).seconds
    assert plan(facts(), max_steps=20, gradient_checkpointing=True).seconds > least
    assert plan(facts(), max_steps=20, tuning="full").seconds > least


def test_a_small_model_on_a_gpu_takes_more_than_no_time(facts):
    assert plan(facts(gpu=24), max_steps=100).seconds >= START + 10


def test_a_measured_speed_takes_the_place_of_the_guess(facts):
    slow, fast = (plan(facts(seconds_per_token=speed), max_steps=20).seconds for speed in (0.02, 0.01))
    assert slow - START == pytest.approx(2 * (fast - START))


def test_what_a_checkpoint_of_the_starter_model_took(facts):
    # The adapter of rank 8 on all linear layers has 2,442,240 weights: itself and two optimizer states in 4 bytes.
    found = checkpoint_bytes(facts().inventory, complete(NAMED, facts())[0])
    assert found == 2_442_240 * 12 + 5_000_000
    assert found == pytest.approx(33_259_084, rel=0.05), "the folder of a real one"


def test_nothing_is_forecast_before_the_model_was_looked_at(facts):
    from studio.advisor.facts import facts_from

    known = facts_from(None, machine=facts().machine, rows=100)
    found = forecast(known, complete(NAMED, known)[0])
    assert found.steps and (found.seconds, found.disk_bytes, found.memory) == (None, None, None)
