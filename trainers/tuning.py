"""What of a model is trained: everything, or a small adapter on a full or on a 4-bit base."""

from collections.abc import Mapping
from typing import Any

from studio.errors import JobFailed
from studio.params.trl_names import lora_arguments, quantization_arguments

ADAPTERS = frozenset({"lora", "qlora"})


def quantization_config(values: Mapping[str, Any]) -> Any:
    """How the base model's weights are squeezed while loading, or None."""
    if values["tuning"] != "qlora":
        return None
    import torch
    from transformers import BitsAndBytesConfig

    arguments = quantization_arguments(values)
    arguments["bnb_4bit_compute_dtype"] = getattr(torch, arguments["bnb_4bit_compute_dtype"])
    return BitsAndBytesConfig(**arguments)


def peft_config(values: Mapping[str, Any]) -> Any:
    """The adapter that trl puts on the model, or None."""
    if values["tuning"] not in ADAPTERS:
        return None
    from peft import LoraConfig

    return LoraConfig(**lora_arguments(values))


def check_targets(values: Mapping[str, Any], model: Any) -> None:
    """Refuse layer names that the model does not have; peft would take those that fit and drop the others silently.

    Raises:
        JobFailed: unknown_layers.
    """
    names = values.get("lora_target_modules")
    if values["tuning"] not in ADAPTERS or names in (["all-linear"], "all-linear"):
        return
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    unknown = [name for name in names if name.rpartition(".")[2] not in present]
    if unknown:
        raise JobFailed("unknown_layers", names=", ".join(unknown))
