"""A decoder layer as transformers writes it, followed by a `Tape`: attention with rotary positions, and a gated MLP.

    profile(Layer(hidden=4096, inner=14336, query=4096, key=1024, heads=32, width=2))  ->  Profile

Read in transformers 4.45 to 5 (models/llama, mistral, mixtral, qwen3, granite), peft 0.13 to 0.21 (tuners/lora),
bitsandbytes 0.43 to 0.50 (nn/modules.py, autograd/_functions.py), flash-attn 2 (flash_attn_interface.py), and for fused
norms and positions Unsloth's kernels, which Liger's are like.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy

from studio.memory.layers import Peak, Profile, Size
from studio.memory.tape import Bytes, Storage, Tape, Tensor

ROUTER_INTEGERS = 8


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What decides the bytes of one layer; widths are bytes of a value."""

    hidden: int
    inner: int
    query: int
    """Of all heads together."""
    key: int
    heads: int
    experts: int = 1
    experts_per_token: int = 1
    has_head_norms: bool = False
    """Queries and keys are normalised."""
    scales_residual: bool = False
    """What attention and MLP give is multiplied with a number (Granite)."""
    width: int = 2
    """Of what a linear layer works on."""
    weight_width: int = 2
    norm_width: int = 2
    """Of the norms' weights: 4 after prepare_model_for_kbit_training."""
    is_trained: bool = False
    is_compressed: bool = False
    """bitsandbytes' 4 bits: a layer's answer is as wide as what it was asked, whatever it computes in."""
    targets: frozenset[str] = frozenset()
    """Linear layers with LoRA."""
    rank: int = 8
    adapter_width: int = 4
    has_dropout: bool = False
    dropout_bytes: int = 1
    """That dropout keeps of each value: a GPU a mask, a CPU the noise itself."""
    is_autocast: bool = False
    attention: str = "flash_attention_2"
    casts_compressed_wide: bool = False
    """Asked in float32, a compressed layer makes its weight float32, and autocast a short one of that."""
    has_fused_norms: bool = False
    has_fused_positions: bool = False
    has_fused_lora: bool = False
    """Around q, k and v together, and around o: nothing of the adapters is kept but their inputs."""
    has_fused_mlp: bool = False
    recomputes: str = ""
    """Checkpointing: reentrant, plain (torch's other one), or none."""

    @property
    def stream_width(self) -> int:
        """Of the residual stream: what compressed layers make of float32 norms is float32 too."""
        return max(self.weight_width, self.norm_width if self.is_compressed else 0)

    @property
    def keeps_inputs(self) -> bool:
        """Whether a norm keeps what it was given, and no copy of it."""
        return self.has_fused_norms or self.stream_width == 4


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
        below=Size(layer.hidden * layer.weight_width, _mask(layer)),
        first=_first(layer, kept),
        above=_last_norm(layer),
    )


def _forward(layer: Layer, *, keeps: bool = True, needs_grad: bool = True) -> tuple[Bytes, Peak]:
    """What stays, the output for the layer's input, and the worst moment."""
    tape = Tape(keeps=keeps)
    output = _Source(tape, layer).layer(_input(layer, needs_grad=needs_grad))
    if not layer.keeps_inputs:
        tape.drop(output)
    return tape.alive, _peak(tape)


def _kept(layer: Layer) -> Size:
    """By a layer that is computed again: its output, and what autocast has made short of its weights."""
    tape = Tape(keeps=False)
    _Source(tape, layer).layer(_input(layer))
    return _size(tape.alive)


def _first(layer: Layer, kept: Bytes) -> Size:
    """By how much the first layer keeps more or less than others where nothing below it is trained."""
    if layer.is_trained or layer.recomputes:
        return Size()
    if not layer.targets:
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
        tape.alive = tape.alive - numpy.array([size, 0, 0])
    tape.backward(output, tape.take(size))
    return tape


def _computed(tape: Tape, layer: Layer) -> Tensor:
    source = _Source(tape, layer)
    output = source.layer(_input(layer))
    tape.release(*source.cached)
    return output


def _mask(layer: Layer) -> float:
    """Bytes for each pair: of yes and no, or a number to be added."""
    return {"sdpa": 1.0, "eager": float(layer.weight_width)}.get(layer.attention, 0.0)


def _input(layer: Layer, *, needs_grad: bool = True) -> Tensor:
    """Kept by the layer below, and counted there."""
    return Tensor(layer.hidden, layer.stream_width, Storage(numpy.zeros(3)), needs_grad)


def _last_norm(layer: Layer) -> Size:
    """What the last norm keeps and gives, above the last layer's output, which may go."""
    tape = Tape()
    asked = tape.tensor(layer.hidden, layer.stream_width)
    before = tape.alive
    _Source(tape, layer).norm(asked)
    tape.drop(asked)
    return _size(tape.alive - before)


def _size(found: Bytes) -> Size:
    token, fixed, pair = found.tolist()
    return Size(token, pair, 0.0, fixed)


def _peak(tape: Tape) -> Peak:
    """The moments that can be the largest: none is larger in every way."""
    largest: list[tuple[float, ...]] = []
    for moment in sorted({tuple(each.tolist()) for each in tape.moments}, reverse=True):
        if not any(all(mine <= other for mine, other in zip(moment, known, strict=True)) for known in largest):
            largest.append(moment)
    return Peak(tuple(Size(token, pair, 0.0, fixed) for token, fixed, pair in largest))


class _Source:
    """The layer's code, line by line."""

    def __init__(self, tape: Tape, layer: Layer) -> None:
        self.tape, self.made = tape, layer
        self.cached: list[Storage] = []
        """Short copies of trained weights: autocast holds on to them as long as it lasts."""

    def layer(self, x: Tensor) -> Tensor:
        tape = self.tape
        normed = self.norm(x)
        attended = self._scaled(self.attention(normed))
        tape.drop(normed)
        middle = tape.add(x, attended)
        tape.drop(attended)
        normed = self.norm(middle)
        mixed = self._scaled(self.experts(normed) if self.made.experts > 1 else self.mlp(normed))
        tape.drop(normed)
        output = tape.add(middle, mixed)
        tape.drop(middle, mixed)
        return output

    def _scaled(self, x: Tensor) -> Tensor:
        if not self.made.scales_residual:
            return x
        output = self.tape.scale(x)
        self.tape.drop(x)
        return output

    # -- norms ------------------------------------------------------------------------------------------------------

    def norm(self, x: Tensor) -> Tensor:
        """Root mean square, in float32, as a row of operations or as one kernel."""
        tape, made = self.tape, self.made
        if made.has_fused_norms:
            return self._fused_norm(x)
        wide = tape.cast(x, 4)
        powers = self._squared(wide)
        mean = self._mean(powers)
        tape.drop(powers)
        scaled = tape.mul(wide, mean)
        tape.drop(wide, mean)
        short = tape.cast(scaled, x.width)
        output = self._weighted(short)
        tape.drop(scaled, short)
        return output

    def _squared(self, x: Tensor) -> Tensor:
        tape, size = self.tape, x.values * x.width
        made = tape.tensor(x.values, x.width)

        def backward(grad: Storage) -> list[Storage | None]:
            power, doubled = tape.take(size), tape.take(size)
            own = tape.take(size)
            tape.release(power, doubled)
            return [own]

        return tape.node(made, [x], [x.storage], backward)

    def _mean(self, x: Tensor) -> Tensor:
        tape = self.tape
        made = tape.tensor(1, 4)
        return tape.node(made, [x], [made.storage], lambda grad: [tape.take(x.values * x.width)])

    def _weighted(self, x: Tensor) -> Tensor:
        tape, made = self.tape, self.made
        output = tape.tensor(x.values, max(x.width, made.norm_width))

        def backward(grad: Storage) -> list[Storage | None]:
            own = tape.take(output.values * output.width)
            if made.is_trained:
                tape.pass_by(output.values * output.width)
                tape.take(0, x.values * made.norm_width)
            if output.width == x.width:
                return [own]
            short = tape.take(x.values * x.width)
            tape.release(own)
            return [short]

        return tape.node(output, [x], [x.storage] if made.is_trained else [], backward)

    def _fused_norm(self, x: Tensor) -> Tensor:
        """One kernel keeps its input and a number a token; its gradient is written over the one that comes."""
        tape = self.tape
        output = tape.tensor(x.values, x.width)
        root = tape.take(4)
        tape.node(output, [x], [x.storage, root], lambda grad: [tape.hold(grad)])
        tape.release(root)
        return output

    # -- linear layers ----------------------------------------------------------------------------------------------

    def linear(self, name: str, x: Tensor, values: float, *, inner: float = 0.0, outer: float = 0.0) -> Tensor:
        """
        Args:
            values: for each token that goes in.
            inner, outer: width and height of the weight, where not every token goes through it.
        """
        inner, outer = inner or x.values, outer or values
        base = self._base(x, values, inner, outer)
        return self._adapted(x, base, inner, outer) if name in self.made.targets else base

    def _base(self, x: Tensor, values: float, inner: float, outer: float) -> Tensor:
        tape, made = self.tape, self.made
        short = tape.cast(x, made.width)
        output = tape.tensor(values, made.width)
        copied = made.width * inner * outer if made.is_compressed or made.weight_width > made.width else 0.0
        is_wide = made.casts_compressed_wide and made.is_compressed and x.width > made.width
        copy = tape.take(0, copied + (x.width * inner * outer if is_wide else 0.0))

        def backward(grad: Storage) -> list[Storage | None]:
            again = tape.take(0, copied if made.is_compressed else 0.0)
            own = tape.take(short.values * short.width) if short.needs_grad else None
            if made.is_trained:
                tape.take(0, made.weight_width * inner * outer)
            tape.release(again)
            return [own]

        kept = [] if made.is_compressed else [copy]
        if made.is_trained and copied:
            self.cached.append(tape.hold(copy))
        kept += [short.storage] if made.is_trained else []
        tape.node(output, [short], kept, backward, is_trained=made.is_trained)
        tape.release(copy)
        tape.drop(short)
        if not made.is_compressed:
            return output
        answer = tape.cast(output, x.width)
        tape.drop(output)
        return answer

    def _adapted(self, x: Tensor, base: Tensor, inner: float, outer: float) -> Tensor:
        """base(x) + B A dropout(x) times a number."""
        tape, made = self.tape, self.made
        if made.is_compressed:
            copied = tape.copy(base)
            tape.drop(base)
            base = copied
        asked = tape.view(x) if made.is_compressed and made.is_autocast else tape.cast(x, made.adapter_width)
        dropped = tape.pointwise(asked, kept=made.dropout_bytes) if made.has_dropout else tape.view(asked)
        share = x.values / inner
        low = self._adapter(dropped, made.rank * share, made.rank * inner)
        tape.drop(dropped)
        high = self._adapter(low, base.values, made.rank * outer)
        tape.drop(low)
        scaled = tape.scale(high)
        tape.drop(high)
        added = tape.add(base, scaled)
        tape.drop(base, scaled)
        answer = tape.cast(added, base.width)
        tape.drop(asked, added)
        return answer

    def _adapter(self, x: Tensor, values: float, weights: float) -> Tensor:
        """One of LoRA's two, whose weights are trained."""
        tape, made = self.tape, self.made
        width = made.width if made.is_autocast else made.adapter_width
        short = tape.cast(x, width)
        output = tape.tensor(values, width)
        copy = tape.take(0, weights * width if width != made.adapter_width else 0.0)
        if made.is_autocast:
            self.cached.append(tape.hold(copy))

        def backward(grad: Storage) -> list[Storage | None]:
            own = tape.take(short.values * short.width) if short.needs_grad else None
            tape.take(0, weights * made.adapter_width)
            return [own]

        tape.node(output, [short], [short.storage, copy], backward, is_trained=True)
        tape.release(copy)
        tape.drop(short)
        return output

    # -- attention --------------------------------------------------------------------------------------------------

    def attention(self, x: Tensor) -> Tensor:
        tape, made = self.tape, self.made
        query, key, value = self._projected(x)
        query, key = self._head_normed(query), self._head_normed(key)
        query, key = self._rotated(query), self._rotated(key)
        short = [tape.cast(each, made.width) for each in (query, key, value)]
        attended = self._attended(*short)
        tape.drop(*short)
        if made.has_fused_lora and "o_proj" in made.targets:
            (output,) = self._fused_lora(attended, [made.hidden])
        else:
            output = self.linear("o_proj", attended, made.hidden)
        tape.drop(query, key, value, attended)
        return output

    def _projected(self, x: Tensor) -> list[Tensor]:
        made, names = self.made, ("q_proj", "k_proj", "v_proj")
        widths = [made.query, made.key, made.key]
        if made.has_fused_lora and made.targets.issuperset(names):
            return self._fused_lora(x, widths)
        return [self.linear(name, x, width) for name, width in zip(names, widths, strict=True)]

    def _fused_lora(self, x: Tensor, widths: list[int]) -> list[Tensor]:
        """One function keeps its input and, for each adapter, what dropout left of it."""
        tape, made = self.tape, self.made
        short = tape.cast(x, made.width)
        outputs, kept = [], [short.storage]
        for values in widths:
            tape.pass_by(0, made.width * x.values * values)
            outputs.append(tape.tensor(values, made.width))
            if made.has_dropout:
                kept.append(tape.take(x.values * made.width))
        joined = Tensor(sum(widths), made.width, Storage(numpy.zeros(3)))

        def backward(grad: Storage) -> list[Storage | None]:
            for values in widths:
                tape.take(0, made.rank * (x.values + values) * made.adapter_width)
                tape.pass_by(0, made.width * x.values * values)
            tape.pass_by(x.values * (1 + 2 * made.width))
            return [tape.hold(short.storage)]

        tape.node(joined, [short], kept, backward)
        tape.release(*kept[1:])
        tape.drop(short)
        return [self._part(joined, each) for each in outputs]

    def _part(self, joined: Tensor, output: Tensor) -> Tensor:
        """One of several outputs: its gradient waits for the others'."""
        return self.tape.node(output, [joined], [], lambda grad: [self.tape.hold(grad)])

    def _head_normed(self, x: Tensor) -> Tensor:
        if not self.made.has_head_norms:
            return x
        output = self.norm(x)
        self.tape.drop(x)
        return output

    def _rotated(self, x: Tensor) -> Tensor:
        """x cos + turn(x) sin; the kernel writes over what it is given, there and back."""
        tape = self.tape
        if self.made.has_fused_positions:
            output = tape.view(x)
            tape.drop(x)
            return output
        straight = self._turned(x)
        half = tape.take(x.values * x.width / 2)
        turned = tape.tensor(x.values, x.width)
        tape.release(half)

        def backward(grad: Storage) -> list[Storage | None]:
            first = tape.take(x.values * x.width)
            negated = tape.take(x.values * x.width / 2)
            second = tape.take(x.values * x.width)
            tape.release(negated, second)
            return [first]

        tape.node(turned, [x], [], backward)
        across = self._turned(turned)
        tape.drop(turned)
        output = tape.add(straight, across)
        tape.drop(straight, across, x)
        return output

    def _attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        tape, made = self.tape, self.made
        if made.attention == "flash_attention_2":
            return self._flash(query, key, value)
        more = [self._repeated(key), self._repeated(value)]
        attended = self._scores(query, *more) if made.attention == "eager" else self._flash(query, *more)
        tape.drop(*more)
        return attended

    def _repeated(self, x: Tensor) -> Tensor:
        """As many heads as there are of queries."""
        tape = self.tape
        if x.values == self.made.query:
            return tape.view(x)
        output = tape.tensor(self.made.query, x.width)
        return tape.node(output, [x], [], lambda grad: [tape.take(x.values * x.width)])

    def _scores(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Of every pair, masked, as float32 probabilities, and as short ones that are multiplied with."""
        tape, each = self.tape, self.made.heads * query.width
        wide = self.made.heads * 4
        is_short = max(query.width, self.made.weight_width) < 4
        raw, masked = tape.take(0, 0, each), tape.take(0, 0, each if is_short else wide)
        tape.release(raw)
        copy = tape.take(0, 0, wide if is_short else 0)
        sure = tape.take(0, 0, wide)
        tape.release(copy, masked)
        short = tape.take(0, 0, each) if query.width < 4 else tape.hold(sure)
        output = tape.tensor(self.made.query, query.width)

        def backward(grad: Storage) -> list[Storage | None]:
            of_short, of_value = tape.take(0, 0, each), tape.take(value.values * value.width)
            tape.release(short)
            of_sure = tape.take(0, 0, wide) if query.width < 4 else tape.hold(of_short)
            tape.release(of_short)
            of_scores = tape.take(0, 0, wide)
            tape.release(of_sure)
            of_raw = tape.take(0, 0, each) if query.width < 4 else tape.hold(of_scores)
            tape.release(of_scores)
            made = [tape.take(x.values * x.width) for x in (query, key)]
            tape.release(of_raw)
            return [*made, of_value]

        kept = [sure, query.storage, key.storage, value.storage]
        tape.node(output, [query, key, value], kept, backward)
        # What was multiplied with the values goes before the rest: it is held until then, and not by the node.
        tape.release(sure, None if tape.keeps else short)
        return output

    def _turned(self, x: Tensor) -> Tensor:
        """Times cosines or sines, which are as wide as the embeddings."""
        tape = self.tape
        output = tape.tensor(x.values, max(x.width, self.made.weight_width))

        def backward(grad: Storage) -> list[Storage | None]:
            whole = tape.take(output.values * output.width)
            if output.width == x.width:
                return [whole]
            own = tape.take(x.values * x.width)
            tape.release(whole)
            return [own]

        return tape.node(output, [x], [], backward)

    def _flash(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Keeps what goes in and out and a float32 sum for each query; adds up the query's gradient in float32, and
        keys' and values' for every query head."""
        tape, made = self.tape, self.made
        is_flash = made.attention == "flash_attention_2"
        # A mask of 0 and 1 becomes one to be added, once for each layer.
        mask = tape.take(0, 0, 0.0 if is_flash else query.width)
        output = tape.tensor(made.query, query.width)
        sums = tape.take(4 * made.heads)

        def backward(grad: Storage) -> list[Storage | None]:
            passing = [tape.take(4 * made.query)] if is_flash else []
            if is_flash and key.values != query.values:
                passing += [tape.take(made.query * query.width), tape.take(made.query * query.width)]
            own = [tape.take(each.values * each.width) for each in (query, key, value)]
            tape.release(*passing)
            return list(own)

        kept = [query.storage, key.storage, value.storage, output.storage, sums, mask]
        tape.node(output, [query, key, value], kept, backward)
        tape.release(sums, mask)
        return output

    # -- the layer's second half ------------------------------------------------------------------------------------

    def mlp(self, x: Tensor, share: float = 1.0) -> Tensor:
        """down(act(gate(x)) * up(x)), for a share of the tokens."""
        tape, made = self.tape, self.made
        names = ("gate_proj", "up_proj", "down_proj") if made.experts == 1 else ("w1", "w3", "w2")
        inner, hidden = made.inner, made.hidden
        gate = self.linear(names[0], x, inner * share, inner=hidden, outer=inner)
        active = gate if made.has_fused_mlp else tape.pointwise(gate)
        if active is not gate:
            tape.drop(gate)
        up = self.linear(names[1], x, inner * share, inner=hidden, outer=inner)
        product = self._fused_product(active, up) if made.has_fused_mlp else tape.mul(active, up)
        tape.drop(active, up)
        output = self.linear(names[2], product, hidden * share, inner=inner, outer=hidden)
        tape.drop(product)
        return output

    def _fused_product(self, gate: Tensor, up: Tensor) -> Tensor:
        """act(gate) * up as one kernel, whose gradients are written over what it kept."""
        tape = self.tape
        output = tape.tensor(gate.values, gate.width)
        kept = [gate.storage, up.storage]
        return tape.node(output, [gate, up], kept, lambda grad: [tape.hold(each) for each in kept])

    def experts(self, x: Tensor) -> Tensor:
        """Before transformers 5: one expert after the other, each with the tokens that it was given (evenly many)."""
        tape, made = self.tape, self.made
        share = made.experts_per_token / made.experts
        gate = self.linear("gate", x, made.experts)
        scores = tape.cast(gate, 4)
        chosen = tape.tensor(made.experts_per_token, x.width)
        tape.node(chosen, [scores], [scores.storage], lambda grad: [tape.take(made.experts * 4)])
        marks = tape.take(made.experts * made.experts_per_token * ROUTER_INTEGERS)
        total = tape.tensor(made.hidden, x.width)
        before: list[Tensor] = []
        for _ in range(made.experts):
            own = self._taken(x, share)
            tape.drop(*before[:1])
            answer = self.mlp(own, share)
            weight = self._weight_of(chosen, share)
            weighted = tape.mul(answer, weight)
            tape.drop(answer, weight, *before[1:])
            total = self._put(total, weighted)
            before = [own, weighted]
        tape.drop(*before, gate, scores, chosen)
        tape.release(marks)
        return total

    def _taken(self, x: Tensor, share: float) -> Tensor:
        """x[tokens]: its gradient is as long as x, and nothing but zeros for the others."""
        tape = self.tape
        places = tape.take(2 * ROUTER_INTEGERS * share)
        output = tape.tensor(x.values * share, x.width)
        tape.node(output, [x], [places], lambda grad: [tape.take(x.values * x.width)])
        tape.release(places)
        return output

    def _weight_of(self, chosen: Tensor, share: float) -> Tensor:
        tape = self.tape
        output = tape.tensor(share, chosen.width)
        return tape.node(output, [chosen], [], lambda grad: [tape.take(chosen.values * chosen.width)])

    def _put(self, total: Tensor, x: Tensor) -> Tensor:
        """index_add_: in place; x's gradient is taken out of the whole one's."""
        tape = self.tape
        output = tape.view(total)
        tape.drop(total)
        if tape.keeps:
            tape._nodes.pop()
        return tape.node(output, [total, x], [x.storage], lambda grad: [tape.hold(grad), tape.take(x.values * x.width)])
