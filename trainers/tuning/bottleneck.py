"""Bottleneck adapters: two small layers after each attention and each MLP, between frozen ones (Houlsby et al. 2019).

    x  ->  x + up(gelu(down(x)))          (batch, seq, hidden) -> (batch, seq, size) -> (batch, seq, hidden)

They begin as nothing: `up` is zero. A folder of them holds `adapter_model.safetensors` and `adapter_config.json`, as
peft's do, with BOTTLENECK for its type. What they compute is no
product of matrices, so they cannot be merged into the base model's weights.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from studio.errors import JobFailed
from studio.params.layer_names import ATTENTION_PARTS, MLP_PARTS

KIND = "BOTTLENECK"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_NAME = "bottleneck"
_HOOK = "_bottleneck_hook"


class Bottleneck(torch.nn.Module):
    def __init__(self, hidden_size: int, size: int, device: Any) -> None:
        super().__init__()
        self.down = torch.nn.Linear(hidden_size, size, device=device, dtype=torch.float32)
        self.up = torch.nn.Linear(size, hidden_size, device=device, dtype=torch.float32)
        torch.nn.init.normal_(self.down.weight, std=0.02)
        for weight in (self.down.bias, self.up.weight, self.up.bias):
            torch.nn.init.zeros_(weight)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        inner = torch.nn.functional.gelu(self.down(values.to(self.down.weight.dtype)))
        return values + self.up(inner).to(values.dtype)


def prepare(model: Any, values: Mapping[str, Any]) -> None:
    """Freeze the model and put adapters in it; what they begin with follows from the run's seed.

    Raises:
        JobFailed: nothing_to_tune.
    """
    torch.manual_seed(values["seed"])
    model.requires_grad_(False)
    put_on(model, values["bottleneck_size"])


def put_on(model: Any, size: int) -> None:
    """
    Raises:
        JobFailed: nothing_to_tune, where no layer has an attention or an MLP by one of the usual names.
    """
    places = _places(model)
    if not places:
        raise JobFailed("nothing_to_tune", names=", ".join(sorted(ATTENTION_PARTS | MLP_PARTS)))
    hidden = model.config.get_text_config().hidden_size
    for place in places:
        device = next(place.parameters()).device
        place.add_module(_NAME, Bottleneck(hidden, size, device))
        setattr(place, _HOOK, place.register_forward_hook(_pass_through))


def take_off(model: Any) -> None:
    """Leave the model as it was."""
    for place in _places(model):
        getattr(place, _HOOK).remove()
        delattr(place, _HOOK)
        delattr(place, _NAME)


def save(model: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    weights = {name: weight.detach().contiguous() for name, weight in _weights(model).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    size = next(iter(weights.values())).shape[0]
    told = {"peft_type": KIND, "bottleneck_size": size, "base_model_name_or_path": model.config._name_or_path}
    (folder / CONFIG).write_text(json.dumps(told, indent=2))


def load(model: Any, folder: Path) -> None:
    """The weights of a folder into adapters that are on the model already.

    Raises:
        ValueError: they are another model's.
    """
    from safetensors.torch import load_file

    found, own = load_file(folder / WEIGHTS), _weights(model)
    if {name: weight.shape for name, weight in found.items()} != {name: weight.shape for name, weight in own.items()}:
        raise ValueError(f"{folder} holds adapters of another model")
    for name, weight in own.items():
        weight.data.copy_(found[name])


def size_of(folder: Path) -> int:
    return int(json.loads((folder / CONFIG).read_bytes())["bottleneck_size"])


def _places(model: Any) -> list[Any]:
    """The attention and the MLP of each layer."""
    layers = [module for path, module in model.named_modules() if path.rpartition(".")[2].isdigit()]
    return [child for layer in layers for name, child in layer.named_children() if name in ATTENTION_PARTS | MLP_PARTS]


def _weights(model: Any) -> dict[str, Any]:
    return {name: weight for name, weight in model.named_parameters() if f".{_NAME}." in name}


def _pass_through(place: Any, given: Any, made: Any) -> Any:
    adapter = getattr(place, _NAME)
    return (adapter(made[0]), *made[1:]) if isinstance(made, tuple) else adapter(made)
