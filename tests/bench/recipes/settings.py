"""What is compared: the form's own filling, the presets, and fillings with one thing changed.

    RECIPES["rate-1e-3"]                     -> {"learning_rate": 1e-3}
    resolved("rate-1e-3", facts, seed=1)     -> every value of the parameter table, as the studio would queue it
    key(values)                              -> "3f0c9a71be22": what of them changes the learning

A recipe says only what a person would say on the page; the studio fills in the rest. Two recipes that come to the same
values share their results. Order is importance: the first are compared first.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from studio.advisor.complete import complete, with_preset
from studio.advisor.facts import Facts, facts_from
from studio.hardware import Machine
from studio.params.table import parameters

GIB = 2**30
MACHINE = Machine(cpu_count=2, ram_bytes=24 * GIB, ram_free_bytes=16 * GIB, gpus=())
"""What the form is told of the machine, the same everywhere: results do not depend on who runs the bench."""

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
DEFAULT = "default"
RECIPES: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {},
    "epochs-2.5": {"num_train_epochs": 2.5},
    "rate-5e-4": {"learning_rate": 5e-4},
    "rate-2e-3": {"learning_rate": 2e-3},
    "rank-32": {"lora_r": 32},
    "lora-standard": {"preset": "lora-standard"},
    "small-sft": {"preset": "small-sft"},
    "attention": {"lora_target_modules": ATTENTION},
    "rate-5e-4-epochs-2.5": {"learning_rate": 5e-4, "num_train_epochs": 2.5},
    "rate-2e-3-epochs-2.5": {"learning_rate": 2e-3, "num_train_epochs": 2.5},
    "rank-32-epochs-2.5": {"lora_r": 32, "num_train_epochs": 2.5},
    "7b": {"preset": "7b"},
    "medium-sft": {"preset": "medium-sft"},
    "13b": {"preset": "13b"},
    "70b": {"preset": "70b"},
    "batch-4": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1},
    "batch-16": {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1},
    "rate-1e-3": {"learning_rate": 1e-3},
    "rate-2e-4": {"learning_rate": 2e-4},
}

OUTSIDE = ("model_name_or_path", "dataset", "run_name", "goal", "intention", "seed", "padding_free")
"""Not part of a recipe: names, and what changes nothing in what is learned."""
MEASURED_ELSEWHERE = {"validation_split": 0.0}
"""The bench holds out rows of its own; a run trains on all that it is given."""
WATCHING = (
    "save_steps",
    "save_total_limit",
    "retry_smaller",
    "eval_steps",
    "logging_steps",
    "per_device_eval_batch_size",
    "early_stopping_patience",
)
"""Values that change no weight where nothing is validated."""
KEYED = frozenset(
    [
        "method",
        "tuning",
        "num_train_epochs",
        "max_steps",
        "learning_rate",
        "lr_scheduler_type",
        "warmup_ratio",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "curriculum",
        "class_weights",
        "max_length",
        "packing",
        "lora_r",
        "lora_alpha",
        "lora_dropout",
        "lora_target_modules",
        "weight_decay",
        "max_grad_norm",
        "optim",
        "gradient_checkpointing",
        "dtype",
        "mixed_precision",
        "attn_implementation",
        "validation_split",
    ]
)
"""Parameters of the first results: a result is known by their values."""


def facts_of(inspection: Mapping[str, Any], rows: int) -> Facts:
    return facts_from(inspection, machine=MACHINE, rows=rows)


def resolved(recipe: str, facts: Facts, *, seed: int) -> dict[str, Any]:
    """The whole values of a run, as `studio.advisor.complete` fills them in around what the recipe says."""
    named = {"model_name_or_path": "starter", "dataset": "task", "seed": seed, **MEASURED_ELSEWHERE}
    values, _ = complete(with_preset(named | RECIPES[recipe], facts), facts)
    return values


def key(values: Mapping[str, Any]) -> str:
    """Names what of the values changes the learning; a parameter that the studio gets later counts once it is used."""
    table = {parameter.name: parameter for parameter in parameters(values["method"])}
    kept = {
        name: value
        for name, value in values.items()
        if name in KEYED or (name not in (*OUTSIDE, *WATCHING) and value != table[name].default)
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def differing(values: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """What of `values` is not as in `default`."""
    names = [name for name in values if name not in (*OUTSIDE, *WATCHING)]
    return {name: values[name] for name in names if values[name] != default.get(name)}
