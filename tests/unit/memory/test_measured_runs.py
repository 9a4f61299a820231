"""What runs really took corrects what is predicted: shrinkage, bounds, runs out of memory, other machines."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from studio.hardware import Gpu, Machine
from studio.memory.configuration import configuration_of
from studio.memory.estimate import Shapes, estimate
from studio.memory.fit import fit
from studio.memory.inventory import from_config
from studio.memory.measured import (
    LARGEST_RATIO,
    PRIOR_RUNS,
    Experience,
    Measurement,
    Place,
    document,
    libraries_of,
    place_of,
    shrunk,
    spread,
)
from studio.memory.stack import installed_stack
from studio.params.table import check, effective_batch_size
from tests.unit.memory.test_measured import CONFIGS

GIB = 1 << 30
CARD = Gpu(0, "Card", 24 * GIB, 24 * GIB, (8, 9))
MACHINE = Machine(8, 64 * GIB, 60 * GIB, (CARD,))
MODEL = from_config(CONFIGS["SmolLM2-135M"])
HERE = libraries_of(installed_stack())
SHORT = 512


def values(**changes):
    batch = changes.get("per_device_train_batch_size", 4)
    given = {"model_name_or_path": "m", "dataset": "d", "tuning": "lora", "dtype": "bfloat16"}
    given |= {"mixed_precision": "bf16", "per_device_eval_batch_size": batch, "per_device_train_batch_size": batch}
    return check(given | changes)


def predicted(asked, tokens=SHORT):
    return estimate(MODEL, asked, shapes=Shapes(tokens), machine=MACHINE)


def ran(asked, ratio=1.0, *, tokens=SHORT, place=None, **changes):
    """A run of these values that took so many times what is predicted."""
    size = predicted(asked, tokens).allocated_bytes
    made = Measurement(
        place=place or place_of(MACHINE),
        libraries=HERE,
        configuration=configuration_of("m", asked, Shapes(tokens).row_tokens(asked)),
        ran_out=False,
        is_probe=False,
        peak_bytes=int(size * ratio),
        predicted_bytes=size,
    )
    return replace(made, **changes)


def corrected(runs, asked, *, tokens=SHORT, machine=MACHINE):
    found = estimate(MODEL, asked, shapes=Shapes(tokens), machine=machine)
    return Experience("m", tuple(runs)).correct(found, asked, shapes=Shapes(tokens), machine=machine)


# -- shrinkage -------------------------------------------------------------------------------------------------------

RATIOS = st.floats(-math.log(LARGEST_RATIO), math.log(LARGEST_RATIO))
TOLD = st.lists(st.tuples(st.floats(0.01, 1.0), RATIOS), max_size=30)


@given(TOLD)
def test_the_correction_lies_between_none_and_what_was_seen(told):
    seen = [0.0, *(log_ratio for _, log_ratio in told)]
    assert min(seen) - 1e-12 <= shrunk(told) <= max(seen) + 1e-12


@given(TOLD, st.integers(0, 29), st.floats(0, 1))
def test_a_run_that_took_more_never_lowers_the_correction(told, place, more):
    assume(place < len(told))
    weight, log_ratio = told[place]
    raised = [*told[:place], (weight, log_ratio + more), *told[place + 1 :]]
    assert shrunk(raised) >= shrunk(told) - 1e-12


@given(RATIOS)
def test_few_runs_change_little_and_many_change_almost_all(log_ratio):
    one, many = shrunk([(1.0, log_ratio)]), shrunk([(1.0, log_ratio)] * 400)
    assert one == pytest.approx(log_ratio / (1 + PRIOR_RUNS))
    assert many == pytest.approx(log_ratio, rel=0.02)


BATCHES = st.sampled_from([1, 2, 4, 8, 16, 32])
TOKENS = st.sampled_from([64, 128, 256, 512, 1024])
TUNINGS = st.sampled_from(["lora", "full", "qlora"])


@st.composite
def runs(draw):
    asked = values(per_device_train_batch_size=draw(BATCHES), tuning=draw(TUNINGS))
    return ran(asked, draw(st.floats(0.4, 2.5)), tokens=draw(TOKENS), is_probe=draw(st.booleans()))


@settings(deadline=None, max_examples=60)
@given(st.lists(runs(), max_size=8), TUNINGS, BATCHES, TOKENS)
def test_never_below_a_smaller_configuration_nor_above_a_larger_one(history, tuning, batch, tokens):
    asked = values(per_device_train_batch_size=batch, tuning=tuning)
    mine = configuration_of("m", asked, Shapes(tokens).row_tokens(asked))
    size = corrected(history, asked, tokens=tokens).allocated_bytes
    low = max((run.peak_bytes for run in history if run.configuration <= mine), default=0)
    high = min((run.peak_bytes for run in history if mine <= run.configuration), default=math.inf)
    assert size >= low - 1
    assert size <= max(low, high) + 1


@settings(deadline=None, max_examples=60)
@given(st.lists(runs(), max_size=8), TUNINGS, st.lists(BATCHES, min_size=2, max_size=2), TOKENS)
def test_a_larger_batch_never_takes_less(history, tuning, batches, tokens):
    small, large = (values(per_device_train_batch_size=each, tuning=tuning) for each in sorted(batches))
    sizes = [corrected(history, asked, tokens=tokens).allocated_bytes for asked in (small, large)]
    assert sizes[0] <= sizes[1] + 1


@given(st.dictionaries(st.sampled_from(["weights", "layer", "loss", "step"]), st.integers(0, 10**12)), st.data())
def test_the_parts_add_up_and_what_is_counted_exactly_stays_where_it_can(parts, data):
    total = data.draw(st.integers(0, 2 * sum(parts.values())))
    made = spread(parts, total)
    assert made.keys() == parts.keys() and all(size >= 0 for size in made.values())
    others = sum(parts.values()) - parts.get("weights", 0)
    if parts and (others or parts.get("weights")):
        assert sum(made.values()) == total
    if others and total > parts.get("weights", 0):
        assert made.get("weights") == parts.get("weights")


def test_a_measured_peak_is_told_to_the_byte():
    """A byte was lost where the factor between the two cannot be told exactly."""
    predicted_bytes, measured_bytes = 1_151_654_594, 668_672_000
    factor = measured_bytes / predicted_bytes
    assert factor * predicted_bytes < measured_bytes
    assert (
        sum(spread({"weights": 12_879_104, "process": predicted_bytes - 12_879_104}, factor * predicted_bytes).values())
        == measured_bytes
    )


# -- what counts -----------------------------------------------------------------------------------------------------


def test_the_example_of_the_module():
    asked = values()
    others = [values(per_device_train_batch_size=each) for each in (3, 5, 6)]
    size = predicted(asked).allocated_bytes
    like = [replace(ran(each, 1.1), predicted_bytes=size, peak_bytes=int(1.1 * size)) for each in others]
    free = [replace(run, configuration=replace(run.configuration, model="other")) for run in like]
    found = corrected(free, asked)
    assert found.allocated_bytes / size == pytest.approx(1.1 ** (3 / 7), abs=1e-6)
    assert found.num_runs == 3 and not found.is_measured
    assert found.predicted_bytes == size


def test_a_run_of_these_very_settings_is_the_figure():
    asked = values()
    for is_probe in (True, False):
        found = corrected([ran(asked, 0.7, is_probe=is_probe)], asked)
        assert found.is_measured
        assert found.allocated_bytes == pytest.approx(0.7 * predicted(asked).allocated_bytes, abs=2)


def test_settings_that_take_no_memory_make_no_other_run():
    found = corrected([ran(values(learning_rate=1e-3, seed=1, num_train_epochs=9), 1.2)], values())
    assert found.is_measured


@pytest.mark.parametrize(
    "other",
    [
        {"place": Place("Card", 16 * GIB)},
        {"place": Place("Other card", 24 * GIB)},
        {"place": Place("cpu", 64 * GIB)},
        {"libraries": (("torch", "2.0"),)},
    ],
)
def test_another_machine_or_other_libraries_say_nothing(other):
    asked = values()
    run = replace(ran(asked, 1.5), **other)
    assert corrected([run], asked) == predicted(asked)
    assert corrected([replace(run, ran_out=True)], asked) == predicted(asked)


def test_a_card_that_keeps_a_little_for_itself_is_the_same():
    asked = values()
    assert corrected([ran(asked, 1.5, place=Place("Card", 24 * GIB - 2**28))], asked).is_measured


def test_another_tuning_says_a_quarter():
    asked, full = values(), values(tuning="full")
    size = predicted(asked).allocated_bytes
    far = replace(ran(full, 1.0), predicted_bytes=size, peak_bytes=int(1.5 * size))
    found = corrected([far], asked)
    assert math.log(found.allocated_bytes / size) == pytest.approx(0.25 * math.log(1.5) / 4.25, rel=1e-3)


# -- out of memory ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.lists(runs(), max_size=5), BATCHES, TOKENS, BATCHES, TOKENS)
def test_what_ran_out_and_all_larger_never_fits(history, batch, tokens, more, longer):
    failed = ran(values(per_device_train_batch_size=batch), 0.8, tokens=tokens, ran_out=True)
    asked = values(per_device_train_batch_size=more)
    found = corrected([*history, failed], asked, tokens=longer)
    if more >= batch and longer >= tokens:
        assert found.verdict != "fits" and found.ran_out
    else:
        assert not getattr(found, "ran_out", False)


def test_a_model_that_did_not_even_load_fits_nowhere():
    asked = values(per_device_train_batch_size=1)
    failed = ran(asked, ran_out=True)
    failed = replace(
        failed,
        configuration=failed.configuration.with_sizes(rows=0, tokens=0, eval_rows=0, eval_tokens=0),
        peak_bytes=0,
    )
    assert corrected([failed], asked, tokens=64).verdict == "tight"


def test_a_later_run_as_large_that_ended_well_takes_it_back():
    asked = values()
    failed, well = ran(asked, 0.9, ran_out=True), ran(values(per_device_train_batch_size=8), 1.0)
    assert corrected([failed, well], asked).verdict == "fits"
    assert corrected([well, failed], asked).verdict == "tight"


def test_the_search_keeps_below_what_ran_out():
    asked = values(per_device_train_batch_size=16)
    chosen = asked.keys() - {"per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size"}
    wanted = effective_batch_size(asked)

    def search(experience):
        found = fit(
            MODEL,
            asked,
            shapes=Shapes(SHORT),
            machine=MACHINE,
            chosen=chosen,
            wanted_batch=wanted,
            experience=experience,
        )
        return {**asked, **found.values}["per_device_train_batch_size"], found.estimate.verdict

    assert search(None) == (16, "fits")
    assert search(Experience("m", (ran(asked, ran_out=True),))) == (8, "fits")


def test_the_document_says_where_the_figure_comes_from():
    asked = values()
    plain, known = document(predicted(asked)), document(corrected([ran(asked, 1.2)], asked))
    assert (plain["num_runs"], plain["is_measured"], plain["predicted_bytes"]) == (0, False, plain["allocated_bytes"])
    assert known["is_measured"] and known["predicted_bytes"] == plain["allocated_bytes"] < known["allocated_bytes"]
