"""What the ways of learning from a reward share, from the questions to the trained model.

    main = from_rewards.learner(load)       in `trainers.grpo`, `trainers.rloo`

The model answers each question several times; the studio's rules say what each answer is worth (`studio.rewards`), and
the answers of one question are compared with each other.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from trainers.attempt import Attempt
from trainers.rows import prompt_rows
from trainers.training import recipe, reference
from trainers.training.preference import Way

if TYPE_CHECKING:
    from studio.graders.score import Row
    from studio.rewards.scoring import Scored
    from trainers.rows.data import Renderer

MOST_TOLD = 4
"""Answers of one question that are shown with their scores."""
MOST_CHARACTERS = 4000
"""Of an answer and of a question that are shown."""


def learner(load: Callable[[], Way]) -> Callable[[Attempt], dict[str, Any]]:
    """The `main` of a method; `load` imports trl."""

    def main(attempt: Attempt) -> dict[str, Any]:
        attempt.phase("loading_libraries")
        device = recipe.load_libraries(attempt)
        way = load()
        from studio.rewards.judges import asked_names
        from studio.rewards.recipe import parse
        from trainers.continual import old_rows
        from trainers.losses.kinds import mixins
        from trainers.models.loading import load_tokenizer
        from trainers.rewards.asked_models import AskedModels
        from trainers.rewards.rewarded import LearnsFromRewards, stub_of
        from trainers.rows.data import Renderer
        from trainers.rows.general_rows import LearnsAnswersToo, general_together, learns_answers

        resume_from = recipe.prepare_checkpoints(attempt)

        attempt.phase("loading_data")
        reward = parse(attempt.spec.values["rewards"])
        tokenizer = load_tokenizer(attempt.spec.model.path)
        renderer = Renderer(tokenizer)
        prompts = prompt_rows.prepare_data(attempt, renderer)
        general = old_rows.prepare(attempt, tokenizer) if learns_answers(attempt.spec.values) else None
        run = recipe.check_start(attempt, resume_from)

        attempt.phase("loading_model")
        model, adapter = recipe.prepare_model(attempt, device)
        source = reference.begun_with(attempt, resume_from)

        attempt.phase("preparing")
        args = settings(attempt, device, way, reward.weights, evaluates=prompts.validation is not None)
        trainer = recipe.build(
            attempt,
            recipe.trainer_class(
                *mixins(attempt.spec.values),
                *([LearnsAnswersToo] if general else []),
                *way.mixins,
                LearnsFromRewards,
                way.trainer,
            ),
            run,
            resume_from,
            reward_funcs=[stub_of(key) for key in reward.keys],
            args=args,
            train_dataset=prompts.train,
            eval_dataset=prompts.validation,
            processing_class=tokenizer,
            **reference.with_adapter(model, adapter, source),
        )
        reference.hold_to_start(attempt, trainer, source)
        teller = Teller(attempt, trainer)
        if asked_names(reward):
            attempt.phase("reward.load")
            trainer.asked = AskedModels(reward, attempt.spec.asked_models, device)
        trainer.recipe, trainer.rows, trainer.on_scored = reward, prompts.rows, teller.scored
        trainer.prompt_tokens = remembered(renderer)
        if general:
            trainer.general, trainer.sft_coef = general.train, attempt.spec.values["sft_coef"]
            trainer.general_together = general_together(attempt.spec.values)
        if way.mixins:
            trainer.values = attempt.spec.values
            trainer.value_model = value_model(attempt, device) if attempt.spec.values.get("value_model") else None
            trainer.begin_critic()
        try:
            return recipe.train(attempt, trainer, resume_from)
        finally:
            teller.tell_missing()

    return main


def settings(attempt: Attempt, device: str, way: Way, weights: Sequence[float], *, evaluates: bool) -> Any:
    """trl's settings: those of the spec, the rules' weights, and how many answers an evaluation can compare."""
    from studio.params.trl_names import sft_arguments

    given = sft_arguments(attempt.spec.values)
    given.pop("max_length")  # of a question: trl knows no such limit, `prompt_rows` keeps to it
    if not evaluates:
        given["eval_strategy"] = "no"
    if "cliprange" in attempt.spec.values:
        given["epsilon"] = attempt.spec.values["cliprange"]
    given["num_generations_eval"] = math.gcd(given["per_device_eval_batch_size"], given["num_generations"])
    return way.config(**given | way.settings, **recipe.surroundings(attempt, device), reward_weights=list(weights))


def value_model(attempt: Attempt, device: str) -> Any:
    """The base model once more, tuned as the policy is, for a critic of its own."""
    model, adapter = recipe.prepare_model(attempt, device)
    if adapter is None:
        return model
    from peft import get_peft_model

    return get_peft_model(model, adapter)


def remembered(renderer: "Renderer") -> Callable[[list[dict[str, Any]]], list[int]]:
    """Tokens that ask a question; each is rendered once, and asked many times."""
    known: dict[str, list[int]] = {}

    def tokens(turns: list[dict[str, Any]]) -> list[int]:
        key = json.dumps(turns)
        if key not in known:
            known[key] = renderer.prompt(turns)
        return known[key]

    return tokens


class Teller:
    """Tells the answers to one question with their scores at each log line, and how often a rule had none."""

    def __init__(self, attempt: Attempt, trainer: Any) -> None:
        self._attempt, self._trainer = attempt, trainer
        self._missing: Counter[tuple[str, str]] = Counter()
        self._answers = 0
        self._next_step = 0

    def scored(self, answers: "Sequence[str]", rows: "Sequence[Row]", scored: "Scored") -> None:
        from trainers.rewards.rewarded import missing_of

        self._missing += missing_of(scored)
        self._answers += len(answers)
        step = self._trainer.state.global_step
        if step < self._next_step or not self._trainer.model.training:
            return
        self._next_step = step + self._attempt.spec.values["logging_steps"]
        chosen = [place for place, row in enumerate(rows) if row.number == rows[0].number][:MOST_TOLD]
        told = [
            {
                "text": answers[place][:MOST_CHARACTERS],
                "reward": scored.totals[place],
                "values": {key: values[place].value for key, values in scored.values.items()},
            }
            for place in chosen
        ]
        question = rows[0].question[:MOST_CHARACTERS]
        self._attempt.events.write("rollout", step=step, row=rows[0].number, question=question, answers=told)

    def tell_missing(self) -> None:
        for (rule, why), count in sorted(self._missing.items()):
            self._attempt.alert("reward_missing", rule=rule, why=why, count=count, total=self._answers)
