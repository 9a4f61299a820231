"""What each trained weight did for the loss while a run went on: synaptic intelligence (Zenke et al. 2017).

    omega = -sum over steps of gradient * change;   importance = max(0, omega) / ((end - start) ** 2 + xi)

The gradient is the one that the optimizer was given: clipped, and with the penalty of an earlier task in it. What was
counted so far, and where the run began, are saved with every checkpoint.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from studio.errors import JobFailed
from trainers.continual.anchors import Weights, read_parts, trained, weights_now, write_parts

PATH = "path_integral.safetensors"
DAMPING = 0.1
"""xi, as a share of the mean squared change of all weights: it bounds the importance of those that hardly moved. The
paper takes a constant, which would have to follow the learning rate."""
_OMEGA, _START = "omega.", "start."


class CountsPath:
    """For a Trainer."""

    omega: Weights
    start: Weights
    before: Weights
    """The weights as they were before the step that is being taken."""

    def count_path(self) -> None:
        """Count from the weights as they are now."""
        self.start = weights_now(self.model)
        self.omega = {name: torch.zeros_like(each) for name, each in self.start.items()}
        self.add_callback(_CountsSteps(self))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        write_parts(Path(output_dir) / PATH, {_OMEGA: self.omega, _START: self.start})

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            found = read_parts(Path(checkpoint) / PATH, self.args.device)
            self.omega, self.start = found[_OMEGA], found[_START]


class _CountsSteps(TrainerCallback):
    def __init__(self, counter: CountsPath) -> None:
        self._counter = counter

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._counter.before = weights_now(self._counter.model)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Gradients are still there: they are set back after this.
        for name, weight in trained(self._counter.model):
            if weight.grad is not None:
                change = weight.detach().float() - self._counter.before[name]
                self._counter.omega[name] -= weight.grad.float() * change
        self._counter.before = {}


def importance_of(checkpoint: Path | None, end: Weights, device: Any) -> Weights:
    """How much each weight mattered in the run of a checkpoint.

    Args:
        end: the weights of that checkpoint.

    Raises:
        JobFailed: nothing_counted, where that run did not count, or there is none.
    """
    if checkpoint is None or not (checkpoint / PATH).is_file():
        raise JobFailed("nothing_counted")
    found = read_parts(checkpoint / PATH, device)
    omega, start = found[_OMEGA], found[_START]
    moved = {name: (end[name] - start[name]).square() for name in omega}
    count = sum(each.numel() for each in moved.values())
    xi = DAMPING * sum(each.sum() for each in moved.values()) / count
    return {name: each.clamp(min=0) / (moved[name] + xi) for name, each in omega.items()}
