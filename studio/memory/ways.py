"""Ways of training as the arithmetic sorts them: what is trained where, and with which trace a layer is one of them."""

from collections.abc import Mapping
from typing import Any

from studio.memory.layers import Mode
from studio.memory.stack import Stack
from studio.params.tunings import ADDS_TOKENS

TRAINS_OWN_WEIGHTS = frozenset({"full", "freeze"})
ON_LAYERS = frozenset({"lora", "qlora"})
"""Tunings whose adapters sit on linear layers and keep those layers' inputs."""
WITHOUT_LORA = ADDS_TOKENS | {"ia3", "ln_tuning", "bottleneck"}
"""What else is trained beside a model: peft's other tunings, and the studio's own adapters."""
BOTTLENECK_SIZE = 64
VIRTUAL_TOKENS = 20
"""peft has no default for num_virtual_tokens; this many are usual (Lester et al. 2021 tried 1 to 150)."""
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def compute_bytes(dtype: str, mixed_precision: str) -> int:
    """Of one activation."""
    return 2 if mixed_precision != "no" else DTYPE_BYTES[dtype]


def mode_of(values: Mapping[str, Any], *, stack: Stack, device: str = "cuda") -> Mode | None:
    """How a layer is trained with these settings; None where it takes more than one trace, or one that nobody makes."""
    tuning, named = values["tuning"], ("dtype", "mixed_precision", "attn_implementation", "gradient_checkpointing")
    usual = {name: values[name] for name in named} | {"is_on_gpu": device != "cpu"}
    if not stack.has_traced_layers or tuning not in TRAINS_OWN_WEIGHTS | ON_LAYERS | WITHOUT_LORA:
        return None
    if tuning in TRAINS_OWN_WEIGHTS:
        return Mode(is_full=True, variant="freeze" if tuning == "freeze" else "", **usual)
    usual |= {"is_full": False, "adapter_dtype": stack.adapter_dtype(tuning)}
    if tuning in WITHOUT_LORA:
        count = prompt_tokens(values) if tuning in ADDS_TOKENS else 0
        return Mode(variant=tuning, num_virtual_tokens=count, lora_r=bottleneck_size(values), **usual)
    return Mode(
        lora_target_modules=tuple(values["lora_target_modules"]),
        lora_r=values.get("lora_r", 0),
        has_dropout=values.get("lora_dropout", 0) > 0,
        variant="dora" if values.get("use_dora") else "",
        **usual,
    )


def is_unusual(values: Mapping[str, Any]) -> bool:
    """Whether usual traces say little of it."""
    return values["tuning"] in WITHOUT_LORA or (values["tuning"] in ON_LAYERS and bool(values.get("use_dora")))


def bottleneck_size(values: Mapping[str, Any]) -> int:
    """Of a bottleneck adapter; 0 with another tuning."""
    return (values.get("bottleneck_size") or BOTTLENECK_SIZE) if values["tuning"] == "bottleneck" else 0


def prompt_tokens(values: Mapping[str, Any]) -> int:
    return values.get("num_virtual_tokens") or VIRTUAL_TOKENS
