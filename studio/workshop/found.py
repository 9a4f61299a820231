"""Findings, collected one by one while a step looks at texts.

found = Findings()
found.add(7, "clean.noise.urls", "prompt", MARK, count=2)
found.frame()  ->  one line with the columns of FINDINGS_SCHEMA
"""

from typing import Any

import msgspec
import polars as pl

from studio.workshop.clean.outcome import FINDINGS_SCHEMA, REMOVE

CONTEXT_CHARACTERS = 30
SHOWN_CHARACTERS = 200

_encode = msgspec.json.Encoder().encode


class Findings:
    """What a step has to say, in the order in which it said it."""

    def __init__(self) -> None:
        self._lines: list[tuple] = []

    def add(self, row: int, code: str, field: str, action: str, **values: Any) -> None:
        self._lines.append((row, code, field, action, _encode(values).decode(), None, None))

    def add_change(self, row: int, code: str, field: str, action: str, **values: Any) -> None:
        """As `add`; `before` and `after` are the whole texts, and only the part that differs is kept."""
        before, after = difference(values.pop("before"), values.pop("after"))
        self._lines.append((row, code, field, action, _encode(values).decode(), before, after))

    def frame(self) -> pl.DataFrame:
        """All findings in row order; of a removed row only why it was removed."""
        frame = pl.DataFrame(self._lines, schema=FINDINGS_SCHEMA, orient="row")
        removed = frame.filter(pl.col("action") == REMOVE)["row"].unique().implode()
        stays = (pl.col("action") == REMOVE) | ~pl.col("row").is_in(removed)
        return frame.filter(stays).sort("row", maintain_order=True)


def without_removed(rows: pl.DataFrame, findings: pl.DataFrame) -> pl.DataFrame:
    """`rows` less those that a finding removes."""
    removed = findings.filter(pl.col("action") == REMOVE)["row"].unique()
    return rows.filter(~pl.col("row").is_in(removed.implode())) if removed.len() else rows


def difference(before: str, after: str) -> tuple[str, str]:
    """The parts of two texts that differ, with a little around them.

    ("... a long text with  two spaces in it ...", "...")  ->  ("text with  two spaces", "text with two spaces")
    """
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    first = max(0, start - CONTEXT_CHARACTERS)
    return tuple(_shown(text, first, len(text) - end + CONTEXT_CHARACTERS) for text in (before, after))


def _common(one: str, other: str) -> int:
    """Length of the common beginning; halved again and again, for comparing slices costs far less than characters."""
    same, differ = 0, min(len(one), len(other)) + 1
    while differ - same > 1:
        middle = (same + differ) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            differ = middle
    return same


def _shown(text: str, first: int, last: int) -> str:
    part = text[first:last]
    if len(part) > SHOWN_CHARACTERS:
        half = SHOWN_CHARACTERS // 2
        part = part[:half] + " … " + part[-half:]
    return ("…" if first else "") + part + ("…" if last < len(text) else "")
