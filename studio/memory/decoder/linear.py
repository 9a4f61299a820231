"""A layer's norms and linear layers, plain, trained, compressed or with LoRA, as they are written."""

from studio.memory.decoder import dora
from studio.memory.decoder.layer import Layer
from studio.memory.decoder.tape import NOTHING, Storage, Tape, Tensor

IA3_OUTPUTS = ("k_proj", "v_proj")
IA3_INPUTS = ("down_proj", "w2")


class Linears:
    """Norms and linear layers."""

    def __init__(self, tape: Tape, layer: Layer) -> None:
        self.tape, self.made = tape, layer
        self.cached: list[Storage] = []
        """Short copies of trained weights: autocast holds on to them as long as it lasts."""
        self.in_cache: list[Storage] = []
        """Keys and values that a prefix's cache holds."""

    # -- norms ------------------------------------------------------------------------------------------------------

    def norm(self, x: Tensor, *, is_of_heads: bool = False) -> Tensor:
        """Root mean square, in float32, as a row of operations or as one kernel.

        Args:
            is_of_heads: layer-norm tuning leaves this one alone.
        """
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
        output = self._weighted(short, is_of_heads=is_of_heads)
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

    def _weighted(self, x: Tensor, *, is_of_heads: bool) -> Tensor:
        tape, made = self.tape, self.made
        is_tuned = made.variant == "ln_tuning" and not is_of_heads
        is_trained = made.is_trained or is_tuned
        is_own = made.variant == "ln_tuning" and is_of_heads
        output = tape.tensor(x.values, max(x.width, made.weight_width if is_own else made.norm_width))

        def backward(grad: Storage) -> list[Storage | None]:
            own = tape.take(output.values * output.width)
            if is_trained:
                tape.pass_by(output.values * output.width)
                tape.take(0, x.values * made.norm_width)
            if output.width == x.width:
                return [own]
            short = tape.take(x.values * x.width)
            tape.release(own)
            return [short]

        return tape.node(output, [x], [x.storage] if is_trained else [], backward, is_trained=is_trained)

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
        if self.made.variant == "ia3":
            return self._rescaled(name, x, values, inner, outer)
        base = self._base(x, values, inner, outer)
        return self._adapted(x, base, inner, outer) if name in self.made.targets else base

    def _rescaled(self, name: str, x: Tensor, values: float, inner: float, outer: float) -> Tensor:
        """IA3: keys, values and what the MLP's last layer is given are multiplied with a learned vector."""
        if name in IA3_INPUTS:
            wide = self.tape.cast(x, max(x.width, self.made.adapter_width))
            given = self._times_vector(wide, x.width)
            self.tape.drop(wide)
            base = self._base(given, values, inner, outer)
            self.tape.drop(given)
            return base
        base = self._base(x, values, inner, outer)
        if name not in IA3_OUTPUTS:
            return base
        answer = self._times_vector(base, base.width)
        self.tape.drop(base)
        return answer

    def _times_vector(self, x: Tensor, width: int) -> Tensor:
        tape = self.tape
        product = tape.mul(x, Tensor(0, self.made.adapter_width, Storage(NOTHING)))
        answer = tape.cast(product, width)
        tape.drop(product)
        return answer

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
        if made.variant == "dora":
            return self._directed(asked, base, inner, outer)
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

    def _directed(self, asked: Tensor, base: Tensor, inner: float, outer: float) -> Tensor:
        """DoRA (`dora`): with dropout the base layer is asked a second time, for what dropout left."""
        tape, made = self.tape, self.made
        compute = made.width if made.is_autocast else made.adapter_width
        dropped = tape.pointwise(asked, kept=made.dropout_bytes) if made.has_dropout else tape.view(asked)
        weight, stays = dora.weights_in_passing(
            tape,
            inner=inner,
            outer=outer,
            rank=made.rank,
            widths=(made.adapter_width, compute),
            copies_base=made.is_compressed or made.weight_width != made.adapter_width,
        )
        low = self._adapter(dropped, made.rank * asked.values / inner, made.rank * inner)
        high = self._adapter(low, base.values, made.rank * outer)
        tape.drop(low)
        again = self._multiplied(dropped, weight, base.values, compute, inner * outer) if made.has_dropout else base
        if again is base:
            base = tape.view(base)
        changed = dora.scaled(tape, again, high, made.adapter_width)
        tape.release(weight, *stays)
        added = tape.add(base, changed)
        tape.drop(base, changed)
        answer = tape.cast(added, made.width if not made.is_compressed else asked.width)
        tape.drop(asked, dropped, added)
        return answer

    def _multiplied(self, x: Tensor, weight: Storage, values: float, width: int, size: float) -> Tensor:
        """With a weight that is not trained, which is kept for the input's gradient."""
        tape, made = self.tape, self.made
        short = tape.cast(x, width)
        output = tape.tensor(values, width)
        copy = tape.take(0, size * width) if width != made.adapter_width else tape.hold(weight)
        tape.node(output, [short], [copy], lambda grad: [tape.take(short.values * short.width)])
        tape.release(copy)
        tape.drop(short)
        return output

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
        joined = Tensor(sum(widths), made.width, Storage(NOTHING))

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
