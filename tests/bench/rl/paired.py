"""Two runs judged on the same questions: how they differ, and how sure that is.

difference([0, 0, 1], [1, 1, 1]).told   ->  "+0.667 (+0.000 to +1.000)"
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

DRAWS = 10_000


@dataclass(frozen=True)
class Difference:
    mean: float
    low: float
    high: float
    """The middle 95 % of the bootstrap distribution."""

    @property
    def told(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"

    def reading(self, *, above: str, below: str, neither: str) -> str:
        """One of three words: the interval lies above 0, below it, or holds it."""
        if self.low > 0:
            return above
        return below if self.high < 0 else neither


def difference(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Difference:
    """Of paired figures, question by question (paired bootstrap, Efron 1979)."""
    gains = numpy.asarray(after) - numpy.asarray(before)
    places = numpy.random.default_rng(seed).integers(len(gains), size=(DRAWS, len(gains)))
    low, high = numpy.quantile(gains[places].mean(axis=1), [0.025, 0.975])
    return Difference(float(gains.mean()), float(low), float(high))
