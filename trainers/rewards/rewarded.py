"""What GRPO and RLOO share beyond trl's own: rewards of the studio's rules, tokens of its own, and going on.

`LearnsFromRewards` is mixed in before trl's trainer. To trl every rule is a reward function of its own, so that each
has its curve. An answer on which a rule has no score has no reward (or the other rules' sum, as the recipe says): it is
counted and told, and never a 0. A checkpoint within the use of one batch of answers keeps that batch.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from studio.graders.score import Row
from studio.rewards.recipe import ROW, Recipe
from studio.rewards.scoring import Scored, score
from trainers.rewards.answers_alike import alike
from trainers.rewards.asked_models import AskedModels

GENERATED = "generated.pt"
"""Answers that are still to be learned from, beside the weights."""

Told = Callable[[Sequence[str], Sequence[Row], Scored], None]


class LearnsFromRewards:
    recipe: Recipe
    asked: AskedModels | None = None
    """The models that the reward asks."""
    rows: dict[int, Row]
    prompt_tokens: Callable[[list[dict[str, Any]]], list[int]]
    on_scored: Told
    """Called with answers, their rows and scores. All four are set before training."""

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.prompt_tokens(turns) for turns in prompts], None, {}

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        answers = [said[0]["content"] for said in completions]
        rows = [self.rows[each["row"]] for each in inputs]
        given = self.asked.scores(answers, rows, prompts) if self.asked else None
        scored = score(self.recipe, answers, rows, given=given)
        self.on_scored(answers, rows, scored)
        found_alike = alike(answers, [row.question for row in rows], [row.reference for row in rows])
        if found_alike is not None:
            self._metrics["train" if self.model.training else "eval"]["completions/alike"].append(found_alike)
        columns = [[_number(each.value) for each in scored.values[key]] for key in self.recipe.keys]
        found = torch.tensor(columns, device=self.accelerator.device).T  # (answers, rules)
        if self.recipe.missing == ROW:
            found[[total is None for total in scored.totals]] = torch.nan
        return found

    # -- going on ----------------------------------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        done = self.state.global_step * self.args.gradient_accumulation_steps
        if done % self._uses_of_a_batch():
            kept = {"step": done, "batches": [dict(batch) for batch in self._buffered_inputs]}
            torch.save(kept, Path(output_dir or self.args.output_dir) / GENERATED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        path = Path(resume_from_checkpoint) / GENERATED
        if path.is_file():
            kept = torch.load(path, map_location=self.accelerator.device, weights_only=True)
            self._step, self._buffered_inputs = kept["step"], kept["batches"]

    def _uses_of_a_batch(self) -> int:
        """How many device batches are learned before the model answers anew."""
        return self.args.steps_per_generation * self.num_iterations


def stub_of(key: str) -> Callable[..., Any]:
    """What trl names a rule by; it is never called."""

    def stub(**named: Any) -> Any:
        raise NotImplementedError(key)

    stub.__name__ = key
    return stub


def missing_of(scored: Scored) -> Counter[tuple[str, str]]:
    """(rule, why) -> answers without a score."""
    found: Counter[tuple[str, str]] = Counter()
    for key, reasons in scored.missing().items():
        for why, count in reasons.items():
            found[key, why] += count
    return found


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
