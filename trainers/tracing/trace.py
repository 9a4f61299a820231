"""What one decoder layer keeps and needs in passing, traced with fake tensors: no weights, no real memory.

    trace(config, Mode(is_full=False, dtype="bfloat16", ...))
        -> Profile(kept=Size(token=233_900.0, pair=0.0, position=0.0, fixed=0.0), forward=Peak(...), ...)

The model is built with two layers and run forward and backward under a tensor mode that counts the storages alive; the
upper one tells, and what more the lower one keeps. What a kernel holds inside itself is not seen; a flash kernel, which
needs a GPU, is stood in for by the tensors that it takes, keeps and gives.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy
import torch
from torch._subclasses import FakeTensorMode

from studio.memory.layers import Mode, Peak, Profile, Size
from trainers.tracing.storages import Grouped, Storages, Terms, Uneven
from trainers.tracing.trace_model import holder_of, layers_of, pretend, short_model, trained_above

PRIMES = ((113, 127), (131, 137), (139, 149), (151, 157), (163, 167))
"""Of a batch, and of an eighth of a row's length: one pass tells how everything grows (`storages.Terms`)."""
SHAPES = ((1, 1024), (1, 2048), (2, 1024), (2, 2048), (3, 3072))
"""Batch and row length, as many as a size has parts: where one pass cannot tell."""
KEPT = "LUTHIER_TRACES"
"""The variable that names the folder where traces are kept from job to job."""

_log = logging.getLogger(__name__)


def usual_profiles(config: Any) -> list[dict[str, Any]]:
    """Traces of the ways in which a model is mostly trained on a GPU: `{"mode", "sizes"}` each.

    A model that cannot be traced has none; the calculator then falls back on its formula.
    """
    profiles = []
    for mode in usual_modes(config):
        try:
            profiles.append({"mode": mode.document(), "sizes": _kept_trace(config, mode).document()})
        except Exception:
            # Any family's own code runs here, and a trace is never worth a failed job.
            _log.warning("no trace of %s as %s", type(config).__name__, mode, exc_info=True)
    return profiles


def usual_modes(config: Any) -> list[Mode]:
    # peft has no dropout on experts that are one weight together.
    has_experts = bool(getattr(config.get_text_config(), "num_experts_per_tok", None))
    adapted = {"lora_target_modules": ("all-linear",), "lora_r": 8, "has_dropout": not has_experts}
    ways = [
        {"is_full": False, "dtype": "bfloat16"},
        *({"is_full": False, "dtype": "bfloat16", "adapter_dtype": name} | adapted for name in ("float32", "bfloat16")),
        *({"is_full": True, "dtype": name} for name in ("bfloat16", "float32")),
    ]
    usual = {"mixed_precision": "bf16", "attn_implementation": "sdpa"}
    return [Mode(gradient_checkpointing=recomputes, **usual, **way) for way in ways for recomputes in (False, True)]


def _kept_trace(config: Any, mode: Mode) -> Profile:
    """A trace, from the folder of kept ones if it is there."""
    folder = os.environ.get(KEPT)
    if not folder:
        return trace(config, mode)
    versions = [importlib.metadata.version(name) for name in ("torch", "transformers", "peft")]
    told = json.dumps([config.to_dict(), mode.document(), versions, SHAPES], sort_keys=True, default=str)
    path = Path(folder) / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"
    if path.exists():
        return Profile.from_document(json.loads(path.read_text("utf-8")))
    found = trace(config, mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(found.document()), "utf-8")
    unfinished.replace(path)
    return found


def trace(config: Any, mode: Mode) -> Profile:
    """The profile of a decoder's layers.

    Args:
        config: A transformers config of a causal language model.
    """
    model = short_model(config, mode)
    with FakeTensorMode(allow_non_fake_inputs=True), Grouped():
        pretend(model)
        try:
            found = _measure(model, mode, *_telling(model, mode), Terms)
        except Uneven:
            found = _solved([_measure(model, mode, *shape, Storages) for shape in SHAPES])
    return Profile(**{name: _profile_part(parts) for name, parts in found.items()})


def _telling(model: Any, mode: Mode) -> tuple[int, int]:
    """A batch and a row length of primes that divide no width of the model.

    Raises:
        Uneven: rows are put together from virtual tokens and others.
    """
    if mode.num_virtual_tokens:
        raise Uneven
    widths = {size for weight in model.parameters() for size in weight.shape}
    return next((batch, 8 * prime) for batch, prime in PRIMES if all(size % batch and size % prime for size in widths))


def _solved(found: list[dict[str, Any]]) -> dict[str, numpy.ndarray]:
    """From bytes at each of SHAPES: every moment of a pass is a size of its own.

    Mostly the operations of a pass are the same at every shape: the same place in each row is the same moment.
    """
    shapes = numpy.array([_terms(batch, row) for batch, row in SHAPES], float)
    parts = {}
    for name in found[0]:
        sizes = [numpy.atleast_1d(each[name]) for each in found]
        if len({len(each) for each in sizes}) > 1:
            # The shape decides what is done: then only the peaks are comparable.
            sizes = [each.max(keepdims=True) for each in sizes]
        moments = numpy.linalg.solve(shapes, numpy.array(sizes, float)).round(6).T
        parts[name] = moments if numpy.ndim(found[0][name]) else moments[0]
    return parts


def _profile_part(parts: numpy.ndarray) -> Size | Peak:
    """From the terms of a size, or from those of each moment: of these, what is ever the largest."""
    if parts.ndim == 1:
        return Size(*parts.tolist())
    grid = numpy.array([_terms(2**batch, 2**row) for batch in range(8) for row in range(4, 18)], float)
    largest = sorted(set((grid[:, : parts.shape[1]] @ parts.T).argmax(axis=1).tolist()))
    return Peak(tuple(Size(*parts[place].tolist()) for place in largest))


def _terms(batch: int, row: int) -> tuple[int, ...]:
    return batch * row, batch * row**2, row, 1, batch


def _measure(model: Any, mode: Mode, batch: int, row: int, counter: type[Storages]) -> dict[str, Any]:
    """Bytes of the last layer and of what stands around the layers: of one shape, or with `Terms` of each sort."""
    layers = layers_of(model)
    model.zero_grad(set_to_none=True)
    training = _Pass(model, layers, mode, _inputs(mode, batch, row), _counter(counter, batch, row))
    training.run()
    with torch.no_grad():
        evaluation = _Pass(model, layers, mode, _inputs(mode, batch, row), _counter(counter, batch, row))
        evaluation.run()
    last = len(layers) - 1
    first = last - 1
    # A prefix comes in a cache, whose keys and values go with the model's output.
    cached = (training.alive["end"] - training.alive["left"]) / len(layers)
    before = training.alive[f"in {last}"]
    kept = training.alive["over"] - before - cached
    grads = sum(weight.nbytes for weight in trained_above(model, layers))
    grads = numpy.array([0, 0, 0, grads]) if counter is Terms else grads
    below = evaluation.alive[f"in {first}"] - training.alive[f"in {first}"]
    return {
        "kept": kept,
        "forward": training.moments[f"out {last}"] - before,
        "backward": training.moments[f"grad {first}"] - (before - last * cached) - grads,
        # Above what training keeps below the layers: embeddings that are scaled go where no gradient is asked for.
        "no_grad": evaluation.moments[f"out {last}"] - evaluation.alive[f"in {last}"] + below,
        "below": training.alive[f"in {first}"],
        "first": before - cached - training.alive[f"in {first}"] - kept,
        "above": training.alive["end"] - training.alive["over"],
    }


def _counter(counter: type[Storages], batch: int, row: int) -> Storages:
    return counter(batch, row) if counter is Terms else counter()


def _inputs(mode: Mode, batch: int, row: int) -> dict[str, torch.Tensor]:
    # Virtual tokens of a prompt are part of the row; those of a prefix stand in keys and values only.
    own = row - (mode.num_virtual_tokens if mode.variant in ("prompt_tuning", "p_tuning") else 0)
    return {name: torch.ones(batch, own, dtype=torch.int64) for name in ("input_ids", "attention_mask")}


class _Pass:
    """One pass through the model; `alive` and `moments` by the places that it came to."""

    def __init__(
        self, model: Any, layers: Any, mode: Mode, inputs: dict[str, torch.Tensor], storages: Storages
    ) -> None:
        self.alive: dict[str, Any] = {}
        self.moments: dict[str, numpy.ndarray] = {}
        """Bytes after each operation since the place before."""
        self._model, self._mode, self._inputs, self._storages = model, mode, inputs, storages
        self._storages.ignore([*model.parameters(), *model.buffers(), *self._inputs.values()])
        self._hooks = [layer.register_forward_pre_hook(self._on_input(i)) for i, layer in enumerate(layers)]
        self._hooks += [layer.register_forward_hook(self._on_output(i)) for i, layer in enumerate(layers)]
        holder = holder_of(model, layers)
        self._hooks.append(holder.register_forward_pre_hook(self._note_cache, with_kwargs=True))
        around = (each for each in holder.children() if each is not layers)
        self._hooks += [each.register_forward_pre_hook(self._after(len(layers) - 1)) for each in around]
        self._hooks.append(model.register_forward_hook(self._at_end))
        self._cache: Any = None

    def run(self) -> None:
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._mode.mixed_precision)
        with self._storages:
            with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                total = self._hidden().sum()
            if total.requires_grad:
                total.backward()
        for hook in self._hooks:
            hook.remove()

    def _hidden(self) -> torch.Tensor:
        hidden = self._model(**self._inputs, use_cache=False).last_hidden_state
        self._cache = None
        self.alive["left"] = self._storages.alive
        return hidden

    def _note_cache(self, _: Any, given: Any, named: dict[str, Any]) -> None:
        """A prefix comes in a cache; some families hand it back, others let go of it as they end: here all hold it."""
        self._cache = named.get("past_key_values")

    def _mark(self, place: str) -> None:
        self.alive[place] = self._storages.alive
        self.moments[place] = numpy.array(self._storages.moments)
        self._storages.moments = []

    def _on_input(self, number: int) -> Any:
        def note(*_: Any) -> None:
            if f"out {number}" not in self.alive:  # not when it is recomputed
                self._mark(f"in {number}")

        return note

    def _after(self, last: int) -> Any:
        """What is called next, the norm mostly: only then has the decoder let go of the last layer's input."""

        def note(*_: Any) -> None:
            if f"out {last}" in self.alive and "over" not in self.alive:
                self._mark("over")

        return note

    def _at_end(self, *_: Any) -> None:
        if "over" not in self.alive:
            self._mark("over")
        self._mark("end")

    def _on_output(self, number: int) -> Any:
        def note(module: Any, given: Any, output: Any) -> None:
            if f"out {number}" in self.alive:
                return
            self._mark(f"out {number}")
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.requires_grad:
                hidden.register_hook(lambda grad: self._mark(f"grad {number}"))

        return note
