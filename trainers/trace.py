"""What one decoder layer keeps and needs in passing, traced with fake tensors: no weights, no real memory.

    trace(config, Mode(is_full=False, dtype="bfloat16", ...))
        -> Profile(kept=Size(token=233_900.0, pair=0.0, position=0.0, fixed=0.0), forward=Peak(...), ...)

The model is built with three layers and run forward and backward at four batch shapes under a tensor mode that counts
the storages alive; its middle layer tells. What a kernel holds inside itself is not seen; a flash kernel, which needs
a GPU, is stood in for by the tensors that it takes, keeps and gives.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from studio.memory.layers import Mode, Peak, Profile, Size
from trainers.trace_model import layers_of, pretend, short_model, trained_above

SHAPES = ((1, 1024), (1, 2048), (2, 1024), (2, 2048))
"""Batch and row length: as many as a size has parts."""
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
    with FakeTensorMode(allow_non_fake_inputs=True):
        pretend(model)
        found = [_measure(model, mode, *shape) for shape in SHAPES]
    return Profile(**{name: _fitted([each[name] for each in found]) for name in found[0]})


def _fitted(sizes: list[Any]) -> Size | Peak:
    """From bytes at each of SHAPES, or from a row of bytes at each: every moment of a pass is a size of its own.

    Mostly the operations of a pass are the same at every shape: the same place in each row is the same moment.
    """
    is_peak = not isinstance(sizes[0], int)
    if is_peak and len({len(each) for each in sizes}) > 1:
        sizes = [max(each) for each in sizes]  # the shape decides what is done: then only the peaks are comparable
    bytes_at = numpy.array(sizes, float).reshape(len(SHAPES), -1)
    shapes = numpy.array([_terms(batch, row) for batch, row in SHAPES], float)
    moments = numpy.linalg.solve(shapes, bytes_at).round(6).T
    if not is_peak:
        return Size(*moments[0].tolist())
    grid = numpy.array([_terms(2**batch, 2**row) for batch in range(8) for row in range(4, 18)], float)
    largest = sorted(set((grid @ moments.T).argmax(axis=1).tolist()))
    return Peak(tuple(Size(*moments[place].tolist()) for place in largest))


def _terms(batch: int, row: int) -> tuple[int, int, int, int]:
    return batch * row, batch * row**2, row, 1


class Storages(TorchDispatchMode):
    """Counts the bytes of every storage that an operation makes, as long as it is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.moments: list[int] = []
        """Bytes after each operation."""
        self._seen = weakref.WeakKeyDictionary()

    def ignore(self, tensors: Iterable[torch.Tensor]) -> None:
        """These are there already and do not count."""
        self._seen.update((each.untyped_storage(), True) for each in tensors)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, torch.Tensor):
                self._count(each.untyped_storage())
        self.moments.append(self.alive)
        return made

    def _count(self, storage: Any) -> None:
        if storage in self._seen:
            return
        self._seen[storage] = True
        size = storage.nbytes()
        self.alive += size
        weakref.finalize(storage, self._gone, size)

    def _gone(self, size: int) -> None:
        self.alive -= size


def _measure(model: Any, mode: Mode, batch: int, row: int) -> dict[str, Any]:
    """Bytes of the middle layer and of what stands around the layers, at one batch shape."""
    layers = layers_of(model)
    model.zero_grad(set_to_none=True)
    training = _Pass(model, layers, mode, batch, row)
    training.run()
    with torch.no_grad():
        evaluation = _Pass(model, layers, mode, batch, row)
        evaluation.run()
    before = training.alive["in 1"]
    kept = training.alive["in 2"] - before
    grads = sum(weight.nbytes for weight in trained_above(model, layers))
    return {
        "kept": kept,
        "forward": training.moments["out 1"] - before,
        "backward": training.moments["grad 0"] - before - grads,
        "no_grad": evaluation.moments["out 1"] - evaluation.alive["in 1"],
        "below": training.alive["in 0"],
        "first": before - training.alive["in 0"] - kept,
        "above": training.alive["end"] - training.alive["in 2"] - kept,
    }


class _Pass:
    """One pass through the model; `alive` and `moments` by the places that it came to."""

    def __init__(self, model: Any, layers: Any, mode: Mode, batch: int, row: int) -> None:
        self.alive: dict[str, int] = {}
        self.moments: dict[str, numpy.ndarray] = {}
        """Bytes after each operation since the place before."""
        self._model, self._mode = model, mode
        self._inputs = {name: torch.ones(batch, row, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
        self._storages = Storages()
        self._storages.ignore([*model.parameters(), *model.buffers(), *self._inputs.values()])
        self._hooks = [layer.register_forward_pre_hook(self._on_input(i)) for i, layer in enumerate(layers)]
        self._hooks += [layer.register_forward_hook(self._on_output(i)) for i, layer in enumerate(layers)]
        self._hooks.append(model.register_forward_hook(lambda *_: self._mark("end")))

    def run(self) -> None:
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._mode.mixed_precision)
        with self._storages:
            with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                total = self._model(**self._inputs, use_cache=False).last_hidden_state.sum()
            if total.requires_grad:
                total.backward()
        for hook in self._hooks:
            hook.remove()

    def _mark(self, place: str) -> None:
        self.alive[place] = self._storages.alive
        self.moments[place] = numpy.array(self._storages.moments)
        self._storages.moments = []

    def _on_input(self, number: int) -> Any:
        def note(*_: Any) -> None:
            if f"out {number}" not in self.alive:  # not when it is recomputed
                self._mark(f"in {number}")

        return note

    def _on_output(self, number: int) -> Any:
        def note(module: Any, given: Any, output: Any) -> None:
            if f"out {number}" in self.alive:
                return
            self._mark(f"out {number}")
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.requires_grad:
                hidden.register_hook(lambda grad: self._mark(f"grad {number}"))

        return note
