"""Numbers behind a chart: a bounded cache of open series, smoothed at full resolution, reduced to what a screen shows.

Reading and smoothing 100,000 points takes a third of a second; taking in the few points that came since the last poll
takes a millisecond. So each open series is kept as numpy arrays and only ever extended. `app.charts` draws the answers.
"""

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from studio.db import jobs, metrics
from studio.db.engine import Reader
from studio.db.jobs import JobView
from studio.errors import UnknownName

DEFAULT_SMOOTHING = 0.6
MAX_RUNS, MAX_METRICS, MAX_POINTS = 16, 32, 8000
MAX_FAMILY = 64
"""Metrics that patterns may bring besides those that are named."""
_MAX_LINES = 400
"""Open series kept; at 100,000 points one takes about 2.4 MB. Long ones push others out by `_MAX_CACHED_POINTS`."""
_MAX_CACHED_POINTS = 3_000_000
_BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class SeriesQuery:
    """One poll of one chart."""

    runs: tuple[int, ...]
    metrics: tuple[str, ...]
    families: tuple[str, ...] = ()
    """Patterns such as `rewards/*/mean`: whatever the runs have reported under such a name."""
    cursor: str = ""
    """The last answer's; what has not moved since is not sent again."""
    smooth: float = DEFAULT_SMOOTHING
    """Weight of the past in the moving average: 0 (none) to 0.99."""
    plain: tuple[str, ...] = ()
    """Metrics that are drawn as they are, never smoothed; those of evaluations never are."""
    start: float | None = None
    """First step of the visible range; None for the whole."""
    end: float | None = None
    points: int = 1600
    """About how many x positions a panel may have."""

    @classmethod
    def parse(cls, query: dict[str, str]) -> "SeriesQuery":
        """From a URL's query: runs, metric, family, cursor, smooth, plain, from, to, points.

        Raises:
            ValueError: a value is no number, or there is too much of it.
        """
        runs = tuple(int(run) for run in query.get("runs", "").split(",") if run)
        names = tuple(name for name in query.get("metric", "").split(",") if name)
        families = tuple(name for name in query.get("family", "").split(",") if name)
        if len(runs) > MAX_RUNS or len(names) + len(families) > MAX_METRICS:
            raise ValueError(f"at most {MAX_RUNS} runs and {MAX_METRICS} metrics")
        bounds = {key: float(query[name]) for key, name in (("start", "from"), ("end", "to")) if query.get(name)}
        return cls(
            runs=runs,
            metrics=names,
            families=families,
            cursor=query.get("cursor", ""),
            plain=tuple(query.get("plain", "").split(",")),
            smooth=min(max(float(query.get("smooth") or DEFAULT_SMOOTHING), 0.0), 0.99),
            points=min(max(int(query.get("points") or cls.points), 20), MAX_POINTS),
            **bounds,
        )


def ema(values: np.ndarray, weight: float, *, before: float = 0.0, seen: int = 0) -> np.ndarray:
    """Debiased exponential moving average: s = weight * s + (1 - weight) * v, divided by 1 - weight ** n.

    Exact, without a Python loop over points: each block of 128 is one matrix product, and only the carry from block to
    block is a loop. The correction is Adam's (Kingma and Ba 2015, section 3), as TensorBoard smooths too.

    Args:
        values: (points,) finite numbers.
        before: the average before its correction, where earlier points were averaged already; `seen` is their number.
    """
    if not weight or not len(values):
        return values.astype(np.float64)
    powers = weight ** np.arange(_BLOCK + 1)
    lags = np.subtract.outer(np.arange(_BLOCK), np.arange(_BLOCK))
    kernel = np.where(lags >= 0, (1 - weight) * powers[np.maximum(lags, 0)], 0.0)
    padded = np.zeros(-(-len(values) // _BLOCK) * _BLOCK)
    padded[: len(values)] = values
    within = padded.reshape(-1, _BLOCK) @ kernel.T  # (blocks, _BLOCK)
    carries, carry = np.empty(len(within)), before
    for block, end in enumerate(within[:, -1].tolist()):
        carries[block] = carry
        carry = powers[_BLOCK] * carry + end
    sums = (within + np.outer(carries, powers[1:])).ravel()[: len(values)]
    return sums / (1 - weight ** np.arange(seen + 1, seen + len(values) + 1))


@dataclass
class Line:
    """One metric of one run: the line that counts, and the stretch that a resumed run went back over."""

    steps: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    values: np.ndarray = field(default_factory=lambda: np.empty(0))
    dropped_steps: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    dropped_values: np.ndarray = field(default_factory=lambda: np.empty(0))
    end: tuple[int, int, int] = (0, 0, 0)
    """Where reading goes on (`metrics.Series.end`)."""
    _smoothed: np.ndarray = field(default_factory=lambda: np.empty(0))
    _weight: float = -1.0

    def extend(self, new: metrics.Series) -> None:
        """Take in points that came after `end`."""
        self.end = new.end
        if not len(new.steps):
            return
        for part in np.split(np.arange(len(new.steps)), np.flatnonzero(np.diff(new.attempts)) + 1):
            self._append(new.steps[part], new.values[part])

    def _append(self, steps: np.ndarray, values: np.ndarray) -> None:
        cut = int(np.searchsorted(self.steps, steps[0]))
        if cut < len(self.steps):
            self.dropped_steps = np.concatenate([self.dropped_steps, self.steps[cut:]])
            self.dropped_values = np.concatenate([self.dropped_values, self.values[cut:]])
        self.steps = np.concatenate([self.steps[:cut], steps])
        self.values = np.concatenate([self.values[:cut], values])
        self._smoothed = self._smoothed[:cut]

    def smoothed(self, weight: float) -> np.ndarray:
        """(points,) the moving average of `values`; NaN where the value is."""
        if weight != self._weight:
            self._smoothed, self._weight = np.empty(0), weight
        done = len(self._smoothed)
        if done == len(self.values):
            return self._smoothed
        seen, last = self._averaged(done)
        before = last * (1 - weight**seen)
        fresh = self.values[done:].copy()
        finite = np.isfinite(fresh)
        fresh[finite] = ema(fresh[finite], weight, before=before, seen=seen)
        fresh[~finite] = np.nan
        self._smoothed = np.concatenate([self._smoothed, fresh])
        return self._smoothed

    def _averaged(self, done: int) -> tuple[int, float]:
        """How many of the first `done` values went into the average, and the average after the last of them."""
        finite = np.isfinite(self._smoothed)
        seen = int(np.count_nonzero(finite))
        return seen, float(self._smoothed[done - 1 - np.argmax(finite[::-1])]) if seen else 0.0

    def summary(self, weight: float) -> dict[str, float | int] | None:
        """What a sentence says about the line; None without a finite point."""
        finite = np.flatnonzero(np.isfinite(self.values))
        if not len(finite):
            return None
        smooth, lowest = self.smoothed(weight), finite[np.argmin(self.values[finite])]
        return {
            "count": len(self.values),
            "first": float(self.values[finite[0]]),
            "last": float(self.values[finite[-1]]),
            "last_smooth": float(smooth[finite[-1]]),
            "last_step": int(self.steps[finite[-1]]),
            "lowest": float(self.values[lowest]),
            "lowest_step": int(self.steps[lowest]),
        }


class SeriesCache:
    """The open series of all charts, oldest out first. Safe to share between threads."""

    def __init__(self, registry: Reader) -> None:
        self._registry = registry
        self._lines: OrderedDict[tuple[int, str], Line] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, query: SeriesQuery) -> dict[str, Any]:
        """The JSON document of `/api/series`: `{"cursor", "same": true}`, or the cursor and a panel for each metric."""
        with self._lock, self._registry.session() as session:
            cursor = str(jobs.change(session))
            if query.cursor and query.cursor.split(":")[0] == cursor:
                return {"cursor": query.cursor, "same": True}
            lines = {}
            known = _known(session, query.runs)
            names = query.metrics + _of_families(session, query)
            for job in known:
                for name in names:
                    lines[job.id, name] = line = self._line((job.id, name))
                    line.extend(metrics.points(session, job.id, name, after=line.end))
            ends = ",".join(f"{line.end[0]}.{line.end[1]}.{line.end[2]}" for line in lines.values())
            cursor = f"{cursor}:{ends}"
            if query.cursor.partition(":")[2] == ends and query.cursor:
                return {"cursor": cursor, "same": True}
            panels = {
                name: _panel(
                    {run: line for (run, of), line in lines.items() if of == name},
                    replace(query, smooth=0.0) if name in query.plain or name.startswith("eval_") else query,
                )
                for name in names
            }
            self._forget()
        titles = {job.id: {"title": job.title, "state": job.state} for job in known}
        return {"cursor": cursor, "runs": titles, "panels": panels}

    def _line(self, key: tuple[int, str]) -> Line:
        line = self._lines.setdefault(key, Line())
        self._lines.move_to_end(key)
        return line

    def _forget(self) -> None:
        while len(self._lines) > _MAX_LINES or (
            len(self._lines) > 1 and sum(len(line.steps) for line in self._lines.values()) > _MAX_CACHED_POINTS
        ):
            self._lines.popitem(last=False)


def _known(session: Session, runs: tuple[int, ...]) -> list[JobView]:
    """Those of the runs that exist."""
    found = []
    for run in runs:
        with suppress(UnknownName):
            found.append(jobs.job(session, run))
    return found


def _of_families(session: Session, query: SeriesQuery) -> tuple[str, ...]:
    """What the runs have reported that a pattern asks for, in the order of the names."""
    if not query.families:
        return ()
    told = {name for run in query.runs for name in metrics.names(session, run)} - set(query.metrics)
    found = sorted(name for name in told if any(fnmatchcase(name, family) for family in query.families))
    return tuple(found[:MAX_FAMILY])


def _panel(lines: dict[int, Line], query: SeriesQuery) -> dict[str, Any]:
    """Shared x positions, and each line's values at them (null: no value here; false: a value that was no number)."""
    views = []
    for run, line in lines.items():
        views.append((run, "raw", line.steps, line.values))
        if query.smooth:
            views.append((run, "smooth", line.steps, line.smoothed(query.smooth)))
        if len(line.dropped_steps):
            order = np.argsort(line.dropped_steps, kind="stable")
            views.append((run, "dropped", line.dropped_steps[order], line.dropped_values[order]))
    visible = [(run, kind, *_window(steps, values, query)) for run, kind, steps, values in views]
    x, columns = reduce_lines([(steps, values) for _, _, steps, values in visible], query.points)
    drawn: dict[int, dict[str, Any]] = {run: {"run": run} for run in lines}
    for (run, kind, _, _), column in zip(visible, columns, strict=True):
        drawn[run][kind] = column
    for run, line in lines.items():
        drawn[run]["summary"] = line.summary(query.smooth)
    return {"x": x, "lines": list(drawn.values())}


def _window(steps: np.ndarray, values: np.ndarray, query: SeriesQuery) -> tuple[np.ndarray, np.ndarray]:
    """The visible points and one more on either side, so that the line runs out of the picture."""
    low = 0 if query.start is None else max(0, int(np.searchsorted(steps, query.start)) - 1)
    high = len(steps) if query.end is None else int(np.searchsorted(steps, query.end, side="right")) + 1
    return steps[low:high], values[low:high]


def reduce_lines(lines: list[tuple[np.ndarray, np.ndarray]], points: int) -> tuple[list[float], list[list]]:
    """Bring lines to shared x positions, at most about `points`: as they are, or each bucket's two extremes.

    Returns:
        x positions, and per line its values at them: a number, None (nothing here) or False (not a finite number).
    """
    filled = [steps for steps, _ in lines if len(steps)]
    if not filled:
        return [], [[] for _ in lines]
    if max(map(len, filled)) <= points:  # else not worth uniting: that takes longer than all the rest
        x = np.unique(np.concatenate(filled))
        if len(x) <= points:
            return x.tolist(), [_aligned(x, steps, values) for steps, values in lines]
    low, high = min(float(steps[0]) for steps in filled), max(float(steps[-1]) for steps in filled)
    width = (high - low) / (points // 2)
    columns = [_bucketed(steps, values, low, width, points // 2) for steps, values in lines]
    used = np.flatnonzero(np.any([held for held, _ in columns], axis=0))
    places = low + width * (used[:, None] + np.array([0.25, 0.75]))
    return places.ravel().tolist(), [_as_json(pairs[used].ravel(), np.repeat(held[used], 2)) for held, pairs in columns]


def _aligned(x: np.ndarray, steps: np.ndarray, values: np.ndarray) -> list:
    column, held = np.zeros(len(x)), np.zeros(len(x), bool)
    places = np.searchsorted(x, steps)
    column[places], held[places] = values, True
    return _as_json(column, held)


def _bucketed(
    steps: np.ndarray, values: np.ndarray, low: float, width: float, buckets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which buckets hold points, (buckets,), and each one's two values in the order of their trend, (buckets, 2)."""
    held, pairs = np.zeros(buckets, bool), np.zeros((buckets, 2))
    if not len(steps):
        return held, pairs
    # Steps are in order, so a bucket's points lie side by side: only the borders are looked up.
    borders = np.searchsorted(steps, low + width * np.arange(buckets))
    ends = np.append(borders[1:], len(steps))
    place = np.flatnonzero(ends > borders)
    starts = borders[place]
    lowest, highest = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    rises = values[starts] <= values[ends[place] - 1]
    held[place] = True
    pairs[place, 0], pairs[place, 1] = np.where(rises, lowest, highest), np.where(rises, highest, lowest)
    return held, pairs


def _as_json(column: np.ndarray, held: np.ndarray) -> list:
    listed: list = column.tolist()
    for place in np.flatnonzero(~(held & np.isfinite(column))).tolist():
        listed[place] = False if held[place] else None
    return listed
