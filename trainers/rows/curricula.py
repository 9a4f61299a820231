"""The order of the rows over a whole run, where the data set stands from easy to hard.

    order_of_run("staged", 6, 12, seed=1)   ->  [1, 0, 0, 1 | 3, 0, 2, 1 | 5, 2, 0, 4]    3 stages: a third, two, all

easy_to_hard   every epoch goes through all rows from the easiest to the hardest
staged         the run has STAGES parts; each draws from the easiest rows, more of them each time, in random order
               (Bengio et al. 2009)
continuous     the easiest tenth at first, then ever more, all from the middle of the run on; the share grows with the
               square root of the steps (Platanias et al. 2019)

The order is drawn once from the seed alone, so a run that goes on has it again.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy
from torch.utils.data import Sampler

from studio.params.curriculum import CONTINUOUS, EASY_TO_HARD, STAGED

STAGES = 3
FIRST_SHARE = 0.1
"""Of the rows, with which `continuous` begins."""
ALL_FROM = 0.5
"""Of the run: from here on it draws from all rows."""


def order_of_run(kind: str, rows: int, total: int, *, seed: int) -> numpy.ndarray:
    """`total` places of rows, the easiest being 0."""
    chance = numpy.random.default_rng(seed)
    if kind == EASY_TO_HARD:
        return numpy.resize(numpy.arange(rows), total)
    if kind == STAGED:
        ends = [total * stage // STAGES for stage in range(STAGES + 1)]
        pools = [ceil(rows * stage / STAGES) for stage in range(1, STAGES + 1)]
        lengths = numpy.diff(ends)
        return numpy.concatenate([_drawn(chance, *part) for part in zip(pools, lengths, strict=True)])
    assert kind == CONTINUOUS, kind
    growing = int(total * ALL_FROM)
    shares = numpy.sqrt(numpy.arange(growing) / max(1, growing) * (1 - FIRST_SHARE**2) + FIRST_SHARE**2)
    pools = numpy.maximum(1, numpy.ceil(shares * rows).astype(int))
    return numpy.concatenate([chance.integers(pools), _drawn(chance, rows, total - growing)])


def _drawn(chance: numpy.random.Generator, pool: int, length: int) -> numpy.ndarray:
    """Shuffled rounds through the pool."""
    rounds = [chance.permutation(pool) for _ in range(-(-length // pool))]
    return numpy.concatenate(rounds)[:length] if rounds else numpy.empty(0, int)


class OrderedRows(Sampler):
    def __init__(self, order: numpy.ndarray, rows: int) -> None:
        self._order, self._rows, self._epoch = order, rows, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        first = self._epoch * self._rows
        return iter(self._order[first : first + self._rows].tolist())


class FollowsCurriculum:
    """For a transformers trainer whose rows stand from easy to hard."""

    values: dict[str, Any]

    def _get_train_sampler(self, train_dataset: Any = None) -> OrderedRows:
        rows, args = len(self.train_dataset if train_dataset is None else train_dataset), self.args
        batch = args.train_batch_size * args.gradient_accumulation_steps
        total = args.max_steps * batch if args.max_steps > 0 else ceil(args.num_train_epochs * rows)
        # The last epoch is drawn whole, as the trainer asks for it.
        whole = rows * ceil(total / rows)
        order = order_of_run(self.values["curriculum"], rows, total, seed=args.seed)
        return OrderedRows(numpy.concatenate([order, numpy.arange(whole - total)]), rows)
