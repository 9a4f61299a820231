"""Rows that count more or less in the loss: classes of unlike size get like weight.

    class_weights(dataset)  ->  {1: 0.5556, 2: 5.0, ...}      900 rows of one class, 100 of another

The weight of a class is rows / (classes x rows of this one), as in scikit-learn's `balanced`: over all rows its mean is
one, so the rate needs no change. trl hands a model's outputs to the loss; what stands between them is a factor a row.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from studio.protocol import DatasetRef

WEIGHT = "row_weight"
"""The column of the data set, and the entry of a batch."""


def class_weights(dataset: DatasetRef) -> dict[int, float]:
    """Row number -> weight; rows without a category count as one.

    Raises:
        JobFailed: no_categories: the rows that train have fewer than two.
    """
    import pyarrow.parquet

    from studio.workshop.versions.manifest import ROWS
    from trainers.data import TRAIN

    table = pyarrow.parquet.read_table(Path(dataset.path) / ROWS, columns=["row", "category", "split"])
    rows = [
        (row, category)
        for row, category, split in zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        if split in (None, TRAIN)
    ]
    sizes = Counter(category for _, category in rows if category is not None)
    if len(sizes) < 2:
        raise JobFailed("no_categories", dataset=dataset.name, version=dataset.version)
    total = sum(sizes.values())
    return {row: total / (len(sizes) * sizes[category]) if category in sizes else 1.0 for row, category in rows}


class WeighsRows:
    """For a trl trainer: rows with a WEIGHT count as much as it says. Validation rows have none and count alike."""

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if WEIGHT not in self._signature_columns:
            self._signature_columns.append(WEIGHT)

    def get_train_dataloader(self) -> Any:
        if WEIGHT in self.train_dataset.column_names and not isinstance(self.data_collator, _WeightCollator):
            self.data_collator = _WeightCollator(self.data_collator)
        return super().get_train_dataloader()

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        weights = inputs.pop(WEIGHT, None)
        if weights is not None:
            model = _Weighted(model, weights)
        return super().compute_loss(model, inputs, *given, **named)


class _WeightCollator:
    """Takes the weights out of the rows before they become a batch, and puts them beside it."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        weights = [row.get(WEIGHT) for row in rows]
        batch = self._collate([{name: value for name, value in row.items() if name != WEIGHT} for row in rows])
        return batch if None in weights else {**batch, WEIGHT: torch.tensor(weights)}


class _Weighted:
    """A model whose log-probabilities are multiplied by the weight of their row: so is the loss, which adds them up."""

    def __init__(self, model: Any, weights: Any) -> None:
        self._model, self._weights = model, weights

    def __call__(self, *given: Any, **named: Any) -> Any:
        outputs = self._model(*given, **named)
        outputs.log_probs = outputs.log_probs * self._weights.to(outputs.log_probs)[:, None]
        return outputs
