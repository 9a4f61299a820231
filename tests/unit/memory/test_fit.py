"""The search for settings that fit: what it may change, what it gives up and in which order, and what it says."""

import json
import time
from dataclasses import replace
from itertools import count, product
from pathlib import Path

import pytest

from studio.hardware import Gpu, Machine
from studio.memory.estimate import Shapes, estimate
from studio.memory.fit import fit
from studio.memory.inventory import from_config
from studio.memory.knobs import SHORTEST_ROW, largest_terms, tuned
from studio.memory.survey import SHIPPED, known
from studio.memory.throughput import Speed
from studio.params.table import check, effective_batch_size, parameters
from tests.unit.memory.test_estimate import CPU, GIB, LLAMA_8B, SMOL, card, settings

CONFIGS = json.loads((Path(__file__).parent / "configs.json").read_text("utf-8"))
LLAMA_70B = {**LLAMA_8B, "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64} | {
    "intermediate_size": 28672
}
TRACED = [CONFIGS["Mixtral-8x7B-Instruct-v0.1"], CONFIGS["Qwen3-14B"]]
MODEL = from_config(LLAMA_8B)


def solve(gib=24, *, model=MODEL, chosen=(), wanted=16, longest=2000, machine=None, **changes):
    values = settings(**{"max_length": 2048} | changes)
    found = fit(
        model,
        values,
        shapes=Shapes(longest),
        machine=machine or card(gib),
        chosen=chosen,
        wanted_batch=wanted,
    )
    return found, with_effect({**values, **found.values})


def with_effect(values):
    """Without what only another tuning has: the form leaves it out."""
    table = {each.name: each for each in parameters("sft")}
    return {name: value for name, value in values.items() if table[name].applies_to(values)}


@pytest.mark.parametrize("gib", [8, 12, 16, 24, 48, 80])
@pytest.mark.parametrize("tuning", ["full", "lora", "qlora"])
def test_what_it_gives_is_what_it_estimated(gib, tuning):
    found, values = solve(gib, tuning=tuning)
    again = estimate(MODEL, values, shapes=Shapes(2000), machine=card(gib))
    assert again.phases == found.estimate.phases and again.verdict == found.estimate.verdict
    assert check({**values, "model_name_or_path": "m", "dataset": "d"}) == values, "settings that a run would refuse"


def test_only_changed_values_are_named():
    _, values = solve()
    again = fit(MODEL, values, shapes=Shapes(2000), machine=card(24), chosen=(), wanted_batch=16)
    assert again.values == {}


@pytest.mark.parametrize("wanted", [1, 7, 8, 12, 16, 30, 64])
@pytest.mark.parametrize("gib", [16, 24, 80])
def test_the_effective_batch_stays(wanted, gib):
    _, values = solve(gib, wanted=wanted)
    assert effective_batch_size(values) == wanted


def test_a_chosen_device_batch_rounds_the_accumulation():
    _, values = solve(48, chosen={"per_device_train_batch_size"}, per_device_train_batch_size=3, wanted=8)
    assert (values["per_device_train_batch_size"], values["gradient_accumulation_steps"]) == (3, 3)
    _, values = solve(48, chosen={"per_device_train_batch_size"}, per_device_train_batch_size=5, wanted=2)
    assert values["gradient_accumulation_steps"] == 1


def test_a_chosen_accumulation_rounds_the_device_batch_down():
    _, values = solve(80, chosen={"gradient_accumulation_steps"}, gradient_accumulation_steps=3, wanted=16)
    assert (values["per_device_train_batch_size"], values["gradient_accumulation_steps"]) == (5, 3)


@pytest.mark.parametrize("machine", [CPU, card(12), card(24), card(80)], ids=["main", "12", "24", "80"])
def test_it_answers_in_a_fifth_of_a_second_from_a_cached_inventory(machine):
    """Of processor; no question is asked twice, so none is answered from what an earlier one left behind."""
    solve(model=from_config(SMOL), machine=machine)  # tables and coefficients are read
    longest, taken = count(1900, 7), {}
    for config, tuning, wanted in product((*TRACED, LLAMA_8B, LLAMA_70B), ("full", "lora"), (16, 240)):
        model = known(config, cache=SHIPPED)
        assert model is not None and model.profiles, "an inventory that ships, with traces"
        begun = time.process_time()
        solve(model=model, machine=machine, tuning=tuning, wanted=wanted, longest=next(longest), max_length=4096)
        taken[config["model_type"], config["num_hidden_layers"], tuning, wanted] = time.process_time() - begun
    assert max(taken.values()) <= 0.2, taken


def brute_force(model, values, *, shapes, machine, wanted):
    """The best throughput of every combination that costs no quality."""
    speed, best = Speed(model, shapes, machine), 0.0
    batches = [each for each in range(1, wanted + 1) if wanted % each == 0]
    for batch, again, optim in product(batches, (False, True), ("adamw_torch_fused", "adamw_bnb_8bit")):
        tried = {**values, "gradient_checkpointing": again, "optim": optim}
        tried |= {"per_device_train_batch_size": batch, "per_device_eval_batch_size": batch}
        tried |= {"gradient_accumulation_steps": wanted // batch}
        if estimate(model, tried, shapes=shapes, machine=machine).verdict == "fits":
            best = max(best, speed.of(tried))
    return best


@pytest.mark.parametrize(
    ("gib", "tuning", "longest"),
    [(24, "lora", 500), (24, "qlora", 2000), (40, "lora", 2000), (80, "full", 2000), (80, "full", 300)],
)
def test_nothing_that_fits_is_quicker(gib, tuning, longest):
    found, values = solve(gib, tuning=tuning, longest=longest)
    assert found.estimate.verdict == "fits" and values["tuning"] == tuning
    shapes, machine = Shapes(longest), card(gib)
    best = brute_force(MODEL, values, shapes=shapes, machine=machine, wanted=16)
    assert Speed(MODEL, shapes, machine).of(values) == pytest.approx(best)


def test_quality_is_given_up_last_and_in_order():
    exact = {"dtype": "float32", "mixed_precision": "bf16", "tuning": "full"}
    reached = []
    for gib in (192, 96, 24, 12):
        _, values = solve(gib, longest=500, **exact)
        reached.append((values["tuning"], values["dtype"]))
    assert reached == [("full", "float32"), ("full", "bfloat16"), ("lora", "bfloat16"), ("qlora", "bfloat16")]


def test_a_step_down_brings_what_only_the_new_tuning_has():
    _, values = solve(24, tuning="full", longest=500)
    assert values["tuning"] == "lora" and values["lora_r"] == 8 and values["lora_target_modules"] == ["all-linear"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tuning", "full"),
        ("gradient_checkpointing", False),
        ("optim", "adamw_torch"),
        ("attn_implementation", "eager"),
        ("max_length", 4096),
        ("per_device_train_batch_size", 16),
        ("gradient_accumulation_steps", 1),
        ("per_device_eval_batch_size", 64),
        ("dtype", "float32"),
    ],
)
def test_what_a_person_chose_is_never_changed(name, value):
    found, _ = solve(12, chosen={name}, longest=4000, **{name: value})
    assert name not in found.values


def test_a_card_without_bfloat16_keeps_its_precision():
    old = Machine(8, 64 * GIB, 60 * GIB, (Gpu(0, "old", 16 * GIB, 16 * GIB, (7, 5)),))
    found, _ = solve(machine=old, dtype="float32", mixed_precision="fp16", tuning="full")
    assert "dtype" not in found.values


def test_length_is_left_alone_where_it_frees_nothing():
    found, _ = solve(24, max_length=8192, longest=300)
    assert "max_length" not in found.values


def test_packed_rows_get_shorter_before_the_model_is_compressed():
    packed = {"packing": True, "attn_implementation": "flash_attention_2", "max_length": 16384}
    found, values = solve(22, longest=1000, **packed)
    assert values["tuning"] == "lora" and values["max_length"] == 1024 and not found.cuts_rows


def test_rows_are_cut_only_where_nothing_else_fits_and_it_says_so():
    whole, _ = solve(12, longest=4000, max_length=4096, wanted=8)
    assert not whole.cuts_rows and whole.estimate.verdict == "fits"
    cut, values = solve(12, longest=30000, max_length=32768, wanted=8)
    assert cut.cuts_rows and cut.is_possible and cut.estimate.verdict == "fits"
    assert values["tuning"] == "qlora" and values["per_device_train_batch_size"] == 1
    longer = estimate(
        MODEL, {**values, "max_length": values["max_length"] + 64}, shapes=Shapes(30000), machine=card(12)
    )
    assert values["max_length"] % 64 == 0 and longer.verdict != "fits", "cut no further than it must be"


def test_rows_stay_whole_where_it_can_be_tight():
    found, _ = solve(8, longest=2700, max_length=4096)
    assert found.estimate.verdict == "tight" and found.is_possible and not found.cuts_rows and found.excess_bytes == 0


def test_nothing_fits_names_the_smallest_and_what_lacks():
    found, values = solve(24, model=from_config(LLAMA_70B), tuning="full", optim="adamw_torch")
    assert not found.is_possible and found.estimate.verdict == "too_large"
    assert values["tuning"] == "qlora" and values["per_device_train_batch_size"] == 1
    assert values["max_length"] == SHORTEST_ROW
    assert found.excess_bytes == found.estimate.device_bytes[0] - found.estimate.limit_bytes
    assert 14 * GIB < found.excess_bytes < 20 * GIB
    assert [(term.name, term.knob) for term in found.largest][0] == ("weights", None)


def test_nothing_fits_in_main_memory_either():
    small = replace(CPU, ram_bytes=4 * GIB, ram_free_bytes=3 * GIB)
    found, values = solve(machine=small, dtype="float32", mixed_precision="no")
    assert not found.is_possible and found.excess_bytes > 0 and found.estimate.device == "cpu"
    assert values["optim"] == "adamw_torch_fused", "8-bit optimizers are for GPUs"


def test_without_a_machine_the_quickest_is_taken():
    values = settings(max_length=2048)
    found = fit(MODEL, values, shapes=Shapes(500), machine=None, chosen=(), wanted_batch=8)
    assert found.estimate.verdict == "unknown" and found.is_possible
    assert found.values["per_device_train_batch_size"] == 8 and found.values["gradient_checkpointing"] is False


def test_the_three_largest_parts_name_what_shrinks_them():
    values = settings(tuning="full", gradient_checkpointing=False, per_device_train_batch_size=4, max_length=2048)
    found = estimate(MODEL, values, shapes=Shapes(2000), machine=card(80))
    largest = largest_terms(MODEL, values, found, shapes=Shapes(2000), machine=card(80))
    assert [term.bytes for term in largest] == sorted(found.terms.values(), reverse=True)[:3]
    assert {term.name: term.knob for term in largest}["activations"] == "per_device_train_batch_size"
    single = {**values, "per_device_train_batch_size": 1}
    found = estimate(MODEL, single, shapes=Shapes(2000), machine=card(80))
    knobs = {t.name: t.knob for t in largest_terms(MODEL, single, found, shapes=Shapes(2000), machine=card(80))}
    assert knobs["optimizer"] == "optim" or knobs["step"] == "optim"


@pytest.mark.parametrize("tuning", ["full", "lora", "qlora"])
def test_a_named_knob_does_shrink_its_part(tuning):
    """Pulled by hand, as the page tells a person to."""
    values = settings(tuning=tuning, gradient_checkpointing=False, per_device_train_batch_size=4, max_length=2048)
    shapes, machine = Shapes(2000), card(24)
    found = estimate(MODEL, values, shapes=shapes, machine=machine)
    pulled = {
        "optim": {"optim": "adamw_bnb_8bit"},
        "per_device_train_batch_size": {"per_device_train_batch_size": 1},
        "gradient_checkpointing": {"gradient_checkpointing": True},
        "tuning": tuned(values, "qlora"),
    }
    for term in largest_terms(MODEL, values, found, shapes=shapes, machine=machine):
        if term.knob is not None:
            smaller = estimate(MODEL, {**values, **pulled[term.knob]}, shapes=shapes, machine=machine)
            assert smaller.phases[found.peak_phase].get(term.name, 0) <= 0.75 * term.bytes


def test_small_batches_and_compressed_models_are_slower():
    speed = Speed(from_config(SMOL), Shapes(500), card(24))
    base = settings(gradient_checkpointing=False, per_device_train_batch_size=8, max_length=2048)
    for slower in (
        {"per_device_train_batch_size": 1},
        {"gradient_checkpointing": True},
        {"tuning": "qlora"},
        {"optim": "adamw_bnb_8bit"},
        {"attn_implementation": "eager"},
    ):
        assert speed.of({**base, **slower}) < speed.of(base), slower


def test_checkpointing_costs_a_third_of_full_training_and_half_of_a_frozen_model():
    """Kaplan et al. 2020 and Chen et al. 2016: 3 against 4 passes, 2 against 3."""
    speed = Speed(MODEL, Shapes(500), card(80))
    for tuning, factor in (("full", 4 / 3), ("lora", 3 / 2)):
        plain = settings(tuning=tuning, gradient_checkpointing=False)
        assert speed.of(plain) / speed.of({**plain, "gradient_checkpointing": True}) == pytest.approx(factor)
