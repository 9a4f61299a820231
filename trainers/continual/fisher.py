"""The diagonal of the Fisher information of trained weights on old rows: how much the loss of each row bends with each.

    F = mean over rows of (gradient of the row's loss) ** 2

The rows' own answers are taken, not ones that the model draws (the "empirical" Fisher; Kirkpatrick et al. 2017 leave
it open, Kunstner et al. 2019 tell what differs). One row at a time, without dropout.
"""

from collections.abc import Callable
from typing import Any

import torch

from trainers.continual.anchors import Weights, trained

ROWS = 200
"""At most so many rows, evenly spread over the old ones."""


def fisher(trainer: Any, rows: Any, *, told: Callable[[int, int], None]) -> Weights:
    """By name of the trained weight, float32.

    Args:
        rows: old rows as tokens, as the trainer takes them.
        told: gets rows done and rows in all.
    """
    model, count = trainer.model, min(ROWS, len(rows))
    found = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in trained(model)}
    was_training = model.training
    model.eval()
    for done in range(count):
        batch = trainer.data_collator([_row(rows, done * len(rows) // count)])
        model.zero_grad()
        loss = trainer.compute_loss(model, trainer._prepare_inputs(batch))
        loss.backward()
        for name, weight in trained(model):
            if weight.grad is not None:
                found[name] += weight.grad.float().square()
        told(done + 1, count)
    model.zero_grad()
    model.train(was_training)
    for each in found.values():
        each /= count
    # trl adds up what it logs of batches outside of training; these are nobody's.
    getattr(trainer, "_metrics", {}).get("eval", {}).clear()
    return found


def _row(rows: Any, place: int) -> dict[str, Any]:
    return {name: rows[place][name] for name in ("input_ids", "labels")}
