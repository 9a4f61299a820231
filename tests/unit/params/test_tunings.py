"""Ways of tuning agree wherever they are named, and what cannot be together is said before a run."""

import pytest

from studio.errors import SpecRefused
from studio.memory import adapters
from studio.params.changing import smaller
from studio.params.layer_names import is_named, is_trained, spelled_out
from studio.params.table import check, parameters
from studio.params.tunings import ADDS_TOKENS, TUNINGS

LEAST = {"model_name_or_path": "starter", "dataset": "support"}


def test_form_calculator_and_checkpoints_know_the_same():
    (tuning,) = (each for each in parameters("sft") if each.name == "tuning")
    assert {choice.value for choice in tuning.choices} == set(TUNINGS) == set(adapters.TUNINGS)


@pytest.mark.parametrize("name", TUNINGS)
def test_each_is_a_complete_spec_by_its_name_alone(name):
    values = check({**LEAST, "tuning": name, "gradient_checkpointing": False})
    assert ("lora_r" in values) == (name in ("lora", "qlora"))
    assert ("num_virtual_tokens" in values) == (name in ADDS_TOKENS)
    assert ("freeze_trainable_layers" in values) == (name == "freeze")


@pytest.mark.parametrize(
    ("values", "field", "code"),
    [
        ({"tuning": "full", "load_in_8bit": True}, "load_in_8bit", "no_effect"),
        ({"tuning": "freeze", "dtype": "float16"}, "dtype", "full_in_float16"),
        ({"tuning": "qlora", "init_lora_weights": "pissa"}, "init_lora_weights", "no_effect"),
        ({"init_lora_weights": "pissa", "use_dora": True}, "use_dora", "pissa_with_dora"),
        ({"tuning": "prompt_tuning", "packing": True}, "packing", "prompt_packed"),
        ({"tuning": "prefix_tuning", "gradient_checkpointing": True}, "gradient_checkpointing", "prefix_recomputed"),
        ({"method": "dpo", "tuning": "prompt_tuning"}, "tuning", "tuning_beside_reference"),
        ({"method": "dpo", "init_lora_weights": "pissa"}, "init_lora_weights", "pissa_beside_reference"),
        ({"method": "classify", "tuning": "ia3"}, "tuning", "tuning_without_head"),
    ],
)
def test_what_cannot_be_together_is_refused_on_the_field_to_change(values, field, code):
    with pytest.raises(SpecRefused) as refused:
        check({**LEAST, **values})
    found = {fault.code: fault for fault in refused.value.faults}
    assert found[f"spec.{code}"].field == field
    for language in ("en", "zh"):
        assert "{" not in found[f"spec.{code}"].message(language)


def test_a_prefix_is_not_computed_again_to_save_memory():
    assert smaller({"tuning": "prefix_tuning", "per_device_train_batch_size": 1}) == {}
    assert smaller({"tuning": "ia3", "per_device_train_batch_size": 1}) == {"gradient_checkpointing": True}


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("all", {"model.layers.3.mlp.up_proj.weight", "model.layers.3.self_attn.o_proj.weight"}),
        ("mlp", {"model.layers.3.mlp.up_proj.weight"}),
        ("self_attn.o_proj", {"model.layers.3.self_attn.o_proj.weight"}),
        ("layers.0", {"model.layers.0.mlp.up_proj.weight"}),
        ("lm_head", {"lm_head.weight"}),
        ("norm", {"model.norm.weight"}),
        ("up", set()),
    ],
)
def test_names_mean_parts_of_the_top_layers_or_one_part_of_the_model(name, trained):
    paths = [
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.3.mlp.up_proj.weight",
        "model.layers.3.self_attn.o_proj.weight",
        "model.layers.3.input_layernorm.weight",
        "model.norm.weight",
        "lm_head.weight",
    ]
    found = {path for path in paths if is_trained(path, [name], 2)}
    assert found - {"model.layers.3.input_layernorm.weight"} == trained
    assert not is_named("model.layers.13.mlp.weight", "layers.1")


def test_attention_stands_for_the_names_that_the_model_has():
    paths = ["model.layers.*.self_attn.q_proj", "model.layers.*.self_attn.o_proj", "model.layers.*.mlp.up_proj"]
    assert spelled_out(["attention"], paths) == ["o_proj", "q_proj"]
    assert spelled_out(["up_proj", "attention", "q_proj"], paths) == ["up_proj", "q_proj", "o_proj"]
    assert spelled_out(["all-linear"], paths) == ["all-linear"]
    assert spelled_out(["attention"], ["backbone.mixer.in_proj"]) == ["attention"], "refused as a name that is missing"
