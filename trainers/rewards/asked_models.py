"""The models that a reward asks, frozen beside what is trained: reward models and judges.

    asked = AskedModels(recipe, spec.asked_models, device)
    asked.scores(["42"], [Row(question="6 x 7?")], [[{"role": "user", "content": "6 x 7?"}]])
        ->  {"reward_model": [Score(0.31)], "judge_model": [Score(None, "no_mark")]}

Each is loaded once and apart from the policy, also where both rest on the same base: it has another head, or must not
change with the policy's adapter. Texts are rendered anew with its own tokenizer and template, so it may be of any
family. What cannot be asked about an answer is a missing score. Scores that are handed over, known by
what they are of, are given again, and a model that has nothing new to say is not loaded.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from studio.errors import JobFailed
from studio.graders import declared as graders
from studio.graders import judge_model, reward_model
from studio.graders.score import Row, Score, missing
from studio.protocol import AskedModel
from studio.rewards.judges import REWARD_MODEL
from studio.rewards.recipe import Recipe
from studio.rewards.scoring import part_of
from trainers.models.batched import answer_all
from trainers.models.generation import Models, Place, check_whole
from trainers.models.heads import REWARD
from trainers.models.labelling import head_of, load_with_head
from trainers.rows.data import Messages, Renderer, RowLeftOut

TOGETHER = 16
"""Answers that go through a model at once."""


class AskedModels:
    """Those of one reward. Every score depends on the answer and its question alone, up to a batch's rounding."""

    def __init__(
        self,
        recipe: Recipe,
        known: Mapping[str, AskedModel],
        device: str,
        *,
        kept: dict[str, Score] | None = None,
    ) -> None:
        """
        Args:
            kept: scores by `_content`, added to as models are asked; None keeps none and loads every model now.

        Raises:
            JobFailed: a model is gone or damaged, or is no reward model.
        """
        self._rules = [
            (key, rule, graders.options(rule.name, rule.options))
            for key, rule in zip(recipe.keys, recipe.rules, strict=True)
            if not rule.runs_here
        ]
        self._known, self._device, self._kept = known, device, kept
        self._loaded: dict[tuple[str, Place], Any] = {}
        for _, rule, options in self._rules:
            if options.model not in known:
                raise JobFailed("reward.model_gone", name=options.model)
            if kept is None:
                self._load(rule.name, known[options.model])

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
            if self._kept is None:
                found[key] = self._ask(rule.name, options, looked_at, rows, prompts)
                continue
            named = [
                _content(self._place(options), rule.name, options, *each)
                for each in zip(looked_at, rows, prompts, strict=True)
            ]
            new = [place for place, name in enumerate(named) if name not in self._kept]
            parts = ([of[place] for place in new] for of in (looked_at, rows, prompts))
            said = self._ask(rule.name, options, *parts) if new else []
            self._kept.update(zip([named[place] for place in new], said, strict=True))
            found[key] = [self._kept[name] for name in named]
        return found

    def _place(self, options: Any) -> Place:
        return Place(**self._known[options.model].place)

    def _ask(
        self, name: str, options: Any, answers: Sequence[str], rows: Sequence[Row], prompts: Sequence[Messages]
    ) -> list[Score]:
        loaded = self._load(name, self._known[options.model])
        if name == REWARD_MODEL:
            return _scored(*loaded, answers, prompts, options)
        return _judged(loaded, self._place(options), answers, rows, options)

    def _load(self, name: str, asked: AskedModel) -> Any:
        place, device = Place(**asked.place), self._device
        if (name, place) in self._loaded:
            return self._loaded[name, place]
        if name == REWARD_MODEL:
            head = head_of(place)
            if head is None or head.labels != REWARD or place.digest is None:
                raise JobFailed("reward.no_head", name=asked.title)
            check_whole(Path(place.adapter_path or place.model_path), place.digest)
            model, renderer, _ = load_with_head(place, device)
            self._loaded[name, place] = model.requires_grad_(False), renderer
            return self._loaded[name, place]
        models = Models(device)
        with models.ready(place) as (model, _):
            model.requires_grad_(False)
        self._loaded[name, place] = models
        return models


def _content(place: Place, name: str, options: Any, answer: str, row: Row, prompt: Messages) -> str:
    """What a score depends on: which weights, what they are asked, and of what."""
    asked = (place, name, options, answer, prompt, row.question, row.reference)
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()


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
