"""The first batch, as the model gets it: held against the rows that it was made of, and told once.

    rows [{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}]  ->  event {"rows": [[["<s>", False], ["Lyon.", True]]],
                                                                        "count": 1, "tokens": 3, "learned": 2}

Between the rows as tokens and the model stand the library's own preparing and collating. What it would teach there
besides the answers, or leave out of them, shows in the first batch, before a step is taken.
"""

from collections.abc import Callable, Sequence
from typing import Any

from studio.errors import JobFailed

MOST_ROWS = 8
MOST_TOKENS = 2000
"""Of each row that is told; the rest of a longer one is left out, and the page says so."""

Row = dict[str, Any]


class TellsFirstBatch:
    """For a trl SFT trainer. `tell_batch` is set before training; without it nothing is looked at."""

    tell_batch: Callable[..., None] | None = None

    def get_train_dataloader(self) -> Any:
        own = self.data_collator
        if self.tell_batch is not None:
            self.data_collator = _Looking(own, self._look)
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = own

    def _look(self, rows: Sequence[Row], batch: dict[str, Any]) -> None:
        check(rows, batch)
        self.tell_batch(**told(rows, self.processing_class))


class _Looking:
    """A collator whose first batch is looked at."""

    def __init__(self, collate: Callable[[list[Row]], Any], look: Callable[[list[Row], Any], None]) -> None:
        self._collate, self._look = collate, look

    def __call__(self, rows: list[Row]) -> Any:
        batch = self._collate(rows)
        look, self._look = self._look, None
        if look is not None:
            look(rows, batch)
        return batch


def check(rows: Sequence[Row], batch: dict[str, Any]) -> None:
    """
    Raises:
        JobFailed: batch.otherwise: other tokens than those of the rows are learned; batch.nothing: none at all.
    """
    from trainers.rows.data import IGNORED

    labels = batch["labels"]  # (B, T), or (1, T) where rows lie in one sequence
    is_joined = "position_ids" in batch
    wanted = [label for row in rows for label in _labels(row, is_joined) if label != IGNORED]
    found = labels[labels != IGNORED].tolist()
    if found != wanted:
        raise JobFailed("batch.otherwise", expected=len(wanted), found=len(found))
    if not found:
        raise JobFailed("batch.nothing", rows=len(rows))


def _labels(row: Row, is_joined: bool) -> list[int]:
    """In one sequence with others the first token of each row has nothing before it that it could be told from."""
    from trainers.rows.data import IGNORED

    if not is_joined:
        return row["labels"]
    labels, place = list(row["labels"]), 0
    for size in row.get("seq_lengths", [len(labels)]):
        labels[place] = IGNORED
        place += size
    return labels


def told(rows: Sequence[Row], tokenizer: Any) -> dict[str, Any]:
    """What `studio.protocol.Event` says of a `batch`."""
    from trainers.rows.data import IGNORED, Rendered, segments

    shown = [Rendered(0, row["input_ids"][:MOST_TOKENS], row["labels"][:MOST_TOKENS]) for row in rows[:MOST_ROWS]]
    return {
        "rows": [segments(row, tokenizer) for row in shown],
        "is_cut": any(len(row["input_ids"]) > MOST_TOKENS for row in rows[:MOST_ROWS]),
        "count": sum(len(row.get("seq_lengths", [0])) for row in rows),
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "learned": sum(label != IGNORED for row in rows for label in row["labels"]),
    }
