"""A small add-on of two low-rank matrices beside each chosen layer: LoRA, on a full or on a compressed base."""

from collections.abc import Mapping
from typing import Any

from studio.errors import JobFailed
from studio.params.trl_names import lora_arguments


def prepare(model: Any, values: Mapping[str, Any]) -> Any:
    """The `LoraConfig` that trl puts on the model.

    Raises:
        JobFailed: unknown_layers.
    """
    from peft import LoraConfig

    check_targets(model, values["lora_target_modules"])
    return LoraConfig(**lora_arguments(values))


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
