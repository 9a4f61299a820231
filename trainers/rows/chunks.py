"""Texts joined with end tokens and cut into pieces of one length, so that no token is lost and none is padding.

    [5 6 7 <end>] [8 9 <end>], size 4  ->  [5 6 7 <end>] [8 9 <end>]
    [5 6 7 <end>] [8 9 <end>], size 3  ->  [5 6 7] [<end> 8] [9 <end>]

The last piece is shorter; one of a single token, which nothing could be learned from, gets one from the piece before.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.rows.data import Rendered


@dataclass
class Count:
    """What went into the pieces, counted as they are made."""

    rows: int = 0
    tokens: int = 0
    """End tokens included."""


def ended(rows: "Iterable[Rendered]", end: int) -> "Iterator[Rendered]":
    """The rows with an end token behind each that has none; every token is learned.

    A chat template may write a line break behind its end of turn, which then ends the row well enough.
    """
    for row in rows:
        ids = row.input_ids if end in row.input_ids[-2:] else [*row.input_ids, end]
        yield replace(row, input_ids=ids, labels=list(ids))


def cut(rows: "Iterable[Rendered]", size: int, count: Count) -> "Iterator[Rendered]":
    """Pieces of `size` tokens; each bears the number of the row that it begins in."""
    from trainers.rows.data import Rendered

    left: list[int] = []
    begins: list[tuple[int, int]] = []  # how many of the tokens left stand before a row, and its number
    for row in rows:
        count.rows += 1
        count.tokens += len(row.input_ids)
        begins.append((len(left), row.row))
        left += row.input_ids
        place = 0
        # One token more than a piece stays back: the last one may need it.
        while len(left) - place > size + 1:
            yield _piece(Rendered, left[place : place + size], begins, place)
            place += size
        left, begins = left[place:], _moved(begins, place)
    if len(left) > size:
        first = size if len(left) - size > 1 else size - 1
        yield _piece(Rendered, left[:first], begins, 0)
        left, begins = left[first:], _moved(begins, first)
    if len(left) > 1:
        yield _piece(Rendered, left, begins, 0)


def _piece(kind: type, ids: list[int], begins: list[tuple[int, int]], place: int) -> "Rendered":
    row = next(number for start, number in reversed(begins) if start <= place)
    return kind(row, ids, list(ids))


def _moved(begins: list[tuple[int, int]], by: int) -> list[tuple[int, int]]:
    """What still counts after `by` tokens were taken: rows that begin later, and the one that is being cut."""
    current = max((start for start, _ in begins if start <= by), default=0)
    return [(max(0, start - by), number) for start, number in begins if start >= current]
