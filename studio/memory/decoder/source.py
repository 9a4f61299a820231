"""The code of a decoder layer, line by line: its two halves, a gated MLP or experts one after the other."""

from studio.memory.decoder.attention import Attention
from studio.memory.decoder.tape import Tensor

ROUTER_INTEGERS = 8
"""Bytes of an index."""


class Source(Attention):
    """A layer, with the operations of its tape."""

    def layer(self, x: Tensor) -> Tensor:
        tape = self.tape
        normed = self.norm(x)
        attended = self._scaled(self._narrowed(self.attention(normed)))
        tape.drop(normed)
        middle = tape.add(x, attended)
        tape.drop(attended)
        normed = self.norm(middle)
        mixed = self._scaled(self._narrowed(self.experts(normed) if self.made.experts > 1 else self.mlp(normed)))
        tape.drop(normed)
        output = tape.add(middle, mixed)
        tape.drop(middle, mixed)
        return output

    def _narrowed(self, x: Tensor) -> Tensor:
        """A bottleneck adapter's x + up(gelu(down(x))) (trainers/tuning/bottleneck.py)."""
        tape, made = self.tape, self.made
        if not made.bottleneck:
            return x
        wide = tape.cast(x, made.adapter_width)
        low = self._adapter(wide, made.bottleneck, made.bottleneck * (made.hidden + 1))
        tape.drop(wide)
        inner = tape.pointwise(low)
        tape.drop(low)
        high = self._adapter(inner, made.hidden, made.hidden * (made.bottleneck + 1))
        short = tape.cast(high, x.width)
        tape.drop(high)
        output = tape.add(x, short)
        tape.drop(x, short, inner)
        return output

    def _scaled(self, x: Tensor) -> Tensor:
        if not self.made.scales_residual:
            return x
        output = self.tape.scale(x)
        self.tape.drop(x)
        return output

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
        output = Tensor(total.values, total.width, tape.hold(total.storage))
        tape.drop(total)
        return tape.node(output, [total, x], [x.storage], lambda grad: [tape.hold(grad), tape.take(x.values * x.width)])
