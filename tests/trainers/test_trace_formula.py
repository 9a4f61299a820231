"""Layers followed through their source against layers traced with fake tensors: no number is shared between the two."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from studio.memory.activations import Layers
from studio.memory.followed import Formula
from studio.memory.inventory import Inventory, from_figures
from studio.memory.layers import Mode, Profile
from studio.memory.stack import installed_stack
from studio.memory.survey import followed_of
from studio.memory.traced import Traced
from studio.memory.ways import mode_of
from tests.trainers.test_trace import COMMON
from trainers.inspect import figures_of
from trainers.survey import config_of
from trainers.tracing.trace import trace

pytestmark = [pytest.mark.filterwarnings(f"ignore::{name}") for name in ("FutureWarning", "UserWarning")]

WIDTHS = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
}
FOLLOWED = ("llama", "mistral", "qwen2", "qwen3", "granite", "smollm3")
"""Families whose layers the formula claims to know."""
WAYS = [
    (tuning, recomputes, dtype, precision, attention)
    for tuning in ("lora", "full", "prompt_tuning")
    for recomputes in (True, False)
    for dtype, precision in (("bfloat16", "no"), ("bfloat16", "bf16"), ("float32", "bf16"))
    for attention in ("flash_attention_2", "sdpa", "eager")
]
USUAL = [("lora", True, "bfloat16", "bf16", "sdpa"), ("full", True, "bfloat16", "no", "flash_attention_2")]
LAYERS, BATCH, ROW = 32, 4, 2048
OTHERS: dict[str, dict[str, Any]] = {
    "dora": {"use_dora": True},
    "dora without dropout": {"use_dora": True, "lora_dropout": 0.0},
    "ia3": {"tuning": "ia3"},
    "ln_tuning": {"tuning": "ln_tuning"},
    "bottleneck": {"tuning": "bottleneck", "bottleneck_size": 64},
    "prompt_tuning": {"tuning": "prompt_tuning", "num_virtual_tokens": 16},
    "p_tuning": {"tuning": "p_tuning", "num_virtual_tokens": 16},
    "prefix_tuning": {"tuning": "prefix_tuning", "num_virtual_tokens": 16, "gradient_checkpointing": False},
}
"""Each with a trace of its own."""


@cache
def inventory_of(family: str) -> Inventory:
    config = config_of({"model_type": family, **COMMON, **WIDTHS})
    return replace(from_figures(figures_of(config)), family=family)


def cases() -> list[Any]:
    every = [(family, way) for family in FOLLOWED for way in WAYS]
    return [
        case if case[0] == "llama" and case[1] in USUAL else pytest.param(*case, marks=pytest.mark.slow)
        for case in every
    ]


def values_of(way: tuple[Any, ...]) -> dict[str, Any]:
    names = ("tuning", "gradient_checkpointing", "dtype", "mixed_precision", "attn_implementation")
    adapters = {"lora_target_modules": ["all-linear"], "lora_r": 8, "lora_dropout": 0.05}
    return dict(zip(names, way, strict=True)) | adapters


def traced(family: str, values: dict[str, Any]) -> Traced:
    mode = mode_of(values, stack=installed_stack())
    if values["tuning"] == "prompt_tuning":  # of which the layers know nothing
        mode = mode_of(values | {"tuning": "lora"}, stack=installed_stack())
        mode = mode and replace(mode, lora_target_modules=(), lora_r=0, has_dropout=False, adapter_dtype="float32")
    assert mode is not None
    pair: tuple[Mode, Profile] = (mode, trace(config_of({"model_type": family, **COMMON, **WIDTHS}), mode))
    return Traced(inventory_of(family), values, pair, pair, share=1.0)


def phases(layers: Layers) -> dict[str, float]:
    kept, below = layers.kept(BATCH, ROW), layers.below(BATCH, ROW)
    return {
        "all kept": LAYERS * kept + below + layers.above(BATCH, ROW),
        "forward": (LAYERS - 1) * kept + below + layers.forward(BATCH, ROW),
        "backward": (LAYERS - 1) * (kept - layers.cached) + below + layers.backward(BATCH, ROW),
        "no_grad": layers.no_grad(BATCH, ROW),
    }


@pytest.mark.parametrize(("family", "way"), cases())
def test_the_source_tells_what_a_trace_tells(family: str, way: tuple[Any, ...]) -> None:
    values = values_of(way)
    wanted = phases(traced(family, values))
    found = phases(Formula(inventory_of(family), values, installed_stack()))
    for name in ("all kept", "forward", "backward"):
        assert found[name] == pytest.approx(wanted[name], rel=0.01), name
    assert found["no_grad"] == pytest.approx(wanted["no_grad"], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "precision"), [("bfloat16", "bf16"), ("float32", "no")])
@pytest.mark.parametrize("recomputes", [True, False], ids=["recomputed", "kept"])
@pytest.mark.parametrize("tuning", OTHERS)
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "granite"])
def test_the_source_tells_what_a_trace_of_another_tuning_tells(
    family: str, tuning: str, recomputes: bool, dtype: str, precision: str
) -> None:
    values = values_of(("lora", recomputes, dtype, precision, "sdpa")) | OTHERS[tuning]
    mode = mode_of(values, stack=installed_stack())
    assert mode is not None
    pair = (mode, trace(config_of({"model_type": family, **COMMON, **WIDTHS}), mode))
    wanted = phases(Traced(inventory_of(family), values, pair, pair, share=1.0, has_beside=True))
    found = phases(Formula(inventory_of(family), values, installed_stack()))
    for name in ("all kept", "forward", "backward"):
        assert found[name] == pytest.approx(wanted[name], rel=0.01), name
    assert found["no_grad"] == pytest.approx(wanted["no_grad"], rel=0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {"model_type": "qwen2"},
        {"model_type": "qwen3", "attention_bias": True},
        {"model_type": "mistral", "head_dim": 32},
    ],
    ids=lambda changes: changes["model_type"],
)
def test_a_config_alone_tells_biases_and_norms_of_heads(changes: dict[str, Any]) -> None:
    config = {**COMMON, **WIDTHS, **changes}
    built, told = from_figures(figures_of(config_of(config))), followed_of(config)
    assert told is not None and told.has_head == built.has_head
    assert {(m.name, m.shape, m.count) for m in told.modules} == {(m.name, m.shape, m.count) for m in built.modules}
