"""How well old rows are still answered, beside the new ones: scored before the first step and at every evaluation.

transformers takes several sets to evaluate, and then calls none of them eval_loss, which early stopping and the best
checkpoint go by. So the old rows are scored apart, as eval_old_loss.
"""

from typing import Any

from trainers.checkpoints.random_states import RandomStates

OLD = "eval_old"


class ScoresOld:
    """For a Trainer."""

    old_rows: Any = None
    """Set before training."""

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        found = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        if eval_dataset is None and self.old_rows is not None:
            found |= super().evaluate(self.old_rows, ignore_keys, OLD)
        return found

    def score_beginning(self) -> None:
        """Score old and new rows as the run finds them; training draws nothing else for it."""
        before = RandomStates.now()
        if self.eval_dataset is not None:
            self.evaluate()
        else:
            super().evaluate(self.old_rows, None, OLD)
        before.put_back()

    def log(self, logs: dict[str, float], *given: Any, **named: Any) -> None:
        if f"{OLD}_loss" in logs:
            # trl would tell its other figures of the old rows under the names of the new ones'.
            getattr(self, "_metrics", {}).get("eval", {}).clear()
        super().log(logs, *given, **named)
