"""Traced layers against real training steps: tiny random models of many families, trl's own trainer, bytes counted.

The same counter watches real tensors here and fake ones in a trace; what stands between them is the arithmetic of
`studio.memory`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from studio.memory.activations import layers_of
from studio.memory.inventory import from_figures
from studio.memory.layers import Mode
from studio.memory.stack import installed_stack
from trainers.inspect import figures_of
from trainers.tracing.storages import Storages
from trainers.tracing.trace import trace, usual_profiles

# What trl, peft and transformers say of one another.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{name}") for name in ("FutureWarning", "UserWarning", "RuntimeWarning")
]

BATCH, ROW, LAYERS = 2, 256, 4
COMMON = {"vocab_size": 49152 // 24, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {
    "hidden_size": 128,
    "intermediate_size": 344,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "mistral": LLAMA | {"head_dim": 32},
    "qwen2": LLAMA,
    "qwen3": LLAMA | {"head_dim": 48},
    "gemma3_text": LLAMA | {"head_dim": 32},
    "phi3": LLAMA,
    "olmo2": LLAMA,
    "granite": LLAMA,
    "gpt_neox": LLAMA | {"num_key_value_heads": None},
    "opt": LLAMA | {"ffn_dim": 512, "word_embed_proj_dim": 128, "dropout": 0.0},
    "gpt2": {"n_embd": 128, "n_layer": LAYERS, "n_head": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}
EXPERTS: dict[str, dict[str, Any]] = {
    "mixtral": LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "olmoe": LLAMA | {"num_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": LLAMA | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "head_dim": 32},
}
"""Experts of a layer are one weight together; peft has no dropout on those, and trl a second loss for them."""


@dataclass
class Seen:
    """Bytes during the last step: after the forward pass of the last layer, and the most of all layers' backward."""

    kept: int = 0
    backward: int = 0


def watched_steps(config: Any, starter: Path, folder: Path, *, tuning: str, checkpointing: bool) -> tuple[Seen, Any]:
    """Three real steps of trl's trainer; its optimizer states stand when the last one is looked at."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    seen, storages = Seen(), Storages()

    class Watched(SFTTrainer):
        def training_step(self, *given: Any, **named: Any) -> Any:
            loss = super().training_step(*given, **named)
            seen.backward = max(storages.moments)
            return loss

    class Forget(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            storages.moments = []

    def after_last_layer(module: Any, given: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if not hidden.requires_grad:
            return
        seen.kept = storages.alive
        hidden.register_hook(lambda grad: storages.moments.clear())

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    # Two lengths, so that rows are padded and masked, as mostly.
    rows = [{"input_ids": [5] * size, "labels": [5] * size} for size in (ROW, ROW - 56) * 3]
    trainer = Watched(
        model=model,
        args=SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=BATCH,
            max_length=ROW,
            max_steps=3,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            train_sampling_strategy="sequential",
            activation_checkpointing=checkpointing,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(starter),
        peft_config=None
        if tuning == "full"
        else LoraConfig(
            r=8,
            lora_dropout=0.0 if config.model_type in EXPERTS else 0.05,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[Forget()],
    )
    lists = [each for each in trainer.model.modules() if isinstance(each, torch.nn.ModuleList)]
    next(each for each in lists if len(each) == LAYERS)[-1].register_forward_hook(after_last_layer)
    storages.ignore([*trainer.model.parameters(), *trainer.model.buffers()])
    with storages:
        trainer.train()
    return seen, trainer.model


def profiles_of(config: Any, *, tuning: str, checkpointing: bool, has_dropout: bool = True) -> list[dict[str, Any]]:
    """The traces that stand for a run: with all weights, or without and with adapters on every linear layer."""
    usual = {
        "dtype": "float32",
        "mixed_precision": "no",
        "attn_implementation": "sdpa",
        "gradient_checkpointing": checkpointing,
        "is_on_gpu": False,
    }
    adapted = {"lora_target_modules": ("all-linear",), "lora_r": 8, "has_dropout": has_dropout}
    ways = [{"is_full": True}] if tuning == "full" else [{"is_full": False}, {"is_full": False} | adapted]
    modes = [Mode(**usual, **way) for way in ways]
    return [{"mode": mode.document(), "sizes": trace(config, mode).document()} for mode in modes]


def config_of(family: str) -> Any:
    return AutoConfig.for_model(family, **COMMON | (FAMILIES | EXPERTS)[family])


@pytest.mark.parametrize(
    "checkpointing", [pytest.param(False, id="kept", marks=pytest.mark.slow), pytest.param(True, id="recomputed")]
)
@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize(
    "family",
    [
        family if family in ("llama", "qwen3_moe") else pytest.param(family, marks=pytest.mark.slow)
        for family in (*FAMILIES, *EXPERTS)
    ],
)
def test_a_real_step_needs_what_was_traced(
    family: str, tuning: str, checkpointing: bool, starter: Path, tmp_path: Path
) -> None:
    config = config_of(family)
    seen, model = watched_steps(config, starter, tmp_path, tuning=tuning, checkpointing=checkpointing)
    profiles = profiles_of(config, tuning=tuning, checkpointing=checkpointing, has_dropout=family not in EXPERTS)
    inventory = from_figures(figures_of(config) | {"profiles": profiles})
    values = {
        "tuning": tuning,
        "dtype": "float32",
        "mixed_precision": "no",
        "attn_implementation": "sdpa",
        "gradient_checkpointing": checkpointing,
        "lora_target_modules": ["all-linear"],
    }
    layers = layers_of(inventory, values, stack=installed_stack(), device="cpu")
    assert layers.is_traced
    trained = {name: weight.nbytes for name, weight in model.named_parameters() if weight.requires_grad}
    in_layers = sum(size for name, size in trained.items() if any(part.isdigit() for part in name.split(".")))
    resting = 2 * sum(trained.values()) + 3 * 8 * BATCH * ROW
    # What a router gave is kept until the loss that balances experts has read it.
    scores = 4 * BATCH * ROW * inventory.num_experts if inventory.balances_experts else 0
    below, kept = layers.below(BATCH, ROW), layers.kept(BATCH, ROW) + scores
    assert resting + below + LAYERS * kept == pytest.approx(seen.kept, rel=0.01)
    around = sum(trained.values()) - in_layers
    embedding = (
        0 if tuning == "lora" or inventory.has_head is False else inventory.vocab_size * inventory.hidden_size * 4
    )
    last = resting + around - embedding + below + (LAYERS - 1) * kept
    first = resting + around - embedding + in_layers * (LAYERS - 1) / LAYERS + below
    assert max(last, first) + layers.backward(BATCH, ROW) == pytest.approx(seen.backward, rel=0.01)


@pytest.mark.slow
def test_the_usual_ways_on_a_gpu_are_traced_without_one_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_TRACES", str(tmp_path / "traces"))
    config = config_of("llama")
    profiles = usual_profiles(config)
    assert len(profiles) == len(list((tmp_path / "traces").iterdir())) == 10
    assert usual_profiles(config) == profiles
    inventory = from_figures(figures_of(config) | {"profiles": profiles})
    layers = {
        way: layers_of(inventory, GPU_RUN | dict(zip(("tuning", "gradient_checkpointing"), way, strict=True)), **GPU)
        for way in [("lora", False), ("lora", True), ("qlora", True), ("full", True), ("full", False)]
    }
    assert all(each.is_traced for each in layers.values())
    kept = {way: each.kept(1, 1024) for way, each in layers.items()}
    # Recomputed, a layer keeps its output alone: 128 values of two bytes; autocast its copies of float32 adapters.
    assert kept["qlora", True] == kept["full", True] == 1024 * 128 * 2
    assert kept["qlora", True] < kept["lora", True] < 1.2 * kept["qlora", True]
    assert kept["lora", False] > 10 * kept["lora", True]
    assert layers["qlora", True].backward(1, 1024) < layers["lora", True].backward(1, 1024)


GPU_RUN = {
    "dtype": "bfloat16",
    "mixed_precision": "bf16",
    "attn_implementation": "sdpa",
    "lora_target_modules": ["all-linear"],
}
GPU = {"stack": installed_stack(), "device": "cuda"}
