"""What is known of the data as a method learns from it: texts that are joined count in pieces of `max_length` tokens.

300 texts of 90 tokens each, max_length 512  ->  rows=53, every one of them 512 tokens long
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from studio.advisor.facts import Facts, Lengths
from studio.params.methods import method_of

SIZES = (1024, 512, 256, 128)
"""Lengths of pieces to choose from, the longest first."""
LEAST_PIECES = 32
"""So many a run should have, or one update sees too much of the text at once (ours)."""


def as_learned(facts: Facts, values: Mapping[str, Any]) -> Facts:
    """The facts with rows and lengths as a run with these values has them."""
    if facts.is_joined or facts.lengths is None or not facts.rows or not method_of(values).joins_rows:
        return facts
    size = values["max_length"]
    return replace(
        facts,
        rows=num_pieces(facts, size),
        validation_rows=_pieces(facts, facts.validation_rows, size),
        lengths=Lengths(mean=size, p95=size, p99=size, longest=size),
        is_joined=True,
    )


def num_pieces(facts: Facts, size: int) -> int:
    return _pieces(facts, facts.rows, size)


def piece_size(facts: Facts) -> int:
    """The longest of `SIZES` that the model reads and that leaves enough pieces."""
    readable = [size for size in SIZES if size <= (facts.max_positions or size)] or [facts.max_positions]
    return next((size for size in readable if num_pieces(facts, size) >= LEAST_PIECES), readable[-1])


def _pieces(facts: Facts, rows: int, size: int) -> int:
    return math.ceil(rows * facts.lengths.mean / size)
