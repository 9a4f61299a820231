"""How the base model's weights are squeezed while they are loaded."""

from collections.abc import Mapping
from typing import Any

from studio.params.trl_names import quantization_arguments


def config(values: Mapping[str, Any]) -> Any:
    """A `BitsAndBytesConfig`, or None where they are left as they are."""
    if values["tuning"] != "qlora":
        return None
    import torch
    from transformers import BitsAndBytesConfig

    arguments = quantization_arguments(values)
    arguments["bnb_4bit_compute_dtype"] = getattr(torch, arguments["bnb_4bit_compute_dtype"])
    return BitsAndBytesConfig(**arguments)
