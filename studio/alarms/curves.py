"""What a run has told of itself as curves, and the few numbers that say how one runs.

early and late: the medians of the first and of the last fifth of a curve (3 to 20 points, which never overlap).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from studio.db import metrics

LEAST, MOST = 3, 20


@dataclass(frozen=True)
class Curve:
    """Points of the line that counts: what a resumed run did again is left out. Finite values alone."""

    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def window(self) -> int:
        """How many points are its beginning, and how many its end; 0 where it is too short to have both."""
        return min(MOST, max(LEAST, len(self) // 5)) if len(self) >= 2 * LEAST else 0

    @property
    def early(self) -> float | None:
        return float(np.median(self.values[: self.window])) if self.window else None

    @property
    def late(self) -> float | None:
        return float(np.median(self.values[-self.window :])) if self.window else None

    @property
    def best(self) -> float | None:
        """The greatest mean of as many neighbours as the windows have."""
        if not self.window:
            return None
        return float(np.convolve(self.values, np.ones(self.window) / self.window, "valid").max())

    def gain(self) -> tuple[float, float] | None:
        """The last third's mean above the first third's, and that in standard errors (Welch's t); None if too short."""
        third = len(self) // 3
        if third < LEAST:
            return None
        first, last = self.values[:third], self.values[-third:]
        gained = float(last.mean() - first.mean())
        error = float(np.sqrt(first.var(ddof=1) / third + last.var(ddof=1) / third))
        if error > 0:
            return gained, gained / error
        return gained, float(np.copysign(np.inf, gained)) if gained else 0.0

    def swing(self) -> float | None:
        """Standard deviation of the second half by its mean; None where there is too little of it."""
        half = self.values[len(self) // 2 :]
        if len(half) < LEAST or not half.mean() > 0:
            return None
        return float(half.std() / half.mean())


def curve(steps: Iterable[int], values: Iterable[float], attempts: Iterable[int] | None = None) -> Curve:
    """From points in the order in which they were measured."""
    at, found = np.asarray(steps, np.int64), np.asarray(values, np.float64)
    tries = np.zeros(len(at), np.int64) if attempts is None else np.asarray(attempts, np.int64)
    keeps = np.isfinite(found)
    for begin in np.flatnonzero(np.diff(tries)) + 1:
        keeps[:begin] &= at[:begin] < at[begin]
    return Curve(at[keeps], found[keeps])


def read_curves(session: Session, job_id: int) -> dict[str, Curve]:
    """Everything that a run has told, by metric."""
    found = {}
    for name in metrics.names(session, job_id):
        points = metrics.points(session, job_id, name)
        found[name] = curve(points.steps, points.values, points.attempts)
    return found
