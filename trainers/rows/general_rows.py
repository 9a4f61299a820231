"""General rows beside a run that learns from rewards, so that the model does not forget what the reward never asks.

    questions   joined(prompts, general, 0.1)   of ten questions that are asked one is a general one
    answers     LearnsAnswersToo                loss + sft_coef * mean loss of a token of general rows' own answers

The second is the term that Ouyang et al. 2022 (InstructGPT, equation 2) add to PPO, with rows that were written for
learning in place of running text. Which rows a step learns follows from its number alone, so that a run goes on as if
undisturbed.
"""

from collections.abc import Mapping
from typing import Any

import numpy
import torch

NONE, ANSWERS, QUESTIONS, BOTH = "none", "answers", "questions", "both"
SFT_LOSS = "sft_loss"


def learns_answers(values: Mapping[str, Any]) -> bool:
    return values.get("general_rows", NONE) in (ANSWERS, BOTH)


def asks_questions(values: Mapping[str, Any]) -> bool:
    return values.get("general_rows", NONE) in (QUESTIONS, BOTH)


def general_together(values: Mapping[str, Any]) -> int:
    """General rows of one pass beside a batch of answers."""
    return max(1, round(values["general_share"] * values["per_device_train_batch_size"]))


class LearnsAnswersToo:
    """For a Trainer: mixed in before it. Its loss is another pass after the method's own, so memory is not added up."""

    general: Any
    """Rows with input_ids and labels, a `datasets.Dataset`. Set before training, as are the next two."""
    general_together: int
    """Rows of one pass."""
    sft_coef: float
    _passes: int | None = None

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        if self._passes is None:
            self._passes = self.state.global_step * self.args.gradient_accumulation_steps
        loss = super().training_step(model, inputs, num_items_in_batch)
        found = self._answers_loss(model, self._passes)
        self._passes += 1
        weighed = self.sft_coef * found / self.current_gradient_accumulation_steps
        self.accelerator.backward(weighed)
        self._metrics["train"][SFT_LOSS].append(float(found.detach()))
        return loss + weighed.detach()

    def _answers_loss(self, model: Any, number: int) -> torch.Tensor:
        """Mean negative log-probability of an answer's token, over the rows of one pass."""
        chosen = rows_of(number, len(self.general), self.general_together, seed=self.args.seed)
        batch = _padded([self.general[place] for place in chosen], self.processing_class.pad_token_id)
        batch = {name: each.to(self.accelerator.device) for name, each in batch.items()}
        labels = batch.pop("labels")
        with self.compute_loss_context_manager():
            logits = model(**batch, use_cache=False).logits
        return torch.nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
        )


def rows_of(number: int, count: int, together: int, *, seed: int) -> list[int]:
    """Places of the rows of the pass `number`, from 0: every row comes once before any comes again.

    rows_of(0, 5, 2, seed=1), rows_of(1, 5, 2, seed=1), rows_of(2, 5, 2, seed=1)  ->  [3, 0], [4, 1], [2, 3]
    """
    places = range(number * together, (number + 1) * together)
    return [int(_order(place // count, count, seed)[place % count]) for place in places]


def _order(epoch: int, count: int, seed: int) -> numpy.ndarray:
    return numpy.random.default_rng([seed, epoch]).permutation(count)


def joined(prompts: Any, general: Any, share: float, *, seed: int) -> Any:
    """Questions with general ones behind them, so that these are `share` of all; the sampler shuffles them."""
    from datasets import concatenate_datasets

    count = round(len(prompts) * share / (1 - share))
    chosen = rows_of(0, len(general), max(1, count), seed=seed)
    return concatenate_datasets([prompts, general.select(chosen)])


def _padded(rows: list[dict[str, Any]], pad: int) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, (rows, longest) each, padded on the right."""
    longest = max(len(row["input_ids"]) for row in rows)

    def filled(name: str, filling: int) -> torch.Tensor:
        return torch.tensor([list(row[name]) + [filling] * (longest - len(row[name])) for row in rows])

    read = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": filled("input_ids", pad), "attention_mask": read, "labels": filled("labels", -100)}
