"""Checked values of a parameter table as keyword arguments of trl's, peft's and transformers' own classes.

A parameter with target `trl` or `model` passes under its own name; what is translated stands in a function each.
Nothing here imports those libraries (dtypes are their names); `tests/trainers/test_trl_names.py` compares the result
with the real classes.
"""

from collections.abc import Mapping
from typing import Any

from studio.params.curriculum import follows_difficulty
from studio.params.schedules import optimizer_arguments, schedule_arguments
from studio.params.table import parameters

_OF_TRL = frozenset({"max_length", "packing"})
PISSA = "pissa"
"""A value of `init_lora_weights`."""


def sft_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `trl.SFTConfig`; output_dir, report_to and the device are the trainer's to add."""
    return {
        **_same_names(values, "trl"),
        # transformers 5 has no warmup_ratio: warmup_steps below 1 is a share of all steps.
        "warmup_steps": values["warmup_ratio"],
        **schedule_arguments(values),
        **optimizer_arguments(values),
        # None is off. Specs may be older than this.
        "neftune_noise_alpha": values.get("neftune_noise_alpha") or None,
        # transformers 5.23 renames gradient_checkpointing and warns at the old name.
        "activation_checkpointing": values["gradient_checkpointing"],
        # Both explicit: trl turns bf16 on where it is left out, on a CPU too.
        "bf16": values["mixed_precision"] == "bf16",
        "fp16": values["mixed_precision"] == "fp16",
        # The rows are handed over in the order of the curriculum.
        "train_sampling_strategy": "sequential" if follows_difficulty(values) else "random",
        **_evaluation_arguments(values),
        "save_strategy": "steps",
        # Which checkpoints stay and which is best is the studio's business (docs/design.md, section 2).
        "save_total_limit": None,
        "load_best_model_at_end": False,
    }


def plain_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `transformers.TrainingArguments`: those of trl without its own."""
    return {name: value for name, value in sft_arguments(values).items() if name not in _OF_TRL}


def lora_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `peft.LoraConfig`."""
    names = values["lora_target_modules"]
    return {
        "r": values["lora_r"],
        "lora_alpha": values["lora_alpha"],
        # Methods that learn preferences switch every dropout off.
        "lora_dropout": values.get("lora_dropout", 0.0),
        "target_modules": "all-linear" if names == ["all-linear"] else list(names),
        # Specs older than these do not name them.
        "use_rslora": values.get("use_rslora", False),
        "use_dora": values.get("use_dora", False),
        # The quick decomposition of the PiSSA paper: a full one takes a large model minutes.
        "init_lora_weights": "pissa_niter_16" if values.get("init_lora_weights") == PISSA else True,
        "bias": "none",
        "task_type": "CAUSAL_LM",
    }


def model_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `from_pretrained`; dtype is always explicit."""
    return _same_names(values, "model")


def _same_names(values: Mapping[str, Any], target: str) -> dict[str, Any]:
    return {p.name: values[p.name] for p in parameters(values["method"]) if p.target == target and p.name in values}


def _evaluation_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    if values["validation_split"] == 0:
        return {"eval_strategy": "no"}
    return {"eval_strategy": "steps", "eval_steps": values["eval_steps"]}
