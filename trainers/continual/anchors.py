"""Weights held near where they were, each as firmly as it mattered: what EWC and SI have in common.

    loss + 1 / 2 * sum(firmness * (weight - centre) ** 2)

EWC: firmness is lambda times the diagonal of the Fisher information on old rows, at the weights that the run begins
with (Kirkpatrick et al. 2017, eq. 3). SI: it is 2 c times what each weight did for the loss of the earlier run (Zenke
et al. 2017, eq. 4 and 5). The sum is over trained weights only: an adapter's, where there is one. What the earlier run
was to hold itself is held on to as firmly as before, around the new centre.

Firmness and centre are float32 and saved with every checkpoint, so a run that goes on has the very same ones. The loss
that is told while training has the penalty in it; the loss of an evaluation has not.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ANCHORS = "anchors.safetensors"
FIRMNESS, CENTRE = "firmness.", "centre."

Weights = dict[str, torch.Tensor]
"""By name of the trained weight, float32."""


class HoldsWeights:
    """For a Trainer: mixed in before it where a run is to keep an earlier task."""

    firmness: Weights
    centre: Weights

    def hold(self, firmness: Weights) -> None:
        """Hold the trained weights where they are now."""
        self.firmness, self.centre = firmness, weights_now(self.model)

    def compute_loss(self, model: Any, *given: Any, **named: Any) -> Any:
        found = super().compute_loss(model, *given, **named)
        if not model.training:
            return found
        # The batches of an update are added up, and the penalty belongs to the update.
        penalty = self.penalty() / self.current_gradient_accumulation_steps
        return (found[0] + penalty, *found[1:]) if isinstance(found, tuple) else found + penalty

    def penalty(self) -> torch.Tensor:
        parts = [
            (self.firmness[name] * (weight.float() - self.centre[name]).square()).sum()
            for name, weight in trained(self.model)
        ]
        return torch.stack(parts).sum() / 2

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        write_parts(Path(output_dir) / ANCHORS, {FIRMNESS: self.firmness, CENTRE: self.centre})

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            found = read_parts(Path(checkpoint) / ANCHORS, self.args.device)
            self.firmness, self.centre = found[FIRMNESS], found[CENTRE]


def held_before(checkpoint: Path | None, device: Any) -> Weights:
    """How firmly the run of a checkpoint held its weights itself; empty where it did not."""
    if checkpoint is None or not (checkpoint / ANCHORS).is_file():
        return {}
    return read_parts(checkpoint / ANCHORS, device)[FIRMNESS]


def trained(model: Any) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def weights_now(model: Any) -> Weights:
    """A copy of the trained weights."""
    return {name: weight.detach().to(torch.float32, copy=True) for name, weight in trained(model)}


def write_parts(path: Path, parts: dict[str, Weights]) -> None:
    """{"centre.": {"w": tensor}} -> a file with `centre.w`."""
    from safetensors.torch import save_file

    named = {kind + name: each.contiguous() for kind, weights in parts.items() for name, each in weights.items()}
    save_file(named, path)


def read_parts(path: Path, device: Any) -> dict[str, Weights]:
    from safetensors.torch import load_file

    parts: dict[str, Weights] = {}
    for full, each in load_file(path, device=str(device)).items():
        kind, _, name = full.partition(".")
        parts.setdefault(f"{kind}.", {})[name] = each
    return parts
