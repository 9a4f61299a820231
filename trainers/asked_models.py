"""The models that a reward asks, frozen beside what is trained: reward models and judges.

    asked = AskedModels(recipe, spec.asked_models, device)
    asked.scores(["42"], [Row(question="6 x 7?")], [[{"role": "user", "content": "6 x 7?"}]])
        ->  {"reward_model": [Score(0.31)], "judge_model": [Score(None, "no_mark")]}

Each is loaded once and apart from the policy, also where both rest on the same base: it has another head, or must not
change with the policy's adapter. Texts are rendered anew with its own tokenizer and template, so it may be of any
family. What cannot be asked about an answer is a missing score.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from studio.errors import JobFailed
from studio.graders import declared as graders
from studio.graders import judge_model, reward_model
from studio.graders.score import Row, Score, missing
from studio.protocol import AskedModel
from studio.rewards.judges import REWARD_MODEL
from studio.rewards.recipe import Recipe
from studio.rewards.scoring import part_of
from trainers.batched import answer_all
from trainers.data import Messages, Renderer, RowLeftOut
from trainers.generation import Models, Place, check_whole
from trainers.heads import REWARD
from trainers.labelling import head_of, load_with_head

TOGETHER = 16
"""Answers that go through a model at once."""


class AskedModels:
    """Those of one reward. Every score depends on the answer and its question alone, up to a batch's rounding."""

    def __init__(self, recipe: Recipe, known: Mapping[str, AskedModel], device: str) -> None:
        """
        Raises:
            JobFailed: a model is gone or damaged, or is no reward model.
        """
        self._rules = [
            (key, rule, graders.options(rule.name, rule.options))
            for key, rule in zip(recipe.keys, recipe.rules, strict=True)
            if not rule.runs_here
        ]
        self._loaded: dict[tuple[str, Place], Any] = {}
        self._places: dict[str, Place] = {}
        for key, rule, options in self._rules:
            if options.model not in known:
                raise JobFailed("reward.model_gone", name=options.model)
            self._places[key] = self._load(rule.name, known[options.model], device)

    def __bool__(self) -> bool:
        return bool(self._rules)

    @torch.inference_mode()
    def scores(
        self, answers: Sequence[str], rows: Sequence[Row], prompts: Sequence[Messages]
    ) -> dict[str, list[Score]]:
        """{rule's key: a score for each answer}, of the rules that ask a model."""
        found = {}
        for key, rule, options in self._rules:
            looked_at = [part_of(answer, rule.part) for answer in answers]
            loaded = self._loaded[rule.name, self._places[key]]
            if rule.name == REWARD_MODEL:
                found[key] = _scored(*loaded, looked_at, prompts, options)
            else:
                found[key] = _judged(loaded, self._places[key], looked_at, rows, options)
        return found

    def _load(self, name: str, asked: AskedModel, device: str) -> Place:
        place = Place(**asked.place)
        if (name, place) in self._loaded:
            return place
        if name == REWARD_MODEL:
            head = head_of(place)
            if head is None or head.labels != REWARD or place.digest is None:
                raise JobFailed("reward.no_head", name=asked.title)
            check_whole(Path(place.adapter_path or place.model_path), place.digest)
            model, renderer, _ = load_with_head(place, device)
            self._loaded[name, place] = model.requires_grad_(False), renderer
            return place
        models = Models(device)
        with models.ready(place) as (model, _):
            model.requires_grad_(False)
        self._loaded[name, place] = models
        return place


def _scored(
    model: Any, renderer: Renderer, answers: Sequence[str], prompts: Sequence[Messages], options: Any
) -> list[Score]:
    """A reward model's scores, brought into their range by the statistics of its held-out pairs."""
    longest = getattr(model.config, "max_position_embeddings", None) or math.inf

    def tokens(place: int) -> list[int] | Score:
        try:
            said = [{"role": "assistant", "content": answers[place] or " "}]
            question, answer = renderer.answer(prompts[place], said)
        except RowLeftOut:
            return missing("not_askable")
        return question + answer if len(question) + len(answer) <= longest else missing("beyond_model")

    def ask(batch: list[list[int]]) -> list[Score]:
        width = max(map(len, batch))
        pad = renderer.tokenizer.pad_token_id
        ids = torch.tensor([each + [pad] * (width - len(each)) for each in batch], device=model.device)  # (B, T)
        read = torch.tensor([[1] * len(each) + [0] * (width - len(each)) for each in batch], device=model.device)
        raw = model(input_ids=ids, attention_mask=read).logits.float().squeeze(-1)  # (B,)
        return [reward_model.normalised(value, options) for value in raw.tolist()]

    return _in_batches(len(answers), tokens, ask)


def _judged(models: Models, place: Place, answers: Sequence[str], rows: Sequence[Row], options: Any) -> list[Score]:
    """A judge's marks, read from what it writes by the likeliest token."""
    with models.ready(place) as (model, renderer):
        longest = getattr(model.config, "max_position_embeddings", None) or math.inf

        def tokens(at: int) -> list[int] | Score:
            asked = judge_model.asked(answers[at], rows[at], options)
            ids = renderer.prompt([{"role": "user", "content": asked}])
            return ids if len(ids) + options.most_tokens <= longest else missing("beyond_model")

        def ask(batch: list[list[int]]) -> list[Score]:
            said = answer_all(model, renderer, batch, max_new_tokens=options.most_tokens, until=math.inf)
            return [judge_model.read(each, options) for each in said or [""] * len(batch)]

        return _in_batches(len(answers), tokens, ask)


def _in_batches(
    count: int, tokens: Callable[[int], list[int] | Score], ask: Callable[[list[list[int]]], list[Score]]
) -> list[Score]:
    """A score for each of `count` answers: the same tokens are asked about once, texts of like length together."""
    read = [tokens(place) for place in range(count)]
    distinct = sorted({tuple(each) for each in read if isinstance(each, list)}, key=lambda each: (len(each), each))
    known: dict[tuple[int, ...], Score] = {}
    for start in range(0, len(distinct), TOGETHER):
        batch = distinct[start : start + TOGETHER]
        known |= zip(batch, ask([list(each) for each in batch]), strict=True)
    return [known[tuple(each)] if isinstance(each, list) else each for each in read]
