"""A layer's attention as it is written: projections, rotary positions, and one of three kernels."""

from studio.memory.decoder.linear import Linears
from studio.memory.decoder.tape import Storage, Tensor


class Attention(Linears):
    """Queries, keys and values."""

    def attention(self, x: Tensor) -> Tensor:
        tape, made = self.tape, self.made
        query, key, value = self._projected(x)
        query, key = self._head_normed(query), self._head_normed(key)
        query, key = self._rotated(query), self._rotated(key)
        if made.virtual_tokens:
            key, value = self._prefixed(key), self._prefixed(value)
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

    def _head_normed(self, x: Tensor) -> Tensor:
        if not self.made.has_head_norms:
            return x
        output = self.norm(x, is_of_heads=True)
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

    def _prefixed(self, x: Tensor) -> Tensor:
        """After what a prefix has; a cache holds it until the pass is over."""
        tape, size = self.tape, x.values * x.width
        output = Tensor(x.values, x.width, tape.take(size, row=self.made.virtual_tokens * size))
        tape.node(output, [x], [], lambda grad: [tape.hold(grad)], is_trained=True)
        self.in_cache.append(tape.hold(output.storage))
        tape.drop(x)
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
        size = self.made.query * x.width
        output = Tensor(self.made.query, x.width, tape.take(size, row=self.made.virtual_tokens * size))
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
