"""Dropout in attention, set on a loaded model: its config, and so every checkpoint, stays what it was."""

from typing import Any

import torch

from studio.errors import JobFailed

_NAMES = ("attention_dropout", "attn_dropout")
"""What families call it: Llama, Qwen, Mistral, Gemma and Phi keep a number, GPT-2 and BLOOM a module."""


def set_attention_dropout(model: Any, share: float) -> None:
    """
    Raises:
        JobFailed: no_attention_dropout: this model's attention has none.
    """
    found = 0
    for module in model.modules():
        for name in _NAMES:
            held = getattr(module, name, None)
            if isinstance(held, torch.nn.Dropout):
                held.p = share
            elif isinstance(held, int | float):
                setattr(module, name, share)
            else:
                continue
            found += 1
    if not found:
        raise JobFailed("no_attention_dropout", family=model.config.model_type)
