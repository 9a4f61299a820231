"""What part of the loss is whose: of each term besides the log-likelihood, and of the rows of each category.

    add("term_share/format", 3.0), add("", 9.0)  ->  take() == {"term_share/format": 0.25}

Sums since the last line of the log. `Domination` watches the lines: where one term or task takes nearly all for several
of them, the others are hardly learned, and the run says so once.
"""

from collections import Counter
from collections.abc import Mapping

from studio.params.terms import DOMINATES, TASK_SHARE, TERM_SHARE

LINES = 3
"""So many lines in a row make an alert; a single one may be chance."""


class Shares:
    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()

    def add(self, name: str, value: float) -> None:
        """Add to a share; the empty name is what no share is told of."""
        self._sums[name] += abs(value)

    def take(self) -> dict[str, float]:
        total = sum(self._sums.values())
        found = {name: value / total for name, value in self._sums.items() if name and total}
        self._sums.clear()
        return found


class Domination:
    """What has taken more than DOMINATES of the loss for LINES lines of the log in a row."""

    def __init__(self) -> None:
        self._lines: Counter[str] = Counter()

    def found(self, logs: Mapping[str, float]) -> dict[str, float]:
        """Name -> share, once for each; a task that has no other beside it dominates nothing."""
        told = {name: share for name, share in logs.items() if name.startswith((TERM_SHARE, TASK_SHARE))}
        tasks = sum(name.startswith(TASK_SHARE) for name in told)
        over = {name: share for name, share in told.items() if share > DOMINATES and self._has_others(name, tasks)}
        if told:
            self._lines = Counter({name: self._lines[name] + 1 for name in over})
        return {name: over[name] for name, lines in self._lines.items() if lines == LINES}

    @staticmethod
    def _has_others(name: str, tasks: int) -> bool:
        return name.startswith(TERM_SHARE) or tasks > 1
