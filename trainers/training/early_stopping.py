"""When a run has stopped getting better, told from what it has logged so far.

    eval_loss 1.9, 1.4, 1.5, 1.6  ->  2 validations without gain

transformers' own callback keeps its count outside the log and loses it when a run is resumed; the log is saved with
every checkpoint.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def validations_without_gain(log: Iterable[Mapping[str, Any]], metric: str = "loss") -> int:
    """Validations since the best one; 0 while there is none.

    Args:
        log: a Trainer's `state.log_history`.
        metric: without `eval_`; of the loss the lowest is best, of anything else the highest.
    """
    found = [entry[f"eval_{metric}"] for entry in log if f"eval_{metric}" in entry]
    best = min if metric == "loss" else max
    return len(found) - 1 - found.index(best(found)) if found else 0
