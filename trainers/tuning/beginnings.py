"""What LoRA's matrices begin with, where it is something else than noise and zero.

PiSSA begins with the largest part of each weight and takes it out of the base model (Meng et al. 2024). A checkpoint
must work on the untouched base, so what answers there is plain LoRA of twice the rank: with A, B now and A0, B0 at the
beginning, B A - B0 A0 = [B, B0] [A; -A0].
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.params.trl_names import PISSA

PREFIX = "beginning."
ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"


class Pissa:
    """The matrices that were taken out of the base model."""

    def __init__(self, model: Any) -> None:
        self._layers = {name: layer for name, layer in model.named_modules() if _is_lora(layer)}
        self.weights = {
            f"{PREFIX}{name}.{part}": _matrix(layer, part).detach().clone()
            for name, layer in self._layers.items()
            for part in ("lora_A", "lora_B")
        }

    def put_back(self, kept: Mapping[str, Any]) -> None:
        """Begin with those of a checkpoint: another machine may have found slightly other ones."""
        import torch

        for name, layer in self._layers.items():
            names = [f"{PREFIX}{name}.{part}" for part in ("lora_A", "lora_B")]
            (a, b), (old_a, old_b) = ([held[each] for each in names] for held in (self.weights, kept))
            if not (torch.equal(a.cpu(), old_a) and torch.equal(b.cpu(), old_b)):
                old_a, old_b = old_a.to(a), old_b.to(b)
                base = layer.get_base_layer().weight
                moved = layer.scaling["default"] * (b @ a - old_b @ old_a)  # (out, in)
                base.data += (moved.T if layer.fan_in_fan_out else moved).to(base.dtype)
                self.weights |= dict(zip(names, (old_a, old_b), strict=True))

    def convert(self, folder: Path) -> None:
        """Make what peft saved there plain LoRA for the untouched base model."""
        import torch
        from safetensors.torch import load_file, save_file

        found = load_file(folder / ADAPTER)
        for name, weight in found.items():
            begun = self.weights[PREFIX + name.removesuffix(".weight")].to(weight)
            is_a = name.endswith("lora_A.weight")
            found[name] = torch.cat([weight, -begun], dim=0) if is_a else torch.cat([weight, begun], dim=1)
        save_file(found, folder / ADAPTER, metadata={"format": "pt"})
        config = json.loads((folder / CONFIG).read_bytes())
        factor = 2**0.5 if config["use_rslora"] else 2
        config |= {"r": 2 * config["r"], "lora_alpha": factor * config["lora_alpha"], "init_lora_weights": True}
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True))


def begin(model: Any, values: Mapping[str, Any]) -> Pissa | None:
    """What an adapter that was just put on its base model begins with; None where it is noise and zero."""
    return Pissa(model) if values.get("init_lora_weights") == PISSA else None


def _is_lora(layer: Any) -> bool:
    return hasattr(layer, "lora_A") and "default" in layer.lora_A


def _matrix(layer: Any, part: str) -> Any:
    return getattr(layer, part)["default"].weight
