"""What a label round came to: every mark as it was made, each row's result, and what waits for an arbiter."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, distinct, func, or_, select
from sqlalchemy.orm import Session

from studio.db.labels import DONE, RoundView, TaskView, label_round, list_rounds
from studio.db.tables import Annotator, LabelDecision, LabelTask, Mark
from studio.workshop.labelling.marks import Judgement, Scale, Settled, keep_or_drop, settle


@dataclass(frozen=True, kw_only=True)
class MarkView:
    """A mark or decision as it is exported."""

    row: int
    digest: str
    annotator: str
    rating: str | None
    tags: list[str]
    correction: str | None
    note: str
    is_flagged: bool
    seconds: float | None
    saved_at: str
    counts: bool
    """False once the row is another than it was."""
    is_decision: bool = False

    def judgement(self) -> Judgement:
        return Judgement(
            annotator=self.annotator,
            rating=self.rating,
            tags=tuple(self.tags),
            correction=self.correction,
            note=self.note,
            is_flagged=self.is_flagged,
        )


def marks(session: Session, round_id: int, *, rows: Collection[int] | None = None) -> list[MarkView]:
    """Every mark and decision of a round (or of some rows of it), by row, then annotator; decisions last."""
    where = [LabelTask.round_id == round_id] + ([LabelTask.row.in_(rows)] if rows is not None else [])
    # Columns instead of objects: tens of thousands of marks are read at once.
    said = _told(Mark, "is_flagged", "seconds", "saved_at").where(*where, Mark.state == DONE)
    found = [_view(**line) for line in session.execute(said).mappings()]
    final = _told(LabelDecision, "decided_at").where(*where)
    found += [_view(**line, is_decision=True) for line in session.execute(final).mappings()]
    return sorted(found, key=lambda it: (it.row, it.is_decision, it.annotator))


def _told(kind: type[Mark | LabelDecision], *more: str) -> Select:
    """A row's number, its digest as it is now, who said it, and what."""
    same = ("digest", "rating", "tags", "correction", "note", *more)
    columns = [
        LabelTask.row,
        LabelTask.digest.label("current"),
        Annotator.name,
        *(getattr(kind, name) for name in same),
    ]
    return select(*columns).select_from(LabelTask).join(kind).join(Annotator)


def _view(*, current: str, name: str, digest: str, decided_at: str | None = None, **said: Any) -> MarkView:
    known = {"is_flagged": False, "seconds": None, "saved_at": decided_at} | said
    return MarkView(annotator=name, digest=digest, counts=digest == current, **known)


def results(scale: Scale, said: Iterable[MarkView]) -> dict[int, Settled]:
    """What the marks of each row come to; rows that nobody marked as they are now are not in it."""
    given: dict[int, list[MarkView]] = defaultdict(list)
    for each in said:
        if each.counts:
            given[each.row].append(each)
    return {row: _settled(scale, views) for row, views in given.items()}


def disputed(session: Session, round_id: int) -> list[tuple[TaskView, list[MarkView]]]:
    """Rows that wait for an arbiter, in the round's order, each with its marks."""
    scale = label_round(session, round_id).scale
    said = [each for each in marks(session, round_id, rows=_uneven(session, round_id)) if each.counts]
    waiting = {row for row, result in results(scale, said).items() if result.disputes}
    tasks = session.scalars(
        select(LabelTask).where(LabelTask.round_id == round_id, LabelTask.row.in_(waiting)).order_by(LabelTask.place)
    )
    return [
        (
            TaskView(id=it.id, round_id=round_id, row=it.row, digest=it.digest),
            [each for each in said if each.row == it.row],
        )
        for it in tasks
    ]


def ratings(session: Session, dataset: str) -> dict[int, float]:
    """Row -> mean rating as a share of the scale's highest, 0 to 1; the newest round that rated it counts."""
    return ratings_and_tags(session, dataset)[0]


def ratings_and_tags(session: Session, dataset: str) -> tuple[dict[int, float], dict[int, tuple[str, ...]]]:
    """`ratings`, and row -> its tags; of both the newest round that looked at a row counts."""
    rated: dict[int, float] = {}
    tagged: dict[int, tuple[str, ...]] = {}
    for each, settled in _by_round(session, dataset):
        highest = len(each.scale.values) if each.scale.order else 1
        rated |= {row: it.score / highest for row, it in settled.items() if it.score is not None and not it.disputes}
        tagged |= {row: it.tags for row, it in settled.items()}
    return rated, {row: given for row, given in tagged.items() if given}


def keep_marks(session: Session, dataset: str) -> dict[int, bool]:
    """Row -> keep (True) or drop: what `studio.workshop.checks.quality.train` learns from; the newest round counts."""
    found: dict[int, bool] = {}
    for each, settled in _by_round(session, dataset):
        judged = {row: keep_or_drop(each.scale, it) for row, it in settled.items()}
        found |= {row: is_kept for row, is_kept in judged.items() if is_kept is not None}
    return found


def _by_round(session: Session, dataset: str) -> Iterator[tuple[RoundView, dict[int, Settled]]]:
    """The rounds of a data set, oldest first, each with its results."""
    for each in reversed(list_rounds(session, dataset)):
        yield each, results(each.scale, marks(session, each.id))


def _uneven(session: Session, round_id: int) -> list[int]:
    """Rows whose marks are not all alike, or flagged: only these can be in dispute, and they are few."""
    query = (
        select(LabelTask.row)
        .join(Mark, and_(Mark.task_id == LabelTask.id, Mark.digest == LabelTask.digest))
        .where(LabelTask.round_id == round_id, Mark.state == DONE)
        .group_by(LabelTask.id)
        .having(
            or_(
                func.count(distinct(Mark.rating)) > 1,
                func.count(distinct(Mark.correction)) > 1,
                func.max(Mark.is_flagged) == 1,
            )
        )
    )
    return list(session.scalars(query))


def _settled(scale: Scale, views: list[MarkView]) -> Settled:
    decision = next((each.judgement() for each in views if each.is_decision), None)
    return settle(scale, [each.judgement() for each in views if not each.is_decision], decision)
