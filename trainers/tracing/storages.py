"""Tensor modes that count the memory of everything an operation makes, as long as it is alive.

with Storages() as storages: ...   storages.alive -> 1_064_960        bytes
with Terms(113, 1016) as terms: ...  terms.alive -> [8192, 0, 0, 512]  the same for every batch of rows
"""

import weakref
from collections.abc import Iterable
from typing import Any

import numpy
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Storages(TorchDispatchMode):
    """Counts the bytes of every storage that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self._nothing()
        self.moments: list[Any] = []
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
        size = self._size(storage.nbytes())
        self.alive = self.alive + size
        weakref.finalize(storage, self._gone, size)

    def _gone(self, size: Any) -> None:
        self.alive = self.alive - size

    def _nothing(self) -> Any:
        return 0

    def _size(self, size: int) -> Any:
        return size


class Grouped(TorchDispatchMode):
    """torch tells shapes of grouped products (experts that are one weight together) in bfloat16 alone; its kernels take
    float32 too. Without weights, then, they are asked in bfloat16."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.aten._grouped_mm.default or args[0].dtype == torch.bfloat16:
            return func(*args, **(kwargs or {}))
        short = (each.to(torch.bfloat16) for each in args[:2])
        return func(*short, *args[2:], **(kwargs or {})).to(args[0].dtype)


class Uneven(Exception):
    """A storage grows with the batch in no way that one shape can tell."""


class Terms(Storages):
    """Counts by how each storage grows: bytes a token, a pair of a row's tokens, a position, and fixed ones.

    One pass tells, because its rows and their tokens are made of primes that no other size has: what can be divided by
    them grows with them.

    Args:
        rows: a prime.
        row_tokens: eight times another prime.

    Raises:
        Uneven: in the pass: a storage is a sum of parts that grow differently, or grows much with the rows alone.
    """

    def __init__(self, rows: int, row_tokens: int) -> None:
        super().__init__()
        self._rows, self._row_tokens, self._prime = rows, row_tokens, row_tokens // 8

    def _nothing(self) -> Any:
        return numpy.zeros(4)

    def _size(self, size: int) -> Any:
        with_rows = size % self._rows == 0 and size > 0
        with_tokens = sum(size % self._prime**power == 0 and size > 0 for power in (1, 2))
        if with_rows and not with_tokens and size <= _FEW_BYTES * self._rows:
            return numpy.array([size / self._rows / _SHORT_ROW, 0, 0, 0])
        place = _PLACES.get((with_rows, with_tokens))
        if place is None:
            raise Uneven(size)
        found = numpy.zeros(4)
        found[place] = size / (self._rows**with_rows * self._row_tokens**with_tokens)
        return found


_FEW_BYTES, _SHORT_ROW = 1024, 128
"""What a row takes however long it is, an index mostly: counted with the tokens, as if rows were this short."""
_PLACES = {(True, 1): 0, (True, 2): 1, (False, 2): 1, (False, 1): 2, (False, 0): 3}
"""A square that all rows share, a mask mostly, counts as if each row had its own."""
