"""A model for a trace: two decoder layers of any size without a byte of weights, adapters and kernels as in training.

It is built on the meta device; under a fake tensor mode `pretend` moves it to a CPU that is none. What only a GPU does
is stood in for: its dropout, and a flash kernel by the tensors that it takes, keeps and gives.
"""

import copy
from typing import Any

import torch

from studio.memory.layers import Mode
from trainers.tuning import bottleneck, vectors

LAYERS = 2
LAYERS_BELOW = {"freeze": 1}
"""By variant: layers that are not trained, below those that are."""
FLASH_STAND_IN = "stand_in"


def short_model(config: Any, mode: Mode) -> Any:
    """The decoder without its head, with few layers, its adapters on; all of it on the meta device at first."""
    from transformers import AutoModel

    with torch.device("meta"):
        short = _shortened(config, mode)
        model = AutoModel.from_config(short, dtype=getattr(torch, mode.dtype), trust_remote_code=False)
    model.requires_grad_(mode.is_full and mode.is_usual)
    if mode.variant == "freeze":
        layers_of(model)[1:].requires_grad_(True)
    elif mode.lora_target_modules or mode.variant:
        model = _adapted(model, mode)
    if mode.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    is_adapted = mode.lora_target_modules or mode.variant
    if not mode.is_full and (mode.gradient_checkpointing or not is_adapted):
        model.enable_input_require_grads()
    return _with_gpu_dropout(model).train() if mode.is_on_gpu else model.train()


class _GpuDropout(torch.nn.Module):
    """Dropout as a GPU does it: in one kernel, keeping a byte a value (a CPU keeps the noise itself)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.native_dropout(values, self.p, self.training)[0]


def _with_gpu_dropout(model: Any) -> Any:
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.Dropout) and child.p > 0:
                module._modules[name] = _GpuDropout(child.p)
    return model


def pretend(model: Any) -> None:
    """Move every weight from the meta device to a pretended CPU: to be called under a fake tensor mode."""
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            pretended = torch.empty(weight.shape, dtype=weight.dtype)
            module._parameters[name] = torch.nn.Parameter(pretended, requires_grad=weight.requires_grad)
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _shortened(config: Any, mode: Mode) -> Any:
    short = copy.deepcopy(config.get_text_config())
    count = num_layers(mode)
    short.num_hidden_layers = count
    if getattr(short, "layer_types", None):
        short.layer_types = list(short.layer_types[:count])
    short._attn_implementation = _attention(mode.attn_implementation)
    return short


def _attention(name: str) -> str:
    if name != "flash_attention_2":
        return name
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(FLASH_STAND_IN, _flash_attention)
    AttentionMaskInterface.register(FLASH_STAND_IN, lambda *_, **__: None)
    return FLASH_STAND_IN


def _flash_attention(module: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
    """Takes (batch, heads, row, width) and gives (batch, row, heads, width), as transformers' own functions do."""
    each = (each.transpose(1, 2) for each in (query, key, value))
    # It computes in two bytes: transformers casts what positions in float32 made wider.
    return _Flash.apply(*(x.to(torch.bfloat16) if x.dtype == torch.float32 else x for x in each)), None


class _Flash(torch.autograd.Function):
    """The tensors of FlashAttention 2 (Dao 2023): it keeps what goes in and out and a float32 sum for each query; its
    backward pass adds up the query's gradient in float32, and the keys' and values' for every query head."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any) -> torch.Tensor:
        output = torch.empty_like(query)
        sums = query.new_empty(query.shape[:3], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, sums)
        return output

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, key, value, _, _ = ctx.saved_tensors
        in_float32 = query.new_empty(query.shape, dtype=torch.float32)
        by_head = [query.new_empty(query.shape) for _ in range(2)] if key.shape != query.shape else []
        made = tuple(torch.empty_like(each) for each in (query, key, value))
        del in_float32, by_head
        return made


def num_layers(mode: Mode) -> int:
    return LAYERS + LAYERS_BELOW.get(mode.variant, 0)


def _adapted(model: Any, mode: Mode) -> Any:
    from peft import get_peft_model

    if mode.variant == "bottleneck":
        bottleneck.put_on(model, mode.lora_r)
        return model
    adapted = get_peft_model(model, _adapter(model, mode), autocast_adapter_dtype=False)
    for weight in adapted.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(getattr(torch, mode.adapter_dtype))
    return adapted


def _adapter(model: Any, mode: Mode) -> Any:
    """peft's config, its layers as the studio names them."""
    import peft

    names = mode.lora_target_modules
    if names:
        return peft.LoraConfig(
            r=mode.lora_r,
            target_modules="all-linear" if names == ("all-linear",) else list(names),
            lora_dropout=0.05 if mode.has_dropout else 0.0,
            use_dora=mode.variant == "dora",
        )
    # Without a head there is no causal language model.
    if mode.variant in ("ia3", "ln_tuning"):
        on_layers = (vectors.prepare_ia3 if mode.variant == "ia3" else vectors.prepare_norms)(model, {})
        on_layers.task_type = None
        return on_layers
    # A task that is none lets peft put its tokens before the rest.
    virtual = {"num_virtual_tokens": mode.num_virtual_tokens, "task_type": "FEATURE_EXTRACTION"}
    return {
        "prompt_tuning": lambda: peft.PromptTuningConfig(**virtual),
        "p_tuning": lambda: peft.PromptEncoderConfig(**virtual),
        "prefix_tuning": lambda: peft.PrefixTuningConfig(**virtual),
    }[mode.variant]()


def layers_of(model: Any) -> Any:
    """The decoder's layers: the one list of modules that is as long as its config says."""
    count = model.config.num_hidden_layers
    lists = [each for each in model.modules() if isinstance(each, torch.nn.ModuleList)]
    return next(each for each in lists if len(each) == count)


def holder_of(model: Any, layers: Any) -> Any:
    """The module that has the layers, and beside them what comes before and after."""
    return next(each for each in model.modules() if any(child is layers for child in each.children()))


def trained_above(model: Any, layers: Any) -> list[torch.nn.Parameter]:
    """Trained weights that have their gradients when the last layer's turn comes; virtual tokens have theirs last."""
    below = {id(weight) for layer in layers for weight in layer.parameters()}
    below |= {id(weight) for weight in model.get_input_embeddings().parameters()}
    below |= {id(weight) for name, weight in model.named_parameters() if "prompt_encoder" in name.split(".")}
    return [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in below]
