"""Rows that a model learned before: some are mixed into new ones, others show how much of them is still known.

    old = prepare(attempt, tokenizer)            ->  Old(train=280 rows, validation=20 rows), or None
    replayed(new rows, old.train, 0.2, seed=7)   ->  new rows and a quarter as many old ones: a fifth of all

Held out are the rows that the old version's own split holds out, or those that a run with the same seed would have.
"""

from dataclasses import dataclass
from typing import Any

from trainers.attempt import Attempt

SHARE = 0.1
"""Of old rows, held out where their version was not split; at most `MOST` of them."""
MOST = 200


@dataclass(frozen=True)
class Old:
    train: Any
    validation: Any
    """A `datasets.Dataset` each."""


def prepare(attempt: Attempt, tokenizer: Any) -> Old | None:
    """The old rows as tokens below `<attempt>/cache`; None where the run has none.

    Raises:
        JobFailed: no_usable_rows.
    """
    from studio.errors import JobFailed
    from trainers.data import TRAIN, VALIDATION, held_out

    dataset = attempt.spec.old_dataset
    if dataset is None:
        return None
    train, validation = (_tokens(attempt, tokenizer, split) for split in (TRAIN, VALIDATION))
    if train is None:
        raise JobFailed("no_usable_rows", dataset=dataset.name, max_length=attempt.spec.values["max_length"])
    if validation is None:
        share = attempt.spec.values["validation_split"] or SHARE
        kept, chosen = held_out(len(train), share, seed=attempt.spec.seed)
        train, validation = train.select(kept), train.select(chosen or kept)
    return Old(train, validation.select(range(min(MOST, len(validation)))))


def replayed(new: Any, old: Any, ratio: float, *, seed: int) -> Any:
    """New rows with so many old ones behind them that these are `ratio` of all; the sampler shuffles them.

    Where that is more than there are, all old rows come once more before any comes a third time.
    """
    import numpy
    from datasets import concatenate_datasets

    count = round(len(new) * ratio / (1 - ratio))
    draw, chosen = numpy.random.default_rng(seed), []
    while len(chosen) < count:
        chosen += draw.permutation(len(old)).tolist()
    more = old.select(chosen[:count])
    for name in new.column_names:
        if name not in more.column_names:  # what only new rows have: a weight, which old ones count with once
            more = more.add_column(name, [1.0] * len(more))
    return concatenate_datasets([new, more])


def _tokens(attempt: Attempt, tokenizer: Any, split: str) -> Any | None:
    from datasets import Dataset

    from trainers.data import Findings, Renderer, conversations, render_rows, write_tokens

    rows = conversations(attempt.spec.old_dataset, split=split)
    path = attempt.folder / "cache" / f"old-{split}.arrow"
    max_length = attempt.spec.values["max_length"]
    count = write_tokens(render_rows(rows, Renderer(tokenizer), max_length=max_length, findings=Findings()), path)
    return Dataset.from_file(str(path)) if count else None
