"""Metric points, packed: a chunk row holds up to `CHUNK_POINTS` points, so 10,000 runs of 1,000 points stay quick."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from studio.db.tables import MetricChunk

CHUNK_POINTS = 512


@dataclass(frozen=True)
class Series:
    """Points in the order in which they were measured; a resumed run's steps may go back."""

    steps: np.ndarray
    """(points,) int64"""
    values: np.ndarray
    """(points,) float64; NaN where the job reported no finite number."""
    attempts: np.ndarray
    """(points,) int64: the attempt that measured each point."""
    end: tuple[int, int, int]
    """(attempt, chunk, count) after the last point: hand it to `points` to get only what is new."""


def append(session: Session, job_id: int, attempt: int, points: dict[str, list[tuple[int, float]]]) -> None:
    """Add points, by metric name, after those that stand."""
    for name, added in points.items():
        while added:
            chunk = _open_chunk(session, job_id, name, attempt)
            taken, added = added[: CHUNK_POINTS - chunk.count], added[CHUNK_POINTS - chunk.count :]
            chunk.steps += np.array([step for step, _ in taken], dtype="<i8").tobytes()
            chunk.values += np.array([value for _, value in taken], dtype="<f8").tobytes()
            chunk.count += len(taken)
            session.flush()


def points(session: Session, job_id: int, name: str, *, after: tuple[int, int, int] = (0, 0, 0)) -> Series:
    """A series, or with `after` (an earlier `Series.end`) only its new points."""
    attempt, number, seen = after
    chunks = session.execute(
        select(MetricChunk.attempt, MetricChunk.number, MetricChunk.count, MetricChunk.steps, MetricChunk.values)
        .where(
            MetricChunk.job_id == job_id,
            MetricChunk.name == name,
            tuple_(MetricChunk.attempt, MetricChunk.number) >= (attempt, number),
        )
        .order_by(MetricChunk.attempt, MetricChunk.number)
    ).all()
    steps, values, attempts = [], [], []
    end = after
    for chunk in chunks:
        skip = seen if (chunk.attempt, chunk.number) == (attempt, number) else 0
        steps.append(np.frombuffer(chunk.steps, dtype="<i8")[skip:])
        values.append(np.frombuffer(chunk.values, dtype="<f8")[skip:])
        attempts.append(np.full(chunk.count - skip, chunk.attempt, dtype=np.int64))
        end = (chunk.attempt, chunk.number, chunk.count)
    return Series(
        np.concatenate(steps) if steps else np.empty(0, np.int64),
        np.concatenate(values) if values else np.empty(0, np.float64),
        np.concatenate(attempts) if attempts else np.empty(0, np.int64),
        end,
    )


def names(session: Session, job_id: int) -> list[str]:
    """The metrics that a job has reported."""
    query = select(MetricChunk.name).where(MetricChunk.job_id == job_id).distinct().order_by(MetricChunk.name)
    return list(session.scalars(query))


def _open_chunk(session: Session, job_id: int, name: str, attempt: int) -> MetricChunk:
    last = session.scalar(
        select(MetricChunk)
        .where(MetricChunk.job_id == job_id, MetricChunk.name == name, MetricChunk.attempt == attempt)
        .order_by(MetricChunk.number.desc())
        .limit(1)
    )
    if last is not None and last.count < CHUNK_POINTS:
        return last
    number = 0 if last is None else last.number + 1
    chunk = MetricChunk(job_id=job_id, name=name, attempt=attempt, number=number, count=0, steps=b"", values=b"")
    session.add(chunk)
    return chunk
