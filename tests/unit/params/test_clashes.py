"""Values that cannot both hold: each clash names the two settings of the form, and one of them is to be changed."""

import re

import pytest

from studio.errors import SpecRefused
from studio.messages import LANGUAGES
from studio.params.clashes import RULES
from studio.params.table import check, every_parameter

LEAST = {"model_name_or_path": "starter", "dataset": "support"}
PLATEAU = {"lr_scheduler_type": "reduce_lr_on_plateau"}
ONE_ANSWER = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
REWARDED = {"method": "grpo", "rewards": [{"name": "length", "min": 1, "max": 9}]}

CASES = [
    ("packing_needs_flash", {"packing": True}, ("packing", "attn_implementation")),
    ("curriculum_packed", {"packing": True, "curriculum": "staged"}, ("packing", "curriculum")),
    ("weights_packed", {"packing": True, "class_weights": "balanced"}, ("packing", "class_weights")),
    ("weights_packed", {"packing": True, "weight_column": "weight"}, ("packing", "weight_column")),
    ("terms_packed", {"packing": True, "rouge_weight": 0.1}, ("packing", "rouge_weight")),
    ("joined_by_row", {"padding_free": True, "adversarial": "fgm"}, ("padding_free", "adversarial")),
    ("joined_with_prompt", {"padding_free": True, "tuning": "p_tuning"}, ("padding_free", "tuning")),
    ("plateau_unwatched", {**PLATEAU, "validation_split": 0}, ("lr_scheduler_type", "validation_split")),
    ("plateau_warms_up", {**PLATEAU, "warmup_ratio": 0.1}, ("warmup_ratio", "lr_scheduler_type")),
    (
        "longer_than_the_run",
        {"lr_scheduler_type": "warmup_stable_decay", "warmup_ratio": 0.5, "decay_ratio": 0.6},
        ("warmup_ratio", "decay_ratio"),
    ),
    ("muon_with_two_rates", {"optim": "muon", "loraplus_lr_ratio": 16}, ("optim", "loraplus_lr_ratio")),
    ("metric_not_told", {"metric_for_best_model": "f1"}, ("metric_for_best_model", "method")),
    ("full_in_float16", {"tuning": "full", "dtype": "float16"}, ("tuning", "dtype")),
    ("full_in_float16", {"tuning": "freeze", "dtype": "float16"}, ("tuning", "dtype")),
    ("precision_clash", {"dtype": "bfloat16", "mixed_precision": "fp16"}, ("dtype", "mixed_precision")),
    ("flash_in_float32", {"attn_implementation": "flash_attention_2"}, ("attn_implementation", "dtype")),
    (
        "generations_divide",
        {**REWARDED, "num_generations": 5, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        ("num_generations", "per_device_train_batch_size"),
    ),
    (
        "generations_alone",
        {**REWARDED, **ONE_ANSWER, "num_generations": 8},
        ("gradient_accumulation_steps", "num_generations"),
    ),
    ("beta_zero", {"method": "dpo", "beta": 0}, ("beta", "method")),
    ("kto_alone", {"method": "kto", "per_device_train_batch_size": 1}, ("per_device_train_batch_size", "loss_type")),
    ("pissa_with_dora", {"init_lora_weights": "pissa", "use_dora": True}, ("init_lora_weights", "use_dora")),
    ("prompt_packed", {"packing": True, "tuning": "prompt_tuning"}, ("packing", "tuning")),
    (
        "prefix_recomputed",
        {"tuning": "prefix_tuning", "gradient_checkpointing": True},
        ("gradient_checkpointing", "tuning"),
    ),
    ("tuning_without_head", {"method": "classify", "tuning": "ia3"}, ("tuning", "method")),
    ("tuning_without_head", {"method": "reward", "tuning": "bottleneck"}, ("tuning", "method")),
    ("tuning_beside_reference", {"method": "dpo", "tuning": "prompt_tuning"}, ("tuning", "method")),
    ("pissa_beside_reference", {"method": "dpo", "init_lora_weights": "pissa"}, ("init_lora_weights", "method")),
    ("old_rows_missing", {"continual": "ewc"}, ("old_dataset", "continual")),
    ("old_rows_missing", {**REWARDED, "general_rows": "both"}, ("old_dataset", "general_rows")),
    (
        "replay_in_order",
        {"continual": "replay", "old_dataset": "d", "curriculum": "easy_to_hard"},
        ("continual", "curriculum"),
    ),
    (
        "held_with_pissa",
        {"continual": "si", "init_lora_weights": "pissa"},
        ("continual", "init_lora_weights"),
    ),
]
ALONE = {"not_weights"}
"""One setting that is unreadable by itself."""


def test_every_clash_has_a_case():
    told = {code for rule in RULES for code in rule.__code__.co_consts if str(code).startswith("spec.")}
    assert {f"spec.{code}" for code in {code for code, *_ in CASES} | ALONE} == told


@pytest.mark.parametrize(("code", "values", "settings"), CASES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_clash_names_both_settings_and_sits_on_the_one_to_change(code, values, settings):
    with pytest.raises(SpecRefused) as refused:
        check({**LEAST, **values})
    (fault,) = (fault for fault in refused.value.faults if fault.code == f"spec.{code}")
    assert fault.field in settings and set(settings) <= set(every_parameter())
    for language in LANGUAGES:
        words = fault.message(language)
        assert "{" not in words
        for setting in settings:
            assert re.search(rf"\b{setting}\b", words, re.ASCII), (language, setting, words)
