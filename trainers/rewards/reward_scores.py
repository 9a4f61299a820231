"""What a reward model says of pairs: how often it is right, how its scores are spread, whether it only likes length.

    figures_of([(1.2, -0.3, 40, 12), ...])  ->  Figures(pairs=1, accuracy=1.0, mean=0.45, ...)

Mean and standard deviation are kept with each checkpoint (`reward.json`): whoever takes the model for a reward centres
and scales its scores with them, so that they have a known range.
"""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from trainers.models.heads import Head, write_head

SCORES = "reward.json"
BINS = 20

Pair = tuple[float, float, int, int]
"""Scores of the better and of the worse answer, and their lengths in tokens, question included."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of held-out pairs."""

    pairs: int
    accuracy: float
    """Share of pairs in which the better answer has the higher score."""
    margin: float
    """Mean of the better answer's score less the worse one's."""
    mean: float
    std: float
    """Of all scores."""
    longer_is_better: float | None
    """Of the pairs of unlike length, the share whose better answer is the longer one: what liking length would get."""
    accuracy_when_shorter: float | None
    """Accuracy on the pairs whose better answer is the shorter one."""
    length_correlation: float | None
    """Pearson's, of differences in score and in length within the pairs; None where one of them does not vary."""
    edges: list[float]
    better: list[int]
    worse: list[int]
    """A histogram of the scores: answers between two edges."""


def figures_of(pairs: Sequence[Pair]) -> Figures:
    """
    Args:
        pairs: at least one.
    """
    scores = [score for pair in pairs for score in pair[:2]]
    unlike = [pair for pair in pairs if pair[2] != pair[3]]
    shorter = [pair for pair in unlike if pair[2] < pair[3]]
    low, high = min(scores), max(scores)
    width = (high - low) / BINS or 1.0
    return Figures(
        pairs=len(pairs),
        accuracy=_accuracy(pairs),
        margin=statistics.fmean(good - bad for good, bad, _, _ in pairs),
        mean=statistics.fmean(scores),
        std=statistics.pstdev(scores),
        longer_is_better=1 - len(shorter) / len(unlike) if unlike else None,
        accuracy_when_shorter=_accuracy(shorter) if shorter else None,
        length_correlation=_correlation([good - bad for good, bad, _, _ in pairs], [a - b for _, _, a, b in pairs]),
        edges=[low + width * number for number in range(BINS + 1)],
        better=_counts([pair[0] for pair in pairs], low, width),
        worse=_counts([pair[1] for pair in pairs], low, width),
    )


def read_figures(folder: str | Path) -> Figures | None:
    """Those of a checkpoint; None where no held-out pair was scored."""
    path = Path(folder) / SCORES
    return Figures(**json.loads(path.read_text("utf-8"))) if path.is_file() else None


class ScoresPairs:
    """For trl's RewardTrainer: notes the scores of every evaluation, and saves head and figures with the weights."""

    head: Head
    tell: Callable[[int, Figures], None]
    """Called with the step and the figures of each evaluation. Both are set before training."""
    figures: Figures | None = None
    """Of the newest evaluation."""
    _pairs: list[Pair]

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        asks, named["return_outputs"] = named.pop("return_outputs", False) or bool(given and given[0]), True
        lengths = inputs["attention_mask"].sum(dim=1)  # (2 B,) better answers first
        loss, outputs = super().compute_loss(model, inputs, **named)
        mode = "train" if model.training else "eval"
        for ours, theirs in (("rewards/accuracies", "accuracy"), ("rewards/margins", "margin")):
            self._metrics[mode][ours] += self._metrics[mode].pop(theirs)
        if mode == "eval":
            self._note(outputs.logits.detach().float().squeeze(-1), lengths)
        return (loss, outputs) if asks else loss

    def evaluate(self, *given: Any, **named: Any) -> dict[str, float]:
        self._pairs = []
        found = super().evaluate(*given, **named)
        if self._pairs:
            self.figures = figures_of(self._pairs)
            self.tell(self.state.global_step, self.figures)
        return found

    def _note(self, scores: torch.Tensor, lengths: torch.Tensor) -> None:
        good, bad = scores.chunk(2)
        long, other = lengths.chunk(2)
        columns = (good.tolist(), bad.tolist(), long.tolist(), other.tolist())
        self._pairs += zip(*columns, strict=True)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or self.args.output_dir)
        write_head(folder, self.head)
        if self.figures is not None:
            (folder / SCORES).write_text(json.dumps(asdict(self.figures)), "utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.figures = read_figures(resume_from_checkpoint)


def _accuracy(pairs: Sequence[Pair]) -> float:
    return sum(good > bad for good, bad, _, _ in pairs) / len(pairs)


def _correlation(first: list[float], second: list[float]) -> float | None:
    if len(first) < 3 or not statistics.pstdev(first) or not statistics.pstdev(second):
        return None
    return statistics.correlation(first, second)


def _counts(scores: list[float], low: float, width: float) -> list[int]:
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, math.floor((score - low) / width))] += 1
    return counts
