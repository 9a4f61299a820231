"""Rows that count more or less in the loss, by the column WEIGHT of their data set (`trainers.losses.row_weights`)."""

from typing import Any

import torch

from trainers.losses.row_weights import WEIGHT
from trainers.losses.tokens import ChangesTokens, Tokens


class WeighsRows(ChangesTokens):
    """Rows with a WEIGHT count as much as it says. Validation rows have none and count alike."""

    _row_weights: torch.Tensor | None = None

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if WEIGHT not in self._signature_columns:
            self._signature_columns.append(WEIGHT)

    def get_train_dataloader(self) -> Any:
        if WEIGHT in self.train_dataset.column_names and not isinstance(self.data_collator, _WeightCollator):
            self.data_collator = _WeightCollator(self.data_collator)
        return super().get_train_dataloader()

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        self._row_weights = inputs.pop(WEIGHT, None)
        return super().compute_loss(model, inputs, *given, **named)

    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        log_probs = super().token_log_probs(tokens)
        return log_probs if self._row_weights is None else log_probs * self._row_weights.to(log_probs)[:, None]


class _WeightCollator:
    """Takes the weights out of the rows before they become a batch, and puts them beside it."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        weights = [row.get(WEIGHT) for row in rows]
        batch = self._collate([{name: value for name, value in row.items() if name != WEIGHT} for row in rows])
        return batch if None in weights else {**batch, WEIGHT: torch.tensor(weights)}
