"""Answers to many questions at once, by the likeliest token or by chance: for judging a model, where speed counts.

    answer_all(model, renderer, [[1, 5, 9], [1, 7]], max_new_tokens=32, until=...)  ->  ["Paris", "It is 4."]

Questions are padded on their left. A learned prompt was trained right before its question, so beside one only those of
one length go together. A padded batch computes slightly other numbers than a question alone, so an answer may differ in
a near tie; what a person reads side by side comes from `trainers.models.generation`.
"""

import time
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from trainers.models.generation import end_tokens
from trainers.rows.data import Renderer


def answer_all(
    model: Any,
    renderer: Renderer,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    until: float,
    temperature: float = 0.0,
) -> list[str] | None:
    """One answer a prompt; None where the time ran out before the last, as half an answer is none.

    Args:
        model: in evaluation mode, on its device.
        until: when to give up, by `time.monotonic`.
        temperature: 0 takes the likeliest token; else it is drawn, by torch's own random state.
    """
    written: dict[int, str] = {}
    for places in _together(model, prompts):
        clock = _Clock(until)
        found = _written(model, renderer, [prompts[place] for place in places], clock, max_new_tokens, temperature)
        if clock.has_run_out:
            return None
        written |= zip(places, found, strict=True)
    return [written[place] for place in range(len(prompts))]


def _together(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    """Places of the prompts that go through the model at once."""
    config = getattr(model, "active_peft_config", None)
    if not getattr(config, "is_prompt_learning", False):
        return [list(range(len(prompts)))]
    by_length: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(place)
    return list(by_length.values())


def _written(
    model: Any, renderer: Renderer, prompts: list[list[int]], clock: "_Clock", max_new_tokens: int, temperature: float
) -> list[str]:
    tokenizer, longest = renderer.tokenizer, max(map(len, prompts))
    pad, ends = tokenizer.pad_token_id, end_tokens(model, renderer.tokenizer)
    ids = torch.tensor([[pad] * (longest - len(each)) + each for each in prompts], device=model.device)  # (B, T)
    read = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in prompts], device=model.device)
    # top_k is set, for a model's own settings may narrow the choice.
    chance = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids,
            attention_mask=read,
            generation_config=GenerationConfig(
                **chance, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=pad
            ),
            stopping_criteria=StoppingCriteriaList([clock]),
        )
    return tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)


class _Clock(StoppingCriteria):
    """Ends every answer when the time is over."""

    def __init__(self, until: float) -> None:
        self._until = until
        self.has_run_out = False

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.has_run_out = time.monotonic() > self._until
        return torch.full((input_ids.shape[0],), self.has_run_out, device=input_ids.device)
