"""What the ways of tuning train, against peft's own models; and what they keep, against real steps of trl."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from studio.memory.adapters import trained
from studio.memory.inventory import from_figures
from studio.memory.stack import installed_stack
from tests.trainers.steps import adapter_of
from tests.trainers.test_trace import COMMON, EXPERTS, FAMILIES
from trainers.inspect import figures_of

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{name}") for name in ("FutureWarning", "UserWarning", "RuntimeWarning")
]

ON_LAYERS = {"lora_r": 8, "lora_target_modules": ["all-linear"]}
SETTINGS: dict[str, dict[str, Any]] = {
    "lora": ON_LAYERS,
    "dora": {"tuning": "lora", "use_dora": True} | ON_LAYERS,
    "prefix_tuning": {"num_virtual_tokens": 12},
    "prompt_tuning": {"num_virtual_tokens": 12},
    "p_tuning": {"num_virtual_tokens": 12, "encoder_hidden_size": 40},
    "ia3": {},
    "ln_tuning": {},
}


def counts(family: str, tuning: str) -> tuple[int, int]:
    """Trained weights: as counted from the shapes, and as peft makes them."""
    from peft import get_peft_model

    config = AutoConfig.for_model(family, **COMMON | (FAMILIES | EXPERTS)[family])
    # What peft was asked by the inspection would answer the question itself.
    inventory = replace(from_figures(figures_of(config)), adapters={})
    values = {"tuning": tuning, "dtype": "float32"} | SETTINGS[tuning]
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(config), adapter_of(tuning))
    real = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return trained(inventory, values, installed_stack()).parameters, real


@pytest.mark.parametrize("tuning", SETTINGS)
def test_every_tuning_of_a_plain_model_trains_as_many_weights_as_peft_makes(tuning: str) -> None:
    counted, real = counts("llama", tuning)
    assert counted == real


@pytest.mark.parametrize("family", [*(name for name in FAMILIES if name != "llama"), *EXPERTS])
def test_lora_trains_as_many_weights_as_peft_makes_experts_included(family: str) -> None:
    counted, real = counts(family, "lora")
    assert counted == real
