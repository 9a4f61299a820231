"""Which part of the loss comes from the rows of which category, where a run is to tell it.

Shares are of the loss as it is learned: with the weights of rows and with all terms. Of a batch with one category alone
the whole loss is that category's.
"""

from typing import Any

import torch

from studio.params.terms import TASK_SHARE
from trainers.losses.row_weights import TASK
from trainers.losses.shares import Shares
from trainers.losses.tokens import ChangesTokens, Tokens
from trainers.losses.weights import SideColumn


class TellsTasks(ChangesTokens):
    _categories: list[str] | None = None
    _tasks: Shares | None = None

    def get_train_dataloader(self) -> Any:
        self.data_collator = SideColumn.around(self.data_collator, TASK, self.train_dataset)
        return super().get_train_dataloader()

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if TASK not in self._signature_columns:
            self._signature_columns.append(TASK)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        self._categories = inputs.pop(TASK, None)
        return super().compute_loss(model, inputs, *given, **named)

    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        log_probs = super().token_log_probs(tokens)
        self._tasks = self._tasks or Shares()
        for category, lost in zip(self._categories or [], log_probs.detach().sum(1).tolist(), strict=False):
            self._tasks.add(f"{TASK_SHARE}{category}", lost)
        return log_probs

    def log(self, logs: dict[str, float], *given: Any, **named: Any) -> None:
        told = self._tasks.take() if self._tasks and "loss" in logs else {}
        super().log(logs | told, *given, **named)
