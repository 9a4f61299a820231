"""A small add-on of two low-rank matrices beside each chosen layer: LoRA, on a full or on a compressed base."""

from collections.abc import Mapping
from typing import Any

from studio.errors import JobFailed
from studio.params.layer_names import spelled_out
from studio.params.trl_names import lora_arguments


def prepare(model: Any, values: Mapping[str, Any]) -> Any:
    """The `LoraConfig` that trl puts on the model.

    Raises:
        JobFailed: unknown_layers.
    """
    from peft import LoraConfig

    linears = [path for path, module in model.named_modules() if "Linear" in type(module).__name__]
    targets = spelled_out(values["lora_target_modules"], linears)
    check_targets(model, targets)
    return LoraConfig(**lora_arguments({**values, "lora_target_modules": targets}))


def check_targets(model: Any, names: list[str]) -> None:
    """Refuse layer names that the model does not have; peft would take those that fit and drop the others silently.

    Raises:
        JobFailed: unknown_layers.
    """
    if names == ["all-linear"]:
        return
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    unknown = [name for name in names if name.rpartition(".")[2] not in present]
    if unknown:
        raise JobFailed("unknown_layers", names=", ".join(unknown))
