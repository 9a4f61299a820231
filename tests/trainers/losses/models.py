"""Small random models of several families, and a trainer's loss without the trainer."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}


def small_model(kind: type, **changes: Any) -> Any:
    """A model of two layers whose logits are not all alike, with trl's head, ready to train."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(kind(**SIZES | changes)).train()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model


def some_batch(rows: int = 3, tokens: int = 12, *, vocabulary: int = SIZES["vocab_size"]) -> dict[str, torch.Tensor]:
    """Random rows of which the first third is the question, the last one padded."""
    torch.manual_seed(1)
    ids = torch.randint(3, vocabulary, (rows, tokens))
    labels, mask = ids.clone(), torch.ones_like(ids)
    labels[:, : tokens // 3] = -100
    labels[-1, -3:], mask[-1, -3:] = -100, 0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class AddsUp:
    """What trl's SFT trainer does with what a model's head hands on."""

    def __init__(self, model: Any, **values: Any) -> None:
        self.model, self.values = model, values

    def compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        outputs = model(**inputs, fused_lm_head=True)
        return -outputs.log_probs.sum() / outputs.label_mask.sum()


def loss_of(model: Any, *mixins: type, batch: dict[str, torch.Tensor] | None = None, **values: Any) -> torch.Tensor:
    trainer = type("Trainer", (*mixins, AddsUp), {})(model, **values)
    return trainer.compute_loss(model, dict(batch or some_batch()))


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
