"""A decoder layer as transformers writes it, followed by a `Tape`: attention with rotary positions, and a gated MLP.

    profile(Layer(hidden=4096, inner=14336, query=4096, key=1024, heads=32, width=2))  ->  Profile

Read in transformers 4.45 to 5 (models/llama, mistral, mixtral, qwen3, granite), peft 0.13 to 0.21 (tuners/lora),
bitsandbytes 0.43 to 0.50 (nn/modules.py, autograd/_functions.py), flash-attn 2 (flash_attn_interface.py), and for fused
norms and positions Unsloth's kernels, which Liger's are like.
"""

from functools import lru_cache

import numpy

from studio.memory.decoder.layer import Layer
from studio.memory.decoder.source import Source
from studio.memory.decoder.tape import NOTHING, Bytes, Storage, Tape, Tensor
from studio.memory.layers import Peak, Profile, Size

STOPS_AT_EMBEDDINGS = ("ia3", "ln_tuning", "bottleneck", "prefix_tuning")
"""Tunings beside LoRA of which the first layer's input needs no gradient."""
POSITION = 8
"""Bytes of a position's number."""


@lru_cache(maxsize=512)
def profile(layer: Layer) -> Profile:
    """What the layer keeps and needs; as a trace tells it, from the source alone."""
    kept, forward = _forward(layer)
    _, no_grad = _forward(layer, keeps=False)
    return Profile(
        kept=_kept(layer) if layer.recomputes else _size(kept),
        forward=no_grad if layer.recomputes else forward,
        backward=_backward(layer),
        no_grad=no_grad,
        below=_below(layer),
        first=_first(layer, kept),
        above=_last_norm(layer),
    )


def _forward(layer: Layer, *, keeps: bool = True, needs_grad: bool = True) -> tuple[Bytes, Peak]:
    """What stays, the output for the layer's input, and the worst moment."""
    tape = Tape(keeps=keeps)
    source = Source(tape, layer)
    output = source.layer(_input(layer, needs_grad=needs_grad))
    tape.release(*source.in_cache)
    if not layer.keeps_inputs:
        tape.drop(output)
    return tape.alive, _peak(tape)


def _kept(layer: Layer) -> Size:
    """By a layer that is computed again: its output, and what autocast has made short of its weights."""
    tape = Tape(keeps=False)
    Source(tape, layer).layer(_input(layer))
    return _size(tape.alive)


def _first(layer: Layer, kept: Bytes) -> Size:
    """By how much the first layer keeps more or less than others where nothing below it is trained."""
    if layer.is_trained or layer.recomputes:
        return Size()
    if not layer.targets and layer.variant not in STOPS_AT_EMBEDDINGS:
        # Gradients are asked for as far as the embeddings, and what they gave stays.
        return Size() if layer.keeps_inputs else Size(layer.hidden * layer.stream_width)
    return _size(_forward(layer, needs_grad=False)[0] - kept)


def _backward(layer: Layer) -> Peak:
    return _peak({"reentrant": _inner_pass, "plain": _once_more, "": _only_back}[layer.recomputes](layer))


def _inner_pass(layer: Layer) -> Tape:
    """The outer pass waits with its gradient, and the inner one with its output."""
    tape = Tape()
    grad = tape.take(layer.hidden * layer.stream_width)
    tape.hold(grad)
    tape.backward(_computed(tape, layer), grad)
    return tape


def _once_more(layer: Layer) -> Tape:
    """When the way back first asks for something that was not kept, the layer is computed as far as it is needed."""
    tape = Tape()
    output = _computed(tape, layer)
    forward = tape.moments[: tape.last_saved]
    tape.drop(output)
    tape.moments.clear()
    there = tape.alive

    def compute() -> None:
        tape.moments[:] = [each + tape.alive - there for each in forward]

    tape.backward(output, tape.take(layer.hidden * layer.stream_width), at_first_saved=compute)
    return tape


def _only_back(layer: Layer) -> Tape:
    tape = Tape()
    output = _computed(tape, layer)
    tape.drop(output)
    tape.moments.clear()
    size = layer.hidden * layer.stream_width
    if not layer.keeps_inputs:  # what came in is gone, and was counted below
        tape.alive = tape.alive - numpy.array([size, 0, 0, 0])
    tape.backward(output, tape.take(size))
    return tape


def _computed(tape: Tape, layer: Layer) -> Tensor:
    source = Source(tape, layer)
    output = source.layer(_input(layer))
    tape.release(*source.cached, *source.in_cache)
    return output


def _below(layer: Layer) -> Size:
    """Embeddings, mask, and positions with their cosines and sines; beside a learned prompt those of the row too."""
    token = layer.hidden * layer.weight_width
    is_joined = layer.variant in ("prompt_tuning", "p_tuning") and layer.recomputes
    turned = 2 * layer.query / layer.heads * layer.weight_width + POSITION
    return Size(token * (2 if is_joined else 1), _mask(layer), turned)


def _mask(layer: Layer) -> float:
    """Bytes for each pair: of yes and no, or a number to be added."""
    return {"sdpa": 1.0, "eager": float(layer.weight_width)}.get(layer.attention, 0.0)


def _input(layer: Layer, *, needs_grad: bool = True) -> Tensor:
    """Kept by the layer below, and counted there."""
    return Tensor(layer.hidden, layer.stream_width, Storage(NOTHING), needs_grad)


def _last_norm(layer: Layer) -> Size:
    """What the last norm keeps and gives, above the last layer's output, which may go."""
    tape = Tape()
    asked = tape.tensor(layer.hidden, layer.stream_width)
    before = tape.alive
    Source(tape, layer).norm(asked)
    tape.drop(asked)
    return _size(tape.alive - before)


def _size(found: Bytes) -> Size:
    token, fixed, pair, row = found.tolist()
    return Size(token, pair, 0.0, fixed, row)


def _peak(tape: Tape) -> Peak:
    """The moments that can be the largest: none is larger in every way."""
    largest: list[tuple[float, ...]] = []
    for moment in sorted({tuple(each.tolist()) for each in tape.moments}, reverse=True):
        if not any(all(mine <= other for mine, other in zip(moment, known, strict=True)) for known in largest):
            largest.append(moment)
    return Peak(tuple(Size(token, pair, 0.0, fixed, row) for token, fixed, pair, row in largest))
