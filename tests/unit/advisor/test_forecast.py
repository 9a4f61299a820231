"""Steps, time and disk are what the trainer will count, and never nothing."""

import pytest

from studio.advisor.complete import complete
from studio.advisor.forecast import checkpoint_bytes, disk_as_it_goes, forecast, seconds_per_token
from studio.advisor.recipes import recipes
from studio.db.speeds import MeasuredSpeed
from tests.unit.advisor.conftest import model

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


def test_adversarial_training_takes_as_many_passes_as_it_has(facts):
    plain = plan(facts(), max_steps=20, validation_split=0).seconds - START
    for chosen, passes in (({"adversarial": "fgm"}, 2), ({"adversarial": "pgd", "adversarial_steps": 4}, 5)):
        assert plan(facts(), max_steps=20, validation_split=0, **chosen).seconds - START == pytest.approx(
            passes * plain
        )


def seconds_of(known, method, **chosen):
    chosen = {"max_steps": 20, "validation_split": 0, "per_device_train_batch_size": 4} | chosen
    return plan(known, method=method, gradient_accumulation_steps=2, **chosen).seconds - START


def test_both_answers_of_a_pair_and_the_reference_take_their_time(facts):
    """A pair is two texts; with LoRA a text is gone through twice, and a third time by the reference."""
    known = facts(rows=160)
    alone, pairs, referred = (seconds_of(known, method) for method in ("sft", "orpo", "dpo"))
    assert (pairs / alone, referred / alone) == (pytest.approx(2), pytest.approx(3))
    assert seconds_of(known, "kto") / alone == pytest.approx(1.5)
    # 160 updates of a row, and each row once beforehand.
    assert seconds_of(known, "dpo", precompute_ref_log_probs=True) / alone == pytest.approx(2 * (1 + 1 / 2))


def test_a_speed_measured_with_a_reference_is_carried_over_to_a_run_without(facts):
    values = complete({**NAMED, "method": "orpo"}, facts())[0]
    assert seconds_per_token(facts(speeds=(speed(0.03, asks_reference=True),)), values) == pytest.approx(0.02)


GROUPS = {"method": "grpo", "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 4}
GROUPS |= {"rewards": [{"name": "length", "min": 5, "max": 60, "weight": 1.0}], "validation_split": 0}


def test_the_time_that_a_model_takes_to_write_its_answers_counts(facts):
    short, long = (plan(facts(), max_steps=20, max_completion_length=size, **GROUPS).seconds for size in (64, 256))
    assert long - START > 3 * (short - START)
    # At least every weight is read once for each token of each step.
    read = 20 * 256 * 4 * model("135M").parameters / recipes()["writing"]["cpu_bytes"]
    alone = plan(facts(), max_steps=20, method="sft", per_device_train_batch_size=8, validation_split=0).seconds
    assert long > alone + read


def test_answers_that_are_used_again_are_not_written_again(facts):
    once, often = (
        plan(facts(gpu=24), max_steps=40, num_iterations=times, beta=0.0, **GROUPS).seconds - START for times in (1, 4)
    )
    assert often < 0.6 * once


@pytest.mark.parametrize(
    ("changes", "steps"), [({}, 150), ({"num_iterations": 3}, 450), ({"gradient_accumulation_steps": 4}, 37)]
)
def test_steps_of_answers_are_counted_by_their_questions(facts, changes, steps):
    # 8 answers at once, 4 to each question: 2 questions of 300 at a time; what fills no batch waits.
    assert plan(facts(rows=300), num_train_epochs=1, **GROUPS | changes).steps == steps


def test_a_run_that_wrote_says_nothing_of_one_that_reads(facts):
    known = facts(speeds=(speed(5.0, writes=True), speed(0.01)))
    reads, wrote = (complete({**NAMED, **chosen}, known)[0] for chosen in ({}, GROUPS))
    assert seconds_per_token(known, reads) == 0.01 and seconds_per_token(known, wrote) == 5.0


def test_a_small_model_on_a_gpu_takes_more_than_no_time(facts):
    assert plan(facts(gpu=24), max_steps=100).seconds >= START + 10


def speed(seconds, *, parameters=None, **changes):
    usual = {"tuning": "lora", "gradient_checkpointing": False, "dtype": "float32", "device": "cpu"}
    size = parameters or model("135M").parameters
    return MeasuredSpeed(seconds_per_token=seconds, parameters=size, **(usual | changes))


def test_a_measured_speed_takes_the_place_of_the_guess(facts):
    slow, fast = (plan(facts(speeds=(speed(each),)), max_steps=20).seconds for each in (0.02, 0.01))
    assert slow - START == pytest.approx(2 * (fast - START))
    known = facts(speeds=(speed(0.01),))
    values = complete({**NAMED, "max_steps": 20, "validation_split": 0}, known)[0]
    rows = 20 * values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
    assert forecast(known, values).seconds == pytest.approx(START + rows * known.lengths.mean * 0.01)


def test_the_median_of_the_newest_runs_of_this_kind_counts(facts):
    values = complete(NAMED, facts())[0]
    runs = (speed(9.0), *(speed(each) for each in (0.01, 0.02, 0.03, 0.02, 5.0)))
    assert seconds_per_token(facts(speeds=runs), values) == 0.02
    others = (speed(1.0, device="card"), speed(1.0, tuning="full"), speed(1.0, dtype="bfloat16"))
    assert seconds_per_token(facts(speeds=others), values) is None


def test_a_speed_is_carried_over_to_a_model_near_in_size_only(facts):
    values, size = complete(NAMED, facts())[0], model("135M").parameters
    near, far = speed(0.01, parameters=size // 2 + 1), speed(0.01, parameters=size * 3)
    assert seconds_per_token(facts(speeds=(near, far)), values) == pytest.approx(0.02, rel=1e-3)
    assert seconds_per_token(facts(speeds=(far,)), values) is None


def test_computing_again_is_added_to_a_speed_measured_without_it(facts):
    known = facts(speeds=(speed(0.02),))
    values = complete({**NAMED, "gradient_checkpointing": True}, known)[0]
    assert seconds_per_token(known, values) == pytest.approx(0.02 * 3 / 2)


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


@pytest.mark.parametrize(
    ("values", "steps", "sizes", "found"),
    [
        ({"save_steps": 50}, 200, [], None),
        ({"save_steps": 50}, 0, [10], None),
        ({"save_steps": 50}, 200, [30, 32], (4, 124)),
        ({"save_steps": 50, "save_total_limit": 1}, 1000, [30, 32], (3, 93)),
        # Saved by hand as well: more are there than were planned.
        ({"save_steps": 100}, 100, [30, 30, 36], (3, 96)),
    ],
)
def test_disk_is_told_anew_from_the_checkpoints_that_are_there(values, steps, sizes, found):
    assert disk_as_it_goes(values, steps=steps, sizes=sizes) == found
