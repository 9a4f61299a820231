"""When a run has stopped getting better, told from what it has logged so far.

    eval_loss 1.9, 1.4, 1.5, 1.6  ->  2 validations without gain

transformers' own callback keeps its count outside the log and loses it when a run is resumed; the log is saved with
every checkpoint.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def validations_without_gain(log: Iterable[Mapping[str, Any]]) -> int:
    """Validations since the one with the lowest loss; 0 while there is none.

    Args:
        log: a Trainer's `state.log_history`.
    """
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0
