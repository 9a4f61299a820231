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
        self.data_collator = SideColumn.around(self.data_collator, WEIGHT, self.train_dataset)
        return super().get_train_dataloader()

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        weights = inputs.pop(WEIGHT, None)
        self._row_weights = None if weights is None else torch.tensor(weights)
        return super().compute_loss(model, inputs, *given, **named)

    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        log_probs = super().token_log_probs(tokens)
        return log_probs if self._row_weights is None else log_probs * self._row_weights.to(log_probs)[:, None]


class SideColumn:
    """Takes a column out of the rows before they become a batch, and puts its values beside it as a list."""

    def __init__(self, collate: Any, name: str) -> None:
        self._collate, self.name = collate, name

    @classmethod
    def around(cls, collate: Any, name: str, dataset: Any) -> Any:
        """The collator with this column, or as it is where the data set has none or it is there already."""
        within = collate
        while isinstance(within, cls):
            if within.name == name:
                return collate
            within = within._collate
        return cls(collate, name) if name in dataset.column_names else collate

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        values = [row.get(self.name) for row in rows]
        batch = self._collate([{name: value for name, value in row.items() if name != self.name} for row in rows])
        # Held-out rows have no such column.
        return batch if None in values else {**batch, self.name: values}
