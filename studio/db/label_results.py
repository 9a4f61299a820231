"""What a label round came to: every mark as it was made, each row's result, and what waits for an arbiter."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import and_, distinct, func, or_, select
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
    said = select(LabelTask, Mark, Annotator.name).select_from(LabelTask).join(Mark).join(Annotator)
    found = [
        _mark_view(task, mark, name) for task, mark, name in session.execute(said.where(*where, Mark.state == DONE))
    ]
    final = select(LabelTask, LabelDecision, Annotator.name).select_from(LabelTask).join(LabelDecision).join(Annotator)
    found += [_decision_view(task, decision, name) for task, decision, name in session.execute(final.where(*where))]
    return sorted(found, key=lambda it: (it.row, it.is_decision, it.annotator))


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
    found: dict[int, float] = {}
    for each, settled in _by_round(session, dataset):
        highest = len(each.scale.values) if each.scale.order else 1
        known = {row: it.score / highest for row, it in settled.items() if it.score is not None and not it.disputes}
        found |= known
    return found


def tags(session: Session, dataset: str) -> dict[int, tuple[str, ...]]:
    """Row -> its tags; the newest round that looked at it counts."""
    found: dict[int, tuple[str, ...]] = {}
    for _, settled in _by_round(session, dataset):
        found |= {row: it.tags for row, it in settled.items()}
    return {row: given for row, given in found.items() if given}


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


def _mark_view(task: LabelTask, mark: Mark, name: str) -> MarkView:
    same = ("digest", "rating", "tags", "correction", "note", "is_flagged", "seconds", "saved_at")
    return MarkView(
        row=task.row, annotator=name, counts=mark.digest == task.digest, **{key: getattr(mark, key) for key in same}
    )


def _decision_view(task: LabelTask, decision: LabelDecision, name: str) -> MarkView:
    same = ("digest", "rating", "tags", "correction", "note")
    return MarkView(
        row=task.row,
        annotator=name,
        is_flagged=False,
        seconds=None,
        saved_at=decision.decided_at,
        counts=decision.digest == task.digest,
        is_decision=True,
        **{key: getattr(decision, key) for key in same},
    )
