"""Bytes of tensors and of what autograd keeps of them, followed through a model's source without running it.

    tape = Tape()
    x = tape.tensor(4096, 2)                # 4096 values of two bytes for each token
    y = tape.mul(x, tape.cast(x, 4))
    tape.alive                              # -> [40960, 0, 0, 0]

Sizes are four numbers: bytes for each token of the device batch, bytes whatever the batch, for each pair of a row's
tokens, and for each row. Each operation allocates and keeps what torch's own does (tools/autograd/derivatives.yaml),
gradients of one tensor are added up in place where torch does so, and Python's names hold on to tensors until they are
let go (`drop`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy

Bytes = numpy.ndarray
"""(for each token, fixed, for each pair, for each row)"""
NOTHING = numpy.zeros(4)
Backward = Callable[["Storage"], "list[Storage | None]"]


@dataclass(eq=False)
class Storage:
    size: Bytes
    holders: int = 1
    born: int = 0
    """The number of the moment."""


@dataclass(eq=False)
class Tensor:
    """A place in the graph; views of one storage are tensors of their own."""

    values: float
    """For each token."""
    width: int
    """Bytes of one value."""
    storage: Storage
    needs_grad: bool = True


@dataclass
class _Node:
    output: Tensor
    inputs: Sequence[Tensor]
    saved: list[Storage]
    backward: Backward


@dataclass
class Tape:
    keeps: bool = True
    """Gradients will be asked for."""
    alive: Bytes = field(default_factory=NOTHING.copy)
    moments: list[Bytes] = field(default_factory=list)
    last_saved: int = 0
    """The number of moments until the last operation began that keeps something."""
    _nodes: list[_Node] = field(default_factory=list)

    # -- storages ---------------------------------------------------------------------------------------------------

    def take(self, token: float, fixed: float = 0.0, pair: float = 0.0, row: float = 0.0) -> Storage:
        storage = Storage(numpy.array([token, fixed, pair, row], float), born=len(self.moments))
        self.alive = self.alive + storage.size
        self.moments.append(self.alive)
        return storage

    def hold(self, storage: Storage) -> Storage:
        storage.holders += 1
        return storage

    def release(self, *storages: Storage | None) -> None:
        for storage in storages:
            if storage is not None:
                storage.holders -= 1
                if not storage.holders:
                    self.alive = self.alive - storage.size

    def pass_by(self, token: float, fixed: float = 0.0) -> None:
        """There for the length of one operation."""
        self.release(self.take(token, fixed))

    def tensor(self, values: float, width: int, *, needs_grad: bool = True) -> Tensor:
        return Tensor(values, width, self.take(values * width), needs_grad)

    def drop(self, *tensors: Tensor) -> None:
        """Names of Python that are gone."""
        self.release(*(each.storage for each in tensors))

    def drop_all(self) -> None:
        """The graph, never gone back through."""
        while self._nodes:
            self.release(*self._nodes.pop().saved)

    # -- operations -------------------------------------------------------------------------------------------------

    def node(
        self,
        output: Tensor,
        inputs: Sequence[Tensor],
        saved: Sequence[Storage],
        backward: Backward,
        *,
        is_trained: bool = False,
    ) -> Tensor:
        """
        Args:
            backward: takes the output's gradient and gives one for each input, each held once for who asked.
            is_trained: the operation has weights of its own that want a gradient.
        """
        output.needs_grad = is_trained or any(each.needs_grad for each in inputs)
        if self.keeps and output.needs_grad:
            self._nodes.append(_Node(output, inputs, [self.hold(each) for each in saved], backward))
            if saved:
                self.last_saved = len(self.moments) if output.storage in saved else output.storage.born
        return output

    def view(self, x: Tensor, values: float | None = None) -> Tensor:
        """Another name for the same storage; its gradient is passed on as it is."""
        made = Tensor(x.values if values is None else values, x.width, self.hold(x.storage))
        return self.node(made, [x], [], lambda grad: [self.hold(grad)])

    def cast(self, x: Tensor, width: int) -> Tensor:
        if x.width == width:
            return self.view(x)
        made = self.tensor(x.values, width)
        return self.node(made, [x], [], lambda grad: [self.take(x.values * x.width)])

    def copy(self, x: Tensor) -> Tensor:
        """`clone`, or contiguous: its gradient is passed on as it is."""
        made = self.tensor(x.values, x.width)
        return self.node(made, [x], [], lambda grad: [self.hold(grad)])

    def scale(self, x: Tensor) -> Tensor:
        """By a number of Python."""
        made = self.tensor(x.values, x.width)
        return self.node(made, [x], [], lambda grad: [self.take(x.values * x.width)])

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        made = self.tensor(x.values, max(x.width, y.width))

        def backward(grad: Storage) -> list[Storage | None]:
            return [
                self.hold(grad) if each.width == made.width else self.take(each.values * each.width) for each in (x, y)
            ]

        return self.node(made, [x, y], [], backward)

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """Each keeps the other for its own gradient."""
        made = self.tensor(max(x.values, y.values), max(x.width, y.width))
        saved = [other.storage for each, other in ((x, y), (y, x)) if each.needs_grad]

        def backward(grad: Storage) -> list[Storage | None]:
            return [self._product(each, made) if each.needs_grad else None for each in (x, y)]

        return self.node(made, [x, y], saved, backward)

    def _product(self, x: Tensor, of: Tensor) -> Storage:
        """The gradient of a factor: made as wide and long as the product, and then as the factor is."""
        whole = self.take(of.values * of.width)
        if (x.values, x.width) == (of.values, of.width):
            return whole
        own = self.take(x.values * x.width)
        self.release(whole)
        return own

    def pointwise(self, x: Tensor, *, kept: float | None = None) -> Tensor:
        """One kernel there and back that keeps its input; or `kept` bytes for each value instead."""
        made = self.tensor(x.values, x.width)
        mask = None if kept is None else self.take(kept * x.values)
        saved = [x.storage] if mask is None else [mask]
        self.node(made, [x], saved, lambda grad: [self.take(x.values * x.width)])
        self.release(mask)
        return made

    # -- the way back -----------------------------------------------------------------------------------------------

    def backward(self, output: Tensor, grad: Storage, *, at_first_saved: Callable[[], None] | None = None) -> None:
        """From the gradient of `output`, which is given away.

        Args:
            at_first_saved: called before the first operation that asks for something that was kept.
        """
        grads: dict[Tensor, Storage] = {output: grad}
        while self._nodes:
            node = self._nodes.pop()
            own = grads.pop(node.output, None)
            if own is not None and node.saved and at_first_saved:
                at_first_saved()
                at_first_saved = None
            if own is not None:
                for x, found in zip(node.inputs, node.backward(own), strict=True):
                    self._accumulate(grads, x, found)
            self.release(*node.saved, own)

    def _accumulate(self, grads: dict[Tensor, Storage], x: Tensor, found: Storage | None) -> None:
        if found is None:
            return
        if not x.needs_grad:
            self.release(found)
        elif x not in grads:
            grads[x] = found
        elif grads[x].holders == 1:
            self.release(found)
        else:
            whole = self.take(*found.size)
            self.release(found, grads[x])
            grads[x] = whole
