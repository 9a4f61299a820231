"""What each training method adds to an estimate: rows, a reference, generation, a critic; and each way of tuning."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from studio.errors import RefusedInput
from studio.memory.adapters import TUNINGS
from studio.memory.estimate import Shapes, as_document, estimate
from studio.memory.inventory import from_config
from studio.memory.knobs import largest_terms
from studio.memory.methods import METHODS
from studio.memory.stack import Stack
from studio.memory.survey import SHIPPED, known
from tests.unit.memory.test_estimate import LLAMA_8B, SMOL, card, settings

MODELS = SHIPPED / "models.yaml"
WRITTEN = {"max_prompt_length": 64, "max_completion_length": 64, "num_generations": 4}


def predict(method, config=LLAMA_8B, *, stack=None, longest=512, **changes):
    known = {name: value for name, value in changes.items() if name in ("optim", "per_device_train_batch_size")}
    values = {**settings(tuning="lora", validation_split=0, **known), "lora_r": 8, **changes}
    return estimate(from_config(config), values, shapes=Shapes(longest), machine=card(80), stack=stack, method=method)


def total(found, phase):
    return sum(found.phases[phase].values())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_phases_and_the_peak_is_the_largest(method):
    found = predict(method, beta=0.1, **WRITTEN)
    always = {"load", "forward_and_loss", "layer_backward", "optimizer_step"}
    reference = {"reference_pass"} if METHODS[method].reference else set()
    writing = {"generation"} if METHODS[method].generates else set()
    assert set(found.phases) == always | reference | writing
    assert found.allocated_bytes == max(total(found, phase) for phase in found.phases)
    assert as_document(found)["notes"] == list(found.notes)


@pytest.mark.parametrize(("loss", "method"), [("ipo", "dpo"), ("hinge", "dpo"), ("robust", "dpo"), ("simpo", "cpo")])
def test_a_loss_that_people_call_a_method_is_one(loss, method):
    assert predict(loss) == predict(method)


def test_no_method_of_that_name():
    with pytest.raises(RefusedInput) as refused:
        predict("magic")
    assert refused.value.code == "memory.unknown_method"


def test_the_values_may_name_the_method():
    values = {**settings(tuning="lora"), "method": "dpo"}
    named = estimate(from_config(SMOL), values, shapes=Shapes(100))
    assert named == estimate(from_config(SMOL), values, shapes=Shapes(100), method="dpo")


@pytest.mark.parametrize(
    ("kernel", "least", "most"), [("eager", 1.8, 30.0), ("sdpa", 1.0, 1.5), ("flash_attention_2", 1.0, 1.0)]
)
def test_rows_behind_each_other_are_one_row_to_kernels_that_keep_pairs(kernel, least, most):
    """Published rows have none; what grows with the pairs of all tokens is what these kernels keep."""
    padded, joined = (
        predict(
            "sft",
            longest=1024,
            attn_implementation=kernel,
            per_device_train_batch_size=8,
            gradient_checkpointing=True,
            padding_free=is_joined,
        )
        for is_joined in (False, True)
    )
    ratio = total(joined, "layer_backward") / total(padded, "layer_backward")
    assert least <= ratio <= most and joined.allocated_bytes >= padded.allocated_bytes
    if kernel == "eager":
        pairs = 32 * (8 * 1024) ** 2
        assert joined.phases["layer_backward"]["layer"] > 4 * pairs, "probabilities of every pair in float32"


def test_pairs_are_two_rows():
    # trl switches dropout off for pairs; what weights need does not grow with the rows.
    one, pair = (
        predict(method, longest=4096, lora_dropout=0.0).phases["layer_backward"]["layer"] for method in ("sft", "dpo")
    )
    assert pair == pytest.approx(2 * one, rel=0.01)


def test_a_reference_is_a_second_model_only_where_no_adapter_can_be_switched_off():
    assert "reference_model" not in predict("dpo").terms
    full = predict("dpo", tuning="full")
    assert full.terms["reference_model"] == full.terms["weights"]
    assert "reference_model" not in predict("dpo", tuning="full", precompute_ref_log_probs=True).terms
    assert "reference_model" not in predict("orpo", tuning="full").terms


def test_grpo_asks_a_reference_only_with_a_beta():
    assert "reference_pass" not in predict("grpo", **WRITTEN).phases
    assert "reference_pass" in predict("grpo", beta=0.04, **WRITTEN).phases


def test_generations_of_a_prompt_take_no_memory_but_the_device_batch_does():
    few, many = (predict("grpo", **{**WRITTEN, "num_generations": number}) for number in (4, 8))
    assert few == many
    larger = predict("grpo", **WRITTEN, per_device_train_batch_size=4)
    assert total(larger, "layer_backward") > total(few, "layer_backward")


def test_the_cache_holds_the_keys_and_values_of_all_answers_until_the_next_update():
    # 32 layers, 8 of 32 heads of 128, keys and values of 2 bytes, 128 tokens; at the end a copy of one layer's keys.
    answer, written = 2 * 32 * 1024 * 2 * 128, {**WRITTEN, "max_prompt_length": 8, "max_completion_length": 120}
    one, four = (
        predict("grpo", **written, gradient_accumulation_steps=steps).phases["generation"]["kv_cache"]
        for steps in (1, 4)
    )
    assert one == answer * 65 // 64
    assert four == 4 * one


def test_all_logits_at_once_cost_more_than_a_chunked_head():
    assert predict("orpo", longest=1024).allocated_bytes > predict("dpo", longest=1024).allocated_bytes
    old = Stack(versions={"trl": "1.12", "transformers": "5.0.0"})
    written = {**WRITTEN, "max_completion_length": 1024}
    assert predict("grpo", stack=old, **written).allocated_bytes > predict("grpo", **written).allocated_bytes


def test_a_value_model_costs_a_second_model():
    head, model = (predict("ppo", **WRITTEN, value_model=own) for own in (False, True))
    assert model.resting_bytes - head.resting_bytes > 15e9
    assert {"critic_by_formula"} <= set(head.notes)


@pytest.mark.parametrize("tuning", TUNINGS)
def test_every_tuning_can_be_estimated(tuning):
    found = predict("sft", SMOL, tuning=tuning)
    assert found.allocated_bytes > 0
    everything = predict("sft", SMOL, tuning="full")
    assert found.resting_bytes < everything.resting_bytes or tuning == "full"


def test_frozen_layers_keep_nothing_and_have_no_states():
    two, eight = (predict("sft", tuning="freeze", freeze_trainable_layers=number) for number in (2, 8))
    assert 3.5 < eight.terms["optimizer"] / two.terms["optimizer"] < 4.5
    assert two.allocated_bytes < eight.allocated_bytes < predict("sft", tuning="full").allocated_bytes


def test_eight_bits_lie_between_four_and_sixteen():
    four, eight = (predict("sft", tuning="qlora", load_in_8bit=is_8) for is_8 in (False, True))
    assert four.resting_bytes < eight.resting_bytes < predict("sft").resting_bytes
    assert "int8_by_formula" in eight.notes and not four.notes


def test_dora_makes_whole_weights_anew():
    plain, dora = (predict("sft", use_dora=is_dora) for is_dora in (False, True))
    assert total(dora, "layer_backward") - total(plain, "layer_backward") > 3 * 4 * 4096 * 14336


def test_a_learned_prompt_makes_rows_longer():
    short, long = (predict("sft", tuning="prompt_tuning", num_virtual_tokens=number) for number in (10, 200))
    assert long.terms["layer" if long.peak_phase == "layer_backward" else "weights"] >= short.terms.get("layer", 0)
    assert total(long, "layer_backward") > total(short, "layer_backward")


def test_notes_widen_the_bands_and_can_turn_a_fit_into_a_tight_one():
    sure, unsure = predict("sft"), predict("ppo", **WRITTEN)
    spread = [(high - low) / found.allocated_bytes for found in (sure, unsure) for low, high in [found.reserved_bytes]]
    assert spread[1] > spread[0] + 0.1


def spread(found):
    low, high = found.device_bytes
    return (high - low) / found.allocated_bytes


def test_what_nothing_was_measured_against_says_so_and_has_the_widest_bands():
    bottleneck, vectors, plain = (of_another_family(tuning) for tuning in ("bottleneck", "ia3", "lora"))
    assert bottleneck.notes[-1] == "tuning_never_seen" and vectors.notes[-1] == "tuning_by_formula"
    assert spread(bottleneck) > spread(vectors) > spread(plain)
    ppo, grpo = predict("ppo", **WRITTEN), predict("grpo", **WRITTEN)
    assert set(ppo.notes) - set(grpo.notes) == {"critic_by_formula"} and spread(ppo) > spread(grpo) + 0.05


def of_another_family(tuning):
    values = {**settings(tuning="lora", validation_split=0), "lora_r": 8, "tuning": tuning}
    model = from_config({**LLAMA_8B, "model_type": "olmo2"})
    return estimate(model, values, shapes=Shapes(512), machine=card(80))


@pytest.mark.parametrize("tuning", ["bottleneck", "ia3", "ln_tuning", "prompt_tuning", "p_tuning", "prefix_tuning"])
def test_a_followed_layer_says_what_every_tuning_keeps_beside_it(tuning):
    found = predict("sft", tuning=tuning, num_virtual_tokens=16)
    assert found.notes == () and spread(found) == spread(predict("sft"))


def test_dora_makes_every_weight_and_a_diagonal_of_its_width_anew():
    plain, dora = (predict("sft", use_dora=is_dora).phases["layer_backward"]["layer"] for is_dora in (False, True))
    widest = 14336
    # float32: the diagonal, B A, the weight, s B A and their sum, one matrix at a time.
    assert 4 * (widest**2 + 3 * widest * 4096) < dora - plain < 4 * (widest**2 + 5 * widest * 4096) + 2**30


@pytest.mark.parametrize(
    ("changes", "copies"),
    [
        ({"continual": "ewc"}, 2),
        ({"continual": "si"}, 5),
        ({"track_importance": True}, 3),
        ({"continual": "replay"}, 0),
    ],
)
def test_holding_an_earlier_task_takes_copies_of_what_is_trained(changes, copies):
    plain, held = (predict("sft", **more).phases["optimizer_step"] for more in ({}, changes))
    assert held.get("kept_from_before", 0) == copies * plain["adapter"], "both have four bytes a weight"
    assert "kept_from_before" not in plain


def test_a_critic_that_does_not_fit_names_the_setting_to_switch_off():
    values = settings(tuning="lora", validation_split=0) | {"method": "ppo", "value_model": True} | WRITTEN
    inventory, shapes = from_config(LLAMA_8B), Shapes(512)
    found = estimate(inventory, values, shapes=shapes, machine=None)
    knobs = {term.name: term.knob for term in largest_terms(inventory, values, found, shapes=shapes, machine=None)}
    assert knobs["critic"] == "value_model"


@pytest.mark.parametrize(
    ("method", "trl", "adds"), [("sft", "1.16.0", True), ("sft", "1.6.0", False), ("reward", "1.16.0", False)]
)
def test_experts_are_balanced_by_trl_since_1_7(method, trl, adds):
    """Qwen3-30B-A3B: 128 experts, 48 layers; each router's scores stay in bfloat16 until all are read."""
    config = {"model_type": "qwen3_moe", **yaml.safe_load(MODELS.read_text("utf-8"))["qwen3_moe"]["Qwen3-30B-A3B"]}
    model = known(config, cache=Path("nowhere"))
    plain, balanced = (
        estimate(
            replace(model, balances_experts=balances),
            settings(tuning="lora", per_device_train_batch_size=1, lora_dropout=0.0),
            shapes=Shapes(1024),
            stack=Stack(versions={"trl": trl}),
            method=method,
        )
        for balances in (False, True)
    )
    if adds:
        rows = settings()["per_device_eval_batch_size"]
        assert total(balanced, "evaluation") - total(plain, "evaluation") == rows * 1024 * 48 * 128 * 2
        assert total(balanced, "forward_and_loss") > total(plain, "forward_and_loss")
    else:
        assert balanced == plain


def test_a_known_model_with_experts_says_that_a_loss_balances_them():
    config = {"model_type": "qwen3_moe", **yaml.safe_load(MODELS.read_text("utf-8"))["qwen3_moe"]["Qwen3-30B-A3B"]}
    assert known(config, cache=Path("nowhere")).balances_experts
