"""What decoding a line of JSON does not tell: whether a key stands twice (the decoder keeps its last value).

    count_quotes([b'{"a": "x"}', b'{"a": "x", "a": "y"}'])  ->  [4, 8]

A line with `n` strings, keys among them, holds 2n quotes, and more only if a key stands twice or a text has quotes
within. Counting them for many lines together is several times faster than looking for each line's keys.
"""

from collections.abc import Sequence
from itertools import accumulate

_COUNTED_LINES = 50
"""So many at once stay in the processor's cache."""
_NARROW = 1 << 16
_QUOTE = 0x22


def count_quotes(lines: Sequence[bytes]) -> list[int]:
    """How many quotes each line holds."""
    counts: list[int] = []
    for start in range(0, len(lines), _COUNTED_LINES):
        counts += _counted(lines[start : start + _COUNTED_LINES])
    return counts


def _counted(lines: Sequence[bytes]) -> list[int]:
    import numpy

    data = numpy.frombuffer(b"\n".join(lines) + b"\n", numpy.uint8)
    sizes = [len(line) + 1 for line in lines]
    starts = numpy.fromiter(accumulate(sizes[:-1], initial=0), numpy.int64, len(sizes))
    kind = numpy.uint16 if max(sizes) < _NARROW else numpy.int64  # the narrow one is three times as fast
    return numpy.add.reduceat((data == _QUOTE).view(numpy.uint8), starts, dtype=kind).tolist()
