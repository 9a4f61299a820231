"""Answers from models that are loaded once: bases kept side by side, adapters switched on them.

One answer is made at a time. Batching the questions of a column would pad them, and a padded batch computes slightly
other numbers: the same question with the same seed could then be answered differently beside another one.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from studio.errors import JobFailed
from trainers.checkpoints.manifest import MANIFEST, damaged_files, digest_of
from trainers.models.labelling import Classifiers, head_of
from trainers.models.loading import load_model, load_tokenizer, squeezed, usual_dtype
from trainers.models.switching import Switched
from trainers.rows.data import Messages, Renderer

MAX_BASES = 2
LOADED_KINDS = (".safetensors", ".json", ".jinja")
"""Files of a checkpoint that an answer depends on; its pickled optimizer is none of them."""
STREAM_SECONDS = 0.2
DEFAULT_CONTEXT = 1 << 20


@dataclass(frozen=True)
class Place:
    """Which weights answer."""

    model_path: str
    adapter_path: str | None = None
    load_in_4bit: bool = False
    digest: str | None = None
    """Of the checkpoint, as the registry knows it; None where no checkpoint answers."""
    load_in_8bit: bool = False

    @property
    def base(self) -> tuple[str, bool, bool]:
        return self.model_path, self.load_in_4bit, self.load_in_8bit


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen; `temperature` 0 takes the likeliest."""

    seed: int = 42
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256


@dataclass(frozen=True)
class Answer:
    text: str
    tokens: int
    seconds: float


@dataclass(frozen=True)
class _Base:
    """A base model with the adapters that were put on it."""

    switched: Switched
    renderer: Renderer

    @property
    def model(self) -> Any:
        return self.switched.model


class Models:
    """The models in memory; not to be shared between threads."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._classifiers = Classifiers(device)
        self._bases: OrderedDict[tuple[str, bool, bool], _Base] = OrderedDict()

    def holds(self, place: Place) -> bool:
        return place.base in self._bases

    def __len__(self) -> int:
        return len(self._bases)

    def forget(self) -> None:
        """Let go of every model."""
        self._bases.clear()
        self._classifiers.forget()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def answer(
        self,
        place: Place,
        messages: Messages,
        sampling: Sampling,
        *,
        on_text: Callable[[str, int], None],
        cancelled: threading.Event,
    ) -> Answer:
        """Answer `messages`; `on_text` gets the growing text and its number of tokens every now and then.

        Raises:
            JobFailed: the weights cannot be loaded, or the question is longer than the model can read.
        """
        if head_of(place) is not None:
            check_whole(Path(place.adapter_path or place.model_path), place.digest)
            text, seconds = self._classifiers.answer(place, messages)
            return Answer(text, 0, seconds)
        base = self._base(place)
        with self._adapter(base, place):
            return _generate(base, messages, sampling, on_text=on_text, cancelled=cancelled)

    @contextmanager
    def ready(self, place: Place) -> Iterator[tuple[Any, Renderer]]:
        """The model of a place in evaluation mode, its adapter switched on, and what renders rows for it.

        Raises:
            JobFailed: the weights cannot be loaded.
        """
        base = self._base(place)
        with self._adapter(base, place):
            yield base.model, base.renderer

    def _base(self, place: Place) -> _Base:
        if place.base not in self._bases:
            while len(self._bases) >= MAX_BASES:
                self._bases.popitem(last=False)
            self._bases[place.base] = self._load(place)
        self._bases.move_to_end(place.base)
        return self._bases[place.base]

    def _load(self, place: Place) -> _Base:
        folder = Path(place.model_path)
        if not folder.is_dir():
            raise JobFailed("answer_model_missing")
        if (folder / MANIFEST).exists() or _is_full(place):
            check_whole(folder, place.digest if _is_full(place) else None)
        dtype = usual_dtype(self._device)
        tokenizer = load_tokenizer(folder)
        quantization = squeezed(dtype, in_4bit=place.load_in_4bit, in_8bit=place.load_in_8bit)
        model = load_model(folder, dtype=dtype, device=self._device, quantization=quantization)
        return _Base(Switched(model.eval(), self._device), Renderer(tokenizer))

    def _adapter(self, base: _Base, place: Place) -> AbstractContextManager:
        """Switch `base` to an adapter, or for the time of the context to none."""
        path = place.adapter_path
        if path is not None and path not in base.switched:
            check_whole(Path(path), place.digest)
        return base.switched.on(path)


def _is_full(place: Place) -> bool:
    """Whether the model itself is the checkpoint."""
    return place.digest is not None and place.adapter_path is None


def check_whole(folder: Path, digest: str | None) -> None:
    """Compare a folder with its manifest, and that with the `digest` of a checkpoint that this studio wrote.

    Raises:
        JobFailed: answer_checkpoint_missing or answer_checkpoint_damaged.
    """
    if not folder.is_dir():
        raise JobFailed("answer_checkpoint_missing")
    if damaged_files(folder, suffixes=LOADED_KINDS) or (digest is not None and digest_of(folder) != digest):
        raise JobFailed("answer_checkpoint_damaged")


def _generate(
    base: _Base,
    messages: Messages,
    sampling: Sampling,
    *,
    on_text: Callable[[str, int], None],
    cancelled: threading.Event,
) -> Answer:
    started = time.monotonic()
    ids = base.renderer.prompt(messages)
    room = (
        getattr(base.model.config, "max_position_embeddings", DEFAULT_CONTEXT) - len(ids) - base.switched.added_tokens
    )
    if room < 1:
        raise JobFailed("answer_prompt_too_long")
    torch.manual_seed(sampling.seed)
    inputs = torch.tensor([ids], device=base.model.device)  # (1, T)
    stream = _Stream(base.renderer.tokenizer, on_text)
    with torch.inference_mode():
        made = base.model.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            generation_config=_generation_config(base, sampling, min(sampling.max_new_tokens, room)),
            streamer=stream,
            stopping_criteria=StoppingCriteriaList([_Cancelled(cancelled)]),
        )
    new = made[0, len(ids) :].tolist()
    return Answer(_text(base.renderer.tokenizer, new), len(new), time.monotonic() - started)


def _generation_config(base: _Base, sampling: Sampling, max_new_tokens: int) -> GenerationConfig:
    tokenizer = base.renderer.tokenizer
    settings: dict[str, Any] = {"do_sample": False}
    if sampling.temperature > 0:
        # top_k 0: what was not asked for does not take part.
        settings = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=end_tokens(base.model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end an answer: the model's own and the tokenizer's."""
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return sorted({each for each in (*ends, tokenizer.eos_token_id) if each is not None})


def _text(tokenizer: Any, tokens: list[int]) -> str:
    return tokenizer.decode(tokens, skip_special_tokens=True)


class _Stream(BaseStreamer):
    """Hands on the text so far, a few times a second. `put` gets the prompt first, then each token."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str, int], None]) -> None:
        self._tokenizer = tokenizer
        self._on_text = on_text
        self._tokens: list[int] | None = None
        self._last = time.monotonic()

    def put(self, value: torch.Tensor) -> None:
        if self._tokens is None:
            self._tokens = []
            return
        self._tokens.extend(value.flatten().tolist())
        now = time.monotonic()
        if now - self._last >= STREAM_SECONDS:
            self._last = now
            # A character of several tokens that is not complete yet shows as a replacement mark.
            self._on_text(_text(self._tokenizer, self._tokens).rstrip("\ufffd"), len(self._tokens))

    def end(self) -> None:
        pass


class _Cancelled(StoppingCriteria):
    def __init__(self, cancelled: threading.Event) -> None:
        self._cancelled = cancelled

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._cancelled.is_set(), device=input_ids.device)
