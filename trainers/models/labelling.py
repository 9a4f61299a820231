"""Labels with probabilities from a checkpoint that has a head of labels: what such a model answers.

    one label for each row     ->  "refund 93 %\ndelivery 6 %\npraise 1 %"
    one label for each word    ->  "Ann/PER lives/O in/O Rome/LOC"
    a reward model             ->  "1.274", of a conversation that ends with an answer

These models lie beside those that write text (`trainers.models.generation`), the last few of them.
"""

import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from studio.errors import JobFailed
from trainers.models.heads import REWARD, SEQUENCE, Head, read_head
from trainers.models.loading import load_model, load_tokenizer, squeezed, usual_dtype
from trainers.rows.data import Messages, Renderer
from trainers.rows.label_tokens import tokens_of_words

MOST_SHOWN = 5
LEAST_SHOWN = 0.005
"""Labels less likely than this are not named."""
MAX_CLASSIFIERS = 2


class Classifiers:
    """The models with a head in memory; not to be shared between threads."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._loaded: OrderedDict[Any, tuple[Any, Renderer, Head]] = OrderedDict()

    def forget(self) -> None:
        self._loaded.clear()

    def answer(self, place: Any, messages: Messages) -> tuple[str, float]:
        """What the model of a place says of the last message, and the seconds that it took.

        Raises:
            JobFailed: the weights cannot be loaded, or the question is longer than the model can read.
        """
        if place not in self._loaded:
            while len(self._loaded) >= MAX_CLASSIFIERS:
                self._loaded.popitem(last=False)
            self._loaded[place] = load_with_head(place, self._device)
        self._loaded.move_to_end(place)
        model, renderer, head = self._loaded[place]
        started = time.monotonic()
        text = say_label(model, renderer, head, messages)
        return text, time.monotonic() - started


def load_with_head(place: Any, device: str) -> tuple[Any, Renderer, Head]:
    """The model of a place that has a head, in evaluation mode, and what renders rows for it.

    Raises:
        JobFailed: the weights cannot be loaded.
    """
    head = head_of(place)
    assert head is not None
    tokenizer, dtype = load_tokenizer(place.model_path), usual_dtype(device)
    quantization = squeezed(dtype, in_4bit=place.load_in_4bit, in_8bit=place.load_in_8bit)
    if quantization is not None:
        quantization.llm_int8_skip_modules = list(head.layers)
    model = load_model(
        place.model_path,
        dtype=dtype,
        device=device,
        quantization=quantization,
        head=head,
        pad_token_id=tokenizer.pad_token_id,
    )
    if place.adapter_path is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, place.adapter_path, torch_device=device)
    return model.eval(), Renderer(tokenizer), head


def head_of(place: Any) -> Head | None:
    """The head of the checkpoint that answers, or None where it writes text."""
    return read_head(Path(place.adapter_path or place.model_path))


def say_label(model: Any, renderer: Renderer, head: Head, messages: Messages) -> str:
    """The likeliest labels of a conversation, or its last message with a label behind each word.

    Raises:
        JobFailed: answer_prompt_too_long; answer_judges_answers.
    """
    words: list[str] = []
    if head.labels == REWARD:
        ids, ends = _judged(renderer, messages), []
    elif head.task_type == SEQUENCE:
        ids, ends = renderer.prompt(messages), []
    else:
        words = messages[-1]["content"].split()
        ids, ends = tokens_of_words(renderer.tokenizer, words)
    if len(ids) > getattr(model.config, "max_position_embeddings", len(ids)):
        raise JobFailed("answer_prompt_too_long")
    inputs = torch.tensor([ids], device=model.device)  # (1, T)
    with torch.inference_mode():
        logits = model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits.float()
    if head.labels == REWARD:
        return f"{logits.item():.3f}"
    if head.task_type == SEQUENCE:
        return shown(logits[0].softmax(-1).tolist(), head.labels)
    said = [head.labels[number] for number in logits[0].argmax(-1)[ends].tolist()]
    return " ".join(f"{word}/{label}" for word, label in zip(words, said, strict=True))


def _judged(renderer: Renderer, messages: Messages) -> list[int]:
    """A conversation whose last turn is the answer that is to be judged."""
    if messages[-1]["role"] != "assistant":
        raise JobFailed("answer_judges_answers")
    question, answer = renderer.answer(messages[:-1], messages[-1:])
    return question + answer


def shown(probabilities: list[float], labels: tuple[str, ...]) -> str:
    """[0.931, 0.062, 0.007], (refund, delivery, praise)  ->  refund 93 %, and a line each for the others."""
    ordered = sorted(zip(probabilities, labels, strict=True), reverse=True)[:MOST_SHOWN]
    likely = [each for each in ordered if each[0] >= LEAST_SHOWN] or ordered[:1]
    return "\n".join(f"{label} {share:.0%}".replace("%", " %") for share, label in likely)
