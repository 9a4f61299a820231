"""What the optimizers of the form keep and copy, against their real steps: bytes counted, in the way a GPU steps."""

from typing import Any

import pytest
import torch

from studio.memory.stack import coefficients
from studio.params.table import parameters
from trainers.tracing.storages import Storages
from trainers.training.optimizers import MuonWithAdamW

LARGEST = (2048, 512)
SHAPES = [LARGEST, *[(512, 512)] * 8, *[(512,)] * 8]
CHOICES = next(each.choices for each in parameters("sft") if each.name == "optim")


def optimizer_of(name: str, weights: list[torch.nn.Parameter]) -> Any:
    """As transformers' Trainer makes it."""
    if name in ("adamw_torch", "adamw_torch_fused"):
        way = {"fused": True} if name.endswith("fused") else {"foreach": True}
        return torch.optim.AdamW(weights, **way)
    if name == "sgd":
        return torch.optim.SGD(weights, foreach=True)
    if name == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(weights, lr=1e-3, scale_parameter=False, relative_step=False)
    if name == "muon":
        matrices = [weight for weight in weights if weight.ndim == 2]
        return MuonWithAdamW(matrices=matrices, others=[weight for weight in weights if weight.ndim != 2], lr=1e-3)
    from bitsandbytes.optim import AdamW8bit, Lion

    return Lion(weights, optim_bits=8 if "8bit" in name else 32) if "lion" in name else AdamW8bit(weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", [choice.value for choice in CHOICES if not choice.value.startswith("paged")])
def test_an_optimizer_keeps_and_copies_what_the_coefficients_say(name: str, dtype: torch.dtype) -> None:
    weights = [torch.nn.Parameter(torch.randn(shape).mul(0.02).to(dtype)) for shape in SHAPES]
    optimizer, storages = optimizer_of(name, weights), Storages()
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    storages.ignore([*weights, *(weight.grad for weight in weights)])
    with storages:
        optimizer.step()
        resting, storages.moments = storages.alive, []
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    copies = max(storages.moments) - resting
    rules, count = coefficients()["optimizers"][name], sum(weight.numel() for weight in weights)
    each = weights[0].element_size()
    state = rules.get("state_bytes", rules.get("state_copies", 0) * each)
    largest = rules.get("largest_copies", {"float32": 0, "short": 0})["float32" if each == 4 else "short"]
    wanted = rules["step_copies"] * count * each + largest * 4 * LARGEST[0] * LARGEST[1]
    # Beside the weights' own size: a number for each weight, and for 8 bits the few weights too small for it.
    assert resting == pytest.approx(state * count, rel=0.01, abs=0.01 * count)
    assert copies == pytest.approx(wanted, rel=0.01, abs=0.005 * count)
