"""Loss and figures of a head of labels: cross-entropy, each label with a weight, and how often it is right.

`LearnsLabels` is mixed in before transformers' Trainer. The loss is divided by the labels of the whole update, so that
rows count alike however they are cut into batches. The figures of an evaluation are accuracy, F1 (the mean over the
labels, so that a rare one counts as much as a frequent one) and the confusion matrix, told as an event.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
import torch
from torch.nn.functional import cross_entropy

from trainers.models.heads import Head, write_head

IGNORED = -100


def balanced(sizes: Mapping[str, int], labels: Sequence[str]) -> list[float]:
    """{"a": 30, "b": 10}  ->  [0.667, 2.0]: rows / (labels x rows of this one), as scikit-learn's `balanced`."""
    total = sum(sizes[label] for label in labels)
    return [total / (len(labels) * sizes[label]) if sizes[label] else 1.0 for label in labels]


class LearnsLabels:
    """For a transformers Trainer."""

    head: Head
    """Set before training."""
    label_weights: torch.Tensor | None = None
    """(labels,); None where each counts alike."""
    model_accepts_loss_kwargs = True

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs = dict(inputs)
        labels = inputs.pop("labels")  # (B,) or (B, T)
        outputs = model(**inputs)
        logits = outputs.logits.float().flatten(0, -2)  # (B or B * T, labels)
        weights = None if self.label_weights is None or not model.training else self.label_weights.to(logits)
        loss = cross_entropy(logits, labels.flatten(), weights, ignore_index=IGNORED, reduction="sum")
        count = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        loss = loss / count
        return (loss, outputs) if return_outputs else loss

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        write_head(output_dir or self.args.output_dir, self.head)


def likeliest(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What of an evaluation's logits is kept."""
    return logits.argmax(dim=-1)


def figures(
    head: Head, tell: Callable[[list[list[int]], list[float | None]], None]
) -> Callable[[Any], dict[str, float]]:
    """What transformers calls after each evaluation.

    Args:
        tell: gets the confusion matrix (rows: true label; columns: what was said) and F1 of each label.
    """

    def compute(found: Any) -> dict[str, float]:
        said, true = numpy.asarray(found.predictions).ravel(), numpy.asarray(found.label_ids).ravel()
        counted = true != IGNORED
        said, true = said[counted], true[counted]
        counts = confusion(true, said, len(head.labels))
        scores = f1_of(counts)
        tell(counts.tolist(), scores)
        known = [score for score in scores if score is not None]
        return {"accuracy": float((said == true).mean()), "f1": float(numpy.mean(known)) if known else 0.0}

    return compute


def confusion(true: numpy.ndarray, said: numpy.ndarray, num_labels: int) -> numpy.ndarray:
    """(labels, labels) rows by true label and by what was said."""
    return numpy.bincount(true * num_labels + said, minlength=num_labels**2).reshape(num_labels, num_labels)


def f1_of(counts: numpy.ndarray) -> list[float | None]:
    """F1 of each label; None for one that no row has and nothing was called."""
    hits, wanted, called = counts.diagonal(), counts.sum(1), counts.sum(0)
    return [
        2 * int(hit) / int(want + call) if want + call else None
        for hit, want, call in zip(hits, wanted, called, strict=True)
    ]
