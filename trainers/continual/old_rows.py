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
    from trainers.rows.data import TRAIN, VALIDATION, held_out

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


def mixed_in(attempt: Attempt, new: Any, old: Old | None) -> Any:
    """The rows to train on, with old ones among them where the run replays them."""
    values = attempt.spec.values
    if old is None or values.get("continual") != "replay":
        return new
    return replayed(new, old.train, values["replay_ratio"], seed=attempt.spec.seed)


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

    from studio.params.methods import method_of
    from studio.workshop.versions.layout import TEXT
    from trainers.rows.chunks import Count, cut, ended
    from trainers.rows.data import Findings, Renderer, conversations, render_rows, tell_left_out, write_tokens

    dataset, values, findings = attempt.spec.old_dataset, attempt.spec.values, Findings()
    path, max_length = attempt.folder / "cache" / f"old-{split}.arrow", values["max_length"]
    # Texts are read whole, as the new ones are.
    is_cut = method_of(values).joins_rows and dataset.format == TEXT
    rows, limit = conversations(dataset, split=split), None if is_cut else max_length
    renderer = Renderer(tokenizer, reasoning=values.get("reasoning", "keep"))
    rendered = render_rows(rows, renderer, max_length=limit, findings=findings)
    if is_cut:
        rendered = cut(ended(rendered, tokenizer.eos_token_id), max_length, Count())
    count = write_tokens(rendered, path)
    tell_left_out(attempt, "old_rows_left_out", findings, dataset.name)
    return Dataset.from_file(str(path)) if count else None
