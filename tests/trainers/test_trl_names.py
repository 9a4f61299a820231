"""The arguments made from the parameter table are accepted by the pinned trl, peft and transformers."""

import dataclasses

import pytest

from studio.params.schedules import MUON
from studio.params.table import check, parameters
from studio.params.trl_names import lora_arguments, model_arguments, sft_arguments

LEAST = {"model_name_or_path": "starter", "dataset": "support"}


def test_sft_config_takes_every_argument(tmp_path):
    from trl import SFTConfig

    values = check({**LEAST, "warmup_ratio": 0.1, "max_steps": 20, "eval_steps": 5, "save_steps": 10})
    config = SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, **sft_arguments(values))
    assert config.get_warmup_steps(20) == 2
    assert (config.bf16, config.fp16) == (False, False)
    assert config.activation_checkpointing is config.gradient_checkpointing is True
    assert (config.eval_strategy, config.eval_steps, config.save_steps) == ("steps", 5, 10)
    for parameter in parameters("sft"):
        if parameter.target == "trl":
            assert getattr(config, parameter.name) == values[parameter.name], parameter.name


def test_without_held_out_rows_nothing_is_evaluated(tmp_path):
    from trl import SFTConfig

    arguments = sft_arguments(check({**LEAST, "validation_split": 0}))
    assert SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, **arguments).eval_strategy == "no"


@pytest.mark.parametrize(
    ("curriculum", "strategy"), [("none", "random"), ("easy_to_hard", "sequential"), ("staged", "sequential")]
)
def test_a_curriculum_is_a_sampler_that_keeps_the_order(tmp_path, curriculum, strategy):
    from trl import SFTConfig

    arguments = sft_arguments(check({**LEAST, "curriculum": curriculum}))
    config = SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, **arguments)
    assert config.train_sampling_strategy == strategy


def test_choices_are_known_to_transformers():
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    table = {parameter.name: parameter for parameter in parameters("sft")}
    for name, known in (("lr_scheduler_type", SchedulerType), ("optim", OptimizerNames)):
        assert {choice.value for choice in table[name].choices} - {MUON} <= {member.value for member in known}


@pytest.mark.parametrize("choice", ["lr_scheduler_type", "optim"])
def test_every_course_and_optimizer_makes_a_config(tmp_path, choice):
    from trl import SFTConfig

    choices = next(parameter.choices for parameter in parameters("sft") if parameter.name == choice)
    for each in choices:
        arguments = sft_arguments(check({**LEAST, choice: each.value}))
        config = SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, **arguments)
        assert config.adam_beta2 == (0.99 if "lion" in each.value else 0.999)


def test_lora_config_takes_every_argument():
    from peft import LoraConfig

    config = LoraConfig(**lora_arguments(check({**LEAST, "lora_r": 4, "lora_target_modules": "q_proj,v_proj"})))
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 16, 0.05)
    assert set(config.target_modules) == {"q_proj", "v_proj"}
    assert LoraConfig(**lora_arguments(check(LEAST))).target_modules == "all-linear"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bits_and_bytes_config_takes_every_argument(dtype):
    import torch

    from trainers.tuning import quantised

    assert quantised.config(check({**LEAST, "tuning": "qlora", "load_in_8bit": True})).load_in_8bit
    config = quantised.config(check({**LEAST, "tuning": "qlora", "dtype": dtype}))
    assert config.load_in_4bit and config.bnb_4bit_quant_type == "nf4" and config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_compute_dtype == getattr(torch, dtype)


def test_every_peft_row_is_a_field_or_translated():
    from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig

    given = set(lora_arguments(check(LEAST)))
    assert given <= {field.name for field in dataclasses.fields(LoraConfig)}
    kinds = (PrefixTuningConfig, PromptEncoderConfig)
    of_prompts = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    rows = [parameter.name for parameter in parameters("sft") if parameter.target == "peft"]
    assert all(name in given or name.removeprefix("lora_") in given or name in of_prompts for name in rows)


def test_model_arguments_name_the_dtype():
    assert model_arguments(check(LEAST)) == {"dtype": "float32", "attn_implementation": "sdpa"}
