"""What an estimate says of each method against real training steps of trl: tiny random models, bytes counted.

The whole arithmetic is held against what the tracker saw: layers by trace, heads and losses by closed form, optimizer.
Weights are left out on both sides; every part of a step is compared on its own.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from studio.hardware import Machine
from studio.memory.estimate import Estimate, Shapes, estimate
from studio.memory.inventory import Inventory, from_figures
from studio.memory.layers import Mode
from studio.memory.methods import METHODS
from studio.memory.stack import installed_stack
from studio.memory.ways import mode_of
from tests.trainers.steps import BOTTLENECK, PROMPT, VOCABULARY, WRITES, WRITTEN, Seen, batch_size, watched
from tests.trainers.test_trace import COMMON, EXPERTS, FAMILIES, profiles_of
from trainers.inspect import figures_of
from trainers.tracing.trace import trace

# What trl, peft and transformers say of one another.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{name}") for name in ("FutureWarning", "UserWarning", "RuntimeWarning")
]

TRIED = [name for name in METHODS if name != "pretrain"]
"""pretrain is sft on other rows."""
CHEAP = {("llama", "dpo", "lora"), ("qwen3", "dpo", "full"), ("llama", "reward", "lora"), ("llama", "orpo", "lora")}
WITHOUT_CLASSES = ("olmoe",)
"""transformers has no model of these families that scores a whole row."""
CPU = Machine(cpu_count=2, ram_bytes=2**34, ram_free_bytes=2**34)
NOT_SEEN = ("weights", "adapter", "process", "reference_model", "critic")
EIGHT = [family for family in FAMILIES if family not in ("granite", "gpt2", "opt")]


def config_of(family: str) -> Any:
    return AutoConfig.for_model(family, **COMMON | (FAMILIES | EXPERTS)[family] | {"vocab_size": VOCABULARY})


@cache
def inventory_of(family: str, mode: Mode | None, way: str) -> Inventory:
    """traced: with a trace of this way of training; plain: of a layer without adapters and with LoRA, for what is added
    by formula; untraced: with none at all."""
    config, plain = config_of(family), {"tuning": "lora", "checkpointing": True, "has_dropout": False}
    profiles = profiles_of(config, **plain) if way == "plain" else []
    if way == "traced" and mode:
        profiles = [{"mode": mode.document(), "sizes": trace(config, mode).document()}]
    found = from_figures(figures_of(config) | {"profiles": profiles})
    return replace(found, family=family)


def predicted(
    family: str, method: str, tuning: str, *, row_tokens: int, way: str = "traced", **settings: Any
) -> Estimate:
    values = {
        "tuning": tuning,
        "dtype": "float32",
        "mixed_precision": "no",
        "attn_implementation": "sdpa",
        "gradient_checkpointing": True,
        "lora_target_modules": ["all-linear"],
        "lora_r": 8,
        "lora_dropout": 0.0,
        "optim": "adamw_torch_fused",
        "per_device_train_batch_size": batch_size(method),
        "per_device_eval_batch_size": batch_size(method),
        "validation_split": 0.1,
        "gradient_accumulation_steps": 1,
        "max_completion_length": WRITTEN,
    } | settings
    shapes = Shapes(PROMPT if method in WRITES else row_tokens)
    mode = mode_of(values, stack=installed_stack(), device="cpu") if way == "traced" else None
    return estimate(inventory_of(family, mode, way), values, shapes=shapes, machine=CPU, method=method)


def counted(found: Estimate, phase: str) -> int:
    return sum(size for part, size in found.phases.get(phase, {}).items() if part not in NOT_SEEN)


def assert_alike(found: Estimate, seen: Seen) -> None:
    assert counted(found, "forward_and_loss") == pytest.approx(seen.loss, rel=0.01)
    assert counted(found, "layer_backward") == pytest.approx(seen.backward, rel=0.01)
    assert counted(found, "optimizer_step") == pytest.approx(seen.step, rel=0.01)


def cases() -> list[Any]:
    families = (*EIGHT, *EXPERTS)
    every = [(family, method, tuning) for family in families for method in TRIED for tuning in ("lora", "full")]
    can = [case for case in every if METHODS[case[1]].has_head or case[0] not in WITHOUT_CLASSES]
    return [case if case in CHEAP else pytest.param(*case, marks=pytest.mark.slow) for case in can]


@pytest.mark.parametrize(("family", "method", "tuning"), cases())
def test_a_real_step_needs_what_was_estimated(family: str, method: str, tuning: str, tmp_path: Path) -> None:
    seen = watched(method, config_of(family), tmp_path, tuning=tuning, evaluates=method not in WRITES)
    found = predicted(family, method, tuning, row_tokens=seen.row_tokens)
    assert_alike(found, seen)
    if method not in WRITES:
        assert counted(found, "evaluation") == pytest.approx(seen.evaluation, rel=0.01)
    else:
        before = max(counted(found, "generation"), counted(found, "reference_pass"))
        assert before == pytest.approx(seen.before, rel=0.01)


@pytest.mark.parametrize("way", ["traced", "untraced"])
@pytest.mark.parametrize("method", ["sft", pytest.param("dpo", marks=pytest.mark.slow)])
def test_a_real_step_on_four_bits_needs_what_was_estimated(method: str, way: str, seen_in_4bit: Any) -> None:
    seen = seen_in_4bit(method)
    found = predicted("llama", method, "qlora", row_tokens=seen.row_tokens, way=way)
    assert_alike(found, seen)
    assert counted(found, "evaluation") == pytest.approx(seen.evaluation, rel=0.01)


@pytest.fixture(scope="module", name="seen_in_4bit")
def fixture_seen_in_4bit(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real step with weights of NF4 and LoRA on them, once: bitsandbytes works on a CPU too."""

    @cache
    def seen(method: str) -> Seen:
        return watched(method, config_of("llama"), tmp_path_factory.mktemp(method), tuning="qlora", evaluates=True)

    return seen


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_critic_on_a_model_of_its_own_needs_what_was_estimated(tuning: str, tmp_path: Path) -> None:
    seen = watched("ppo", config_of("llama"), tmp_path, tuning=tuning, has_value_model=True)
    found = predicted("llama", "ppo", tuning, row_tokens=seen.row_tokens, value_model=True)
    assert counted(found, "forward_and_loss") == pytest.approx(seen.loss, rel=0.01)
    assert counted(found, "layer_backward") == pytest.approx(seen.backward, rel=0.03)
    assert counted(found, "optimizer_step") == pytest.approx(seen.step, rel=0.01)
    assert counted(found, "reference_pass") == pytest.approx(seen.before, rel=0.01)


TUNINGS: dict[str, tuple[dict[str, Any], float]] = {
    "freeze": ({"freeze_trainable_layers": 2}, 0.02),
    "dora": ({"use_dora": True}, 0.05),
    "bottleneck": ({"bottleneck_size": BOTTLENECK}, 0.01),
    "ia3": ({}, 0.01),
    "ln_tuning": ({}, 0.01),
    "prompt_tuning": ({"num_virtual_tokens": 12}, 0.04),
    "p_tuning": ({"num_virtual_tokens": 12, "encoder_hidden_size": 40}, 0.04),
    # Recomputing keeps no prefix: transformers drops the cache that it comes in.
    "prefix_tuning": ({"num_virtual_tokens": 12, "gradient_checkpointing": False}, 0.06),
}
"""What is set, and how far the layer's backward may be off where it is a closed form on a trace without adapters."""


@pytest.fixture(scope="module", name="seen_tuned")
def fixture_seen_tuned(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real step of each tuning, once."""

    @cache
    def seen(tuning: str) -> Seen:
        recomputes = TUNINGS[tuning][0].get("gradient_checkpointing", True)
        folder = tmp_path_factory.mktemp(tuning)
        return watched("sft", config_of("llama"), folder, tuning=tuning, gradient_checkpointing=recomputes)

    return seen


def predicted_tuned(tuning: str, seen: Seen, way: str) -> Estimate:
    named = "lora" if tuning == "dora" else tuning
    settings, _ = TUNINGS[tuning]
    return predicted("llama", "sft", named, row_tokens=seen.row_tokens, way=way, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("tuning", TUNINGS)
def test_a_real_step_of_another_tuning_needs_what_was_traced(tuning: str, seen_tuned: Any) -> None:
    seen = seen_tuned(tuning)
    found = predicted_tuned(tuning, seen, "traced")
    assert_alike(found, seen)
    assert "tuning_by_formula" not in found.notes


@pytest.mark.slow
@pytest.mark.parametrize("tuning", TUNINGS)
def test_a_real_step_of_another_tuning_is_near_its_formula(tuning: str, seen_tuned: Any) -> None:
    seen = seen_tuned(tuning)
    found = predicted_tuned(tuning, seen, "plain")
    assert counted(found, "forward_and_loss") == pytest.approx(seen.loss, rel=0.01)
    assert counted(found, "layer_backward") == pytest.approx(seen.backward, rel=TUNINGS[tuning][1])
    assert counted(found, "optimizer_step") == pytest.approx(seen.step, rel=0.01)
    assert tuning == "freeze" or "tuning_by_formula" in found.notes
