"""The tables are whole and consistent, and checking a spec finds every fault at once."""

import string

import pytest

from studio.errors import SpecRefused
from studio.messages import LANGUAGES, catalogue
from studio.params.table import METHODS, check, find_fault, groups, parameters

LEAST = {"model_name_or_path": "starter", "dataset": "support"}
EVERY = [parameter for method in METHODS for parameter in parameters(method)]


def faults_of(values):
    with pytest.raises(SpecRefused) as refused:
        check(values)
    return {(fault.field, fault.code) for fault in refused.value.faults}


@pytest.mark.parametrize("parameter", EVERY, ids=lambda parameter: parameter.name)
def test_every_row_is_whole(parameter):
    assert parameter.level in ("basic", "advanced")
    assert parameter.group in groups()
    assert parameter.target in ("trl", "peft", "model", "studio")
    assert parameter.source
    for language in LANGUAGES:
        assert parameter.label(language) and parameter.help(language)
        assert all(choice.label(language) for choice in parameter.choices)
    assert (parameter.type == "choice") == bool(parameter.choices)
    assert parameter.required or find_fault(parameter, parameter.default) is None


def test_names_are_unique():
    for method in METHODS:
        names = [parameter.name for parameter in parameters(method)]
        assert len(names) == len(set(names))


def test_applies_names_real_parameters_and_choices():
    for method in METHODS:
        table = {parameter.name: parameter for parameter in parameters(method)}
        for parameter in table.values():
            for other, allowed in parameter.applies.items():
                assert set(allowed) <= {choice.value for choice in table[other].choices}


def test_the_least_spec_becomes_complete():
    values = check(LEAST)
    assert values["method"] == "sft" and values["tuning"] == "lora"
    assert set(values) == {parameter.name for parameter in parameters("sft") if parameter.applies_to(values)}


def test_numbers_written_as_text_are_read():
    values = check({**LEAST, "learning_rate": "2e-5", "seed": "7", "packing": "false", "num_train_epochs": 2})
    assert (values["learning_rate"], values["seed"], values["packing"], values["num_train_epochs"]) == (
        2e-5,
        7,
        False,
        2.0,
    )


def test_yaml_no_means_the_word():
    assert check({**LEAST, "mixed_precision": False})["mixed_precision"] == "no"


def test_names_come_as_list_or_text():
    for given in ("q_proj, v_proj", ["q_proj", "v_proj"]):
        assert check({**LEAST, "lora_target_modules": given})["lora_target_modules"] == ["q_proj", "v_proj"]


def test_adapter_values_are_left_out_of_a_full_run():
    assert "lora_r" not in check({**LEAST, "tuning": "full"})


def test_all_faults_come_together():
    assert faults_of(
        {"learnin_rate": 1, "tuning": "full", "lora_r": 4, "seed": -1, "max_length": "x", "packing": True}
    ) == {
        ("learnin_rate", "spec.unknown_near"),
        ("model_name_or_path", "spec.missing"),
        ("dataset", "spec.missing"),
        ("lora_r", "spec.no_effect"),
        ("seed", "spec.too_small"),
        ("max_length", "spec.not_int"),
        ("packing", "spec.packing_needs_flash"),
    }


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"method": "nope"}, ("method", "spec.not_choice")),
        ({"method": ["sft"]}, ("method", "spec.not_choice")),
        ({"learning_rate": 0}, ("learning_rate", "spec.not_above")),
        ({"learning_rate": 2}, ("learning_rate", "spec.too_large")),
        ({"learning_rate": float("nan")}, ("learning_rate", "spec.not_float")),
        ({"learning_rate": True}, ("learning_rate", "spec.not_float")),
        ({"seed": 1.5}, ("seed", "spec.not_int")),
        ({"packing": "perhaps"}, ("packing", "spec.not_bool")),
        ({"dataset": {"a": 1}}, ("dataset", "spec.not_text")),
        ({"dataset": "  "}, ("dataset", "spec.missing")),
        ({"lora_target_modules": " , "}, ("lora_target_modules", "spec.not_names")),
        ({"tuning": "full", "dtype": "float16"}, ("dtype", "spec.full_in_float16")),
        ({"dtype": "bfloat16", "mixed_precision": "fp16"}, ("mixed_precision", "spec.precision_clash")),
        (
            {"lr_scheduler_type": "reduce_lr_on_plateau", "validation_split": 0},
            ("lr_scheduler_type", "spec.plateau_unwatched"),
        ),
        ({"lr_scheduler_type": "reduce_lr_on_plateau", "warmup_ratio": 0.1}, ("warmup_ratio", "spec.plateau_warms_up")),
        (
            {"lr_scheduler_type": "warmup_stable_decay", "warmup_ratio": 0.5, "decay_ratio": 0.6},
            ("decay_ratio", "spec.longer_than_the_run"),
        ),
        ({"num_cycles": 3}, ("num_cycles", "spec.no_effect")),
        ({"tuning": "full", "load_in_4bit": True}, ("load_in_4bit", "spec.four_bits")),
        ({"tuning": "full", "load_in_8bit": True}, ("load_in_8bit", "spec.no_effect")),
        ({"rouge_weight": 0.1, "packing": True}, ("rouge_weight", "spec.terms_packed")),
        ({"padding_free": True, "adversarial": "fgm"}, ("padding_free", "spec.joined_by_row")),
        ({"padding_free": True, "weight_column": "weight"}, ("padding_free", "spec.joined_by_row")),
        ({"padding_free": True, "tuning": "p_tuning"}, ("padding_free", "spec.joined_with_prompt")),
        ({"metric_for_best_model": "f1"}, ("metric_for_best_model", "spec.metric_not_told")),
        ({"optim": "muon", "loraplus_lr_ratio": 16}, ("optim", "spec.muon_with_two_rates")),
        ({"category_weights": "refund"}, ("category_weights", "spec.not_weights")),
        ({"category_weights": "refund=-1"}, ("category_weights", "spec.not_weights")),
        ({"weight_column": "weight", "packing": True}, ("weight_column", "spec.weights_packed")),
        ({"curriculum": "easy_to_hard", "packing": True}, ("curriculum", "spec.curriculum_packed")),
        ({"attn_implementation": "flash_attention_2"}, ("attn_implementation", "spec.flash_in_float32")),
        ({"method": "classify", "tuning": "freeze"}, ("tuning", "spec.tuning_without_head")),
        ({"continual": "ewc"}, ("old_dataset", "spec.old_rows_missing")),
        (
            {"continual": "replay", "old_dataset": "d", "curriculum": "easy_to_hard"},
            ("curriculum", "spec.replay_in_order"),
        ),
        (
            {"continual": "ewc", "old_dataset": "d", "init_lora_weights": "pissa"},
            ("continual", "spec.held_with_pissa"),
        ),
    ],
)
def test_one_fault(values, fault):
    assert fault in faults_of({**LEAST, **values})


def test_every_fault_has_words_that_fill_in():
    with pytest.raises(SpecRefused) as refused:
        check(
            {
                "learnin_rate": 1,
                "zz": 1,
                "tuning": "full",
                "lora_r": 4,
                "seed": -1,
                "max_length": "x",
                "learning_rate": 0,
            }
        )
    for fault in refused.value.faults:
        for language in LANGUAGES:
            assert "{" not in fault.message(language) and "errors." not in fault.message(language)


def test_words_name_the_same_values_in_both_languages():
    def names(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for key, words in catalogue("zh").items():
        if key.startswith("errors.spec."):
            assert names(words) == names(catalogue("en")[key]), key
