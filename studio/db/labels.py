"""Label rounds in the registry: which row is whose next, what was said of it, what was decided.

A mark counts while its digest is that of its task, that is while the row in the round's version is as it was when it
was marked. Marks of a row as it was before stay, and count again if the row comes back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from studio.db.engine import next_change
from studio.db.tables import Annotator, Dataset, LabelDecision, LabelRound, LabelTask, Mark
from studio.errors import Conflict, UnknownName
from studio.protocol import utc_now
from studio.workshop.labelling.marks import Judgement, Scale

CLAIMED, SKIPPED, DONE = "claimed", "skipped", "done"


@dataclass(frozen=True, kw_only=True)
class RoundView:
    """One round and how far it is."""

    id: int
    dataset: str
    name: str
    guide: str
    scale: Scale
    tags: list[str]
    num_annotators: int
    sampling: dict[str, Any]
    version_number: int
    is_closed: bool
    created_at: str
    rows: int
    """Rows to mark that are still in the data set."""
    gone: int
    """Rows that no longer are."""
    done: int
    """Rows with as many marks as are wanted, or decided."""


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """One row of a round, as an annotator or the arbiter gets it."""

    id: int
    round_id: int
    row: int
    digest: str
    mark: Judgement | None = None
    """What the annotator had said before taking it back."""


# -- rounds ----------------------------------------------------------------------------------------------------------


def add_round(session: Session, dataset_id: int, rows: Iterable[tuple[int, str]], **fields: Any) -> int:
    """Enter a round with its rows (number, digest) in the order in which they are to be marked.

    Raises:
        Conflict: the data set has a round of that name.
    """
    taken = exists().where(LabelRound.dataset_id == dataset_id, LabelRound.name == fields["name"])
    if session.scalar(select(taken)):
        raise Conflict("labels.round_exists", name=fields["name"])
    scale = msgspec.to_builtins(fields.pop("scale"))
    made = LabelRound(dataset_id=dataset_id, scale=scale, is_closed=False, created_at=utc_now(), **fields)
    session.add(made)
    session.flush()
    tasks = [
        {"round_id": made.id, "place": place, "row": row, "digest": digest} for place, (row, digest) in enumerate(rows)
    ]
    if tasks:
        session.execute(insert(LabelTask), tasks)
    next_change(session)
    return made.id


def list_rounds(session: Session, dataset: str | None = None) -> list[RoundView]:
    """Newest first; of one data set, or all."""
    query = _rounds().order_by(LabelRound.id.desc())
    if dataset is not None:
        query = query.where(Dataset.name == dataset)
    return [_round(session, *row) for row in session.execute(query).all()]


def label_round(session: Session, round_id: int) -> RoundView:
    """
    Raises:
        UnknownName: no round of that number.
    """
    row = session.execute(_rounds().where(LabelRound.id == round_id)).first()
    if row is None:
        raise UnknownName("labels.unknown_round", round=round_id)
    return _round(session, *row)


def change_round(session: Session, round_id: int, **fields: Any) -> None:
    """Set guide, tags or is_closed."""
    label_round(session, round_id)
    session.execute(update(LabelRound).where(LabelRound.id == round_id).values(**fields))
    next_change(session)


def task_rows(session: Session, round_id: int) -> list[int]:
    query = select(LabelTask.row).where(LabelTask.round_id == round_id).order_by(LabelTask.place)
    return list(session.scalars(query))


def set_digests(session: Session, round_id: int, version_number: int, digests: Mapping[int, str]) -> None:
    """What the round's rows are in another version; those not in `digests` are not in it."""
    for task in session.scalars(select(LabelTask).where(LabelTask.round_id == round_id)):
        task.digest = digests.get(task.row)
    change_round(session, round_id, version_number=version_number)


# -- marking ---------------------------------------------------------------------------------------------------------


def annotator_id(session: Session, name: str) -> int:
    """The annotator of this name, entered if new."""
    known = session.scalar(select(Annotator.id).where(Annotator.name == name))
    if known is not None:
        return known
    made = Annotator(name=name, created_at=utc_now())
    session.add(made)
    session.flush()
    return made.id


def claim_next(session: Session, round_id: int, annotator: int, *, now: str, stale: str) -> TaskView | None:
    """Give an annotator the next row that still wants a mark and that they did not mark or skip; None if none is left.

    What they hold already comes first. Rows on others' screens count as marked, unless claimed before `stale`.
    """
    held = _of_round(round_id).where(_has_mark(annotator, [CLAIMED]), ~_is_decided())
    new = (
        _of_round(round_id)
        .join(LabelRound, LabelRound.id == LabelTask.round_id)
        .where(
            ~_has_mark(annotator, [CLAIMED, SKIPPED, DONE]),
            ~_is_decided(),
            _num_marks(annotator, stale) < LabelRound.num_annotators,
        )
    )
    task = _first(session, held) or _first(session, new)
    if task is None:
        return None
    mark = _own_mark(session, task, annotator)
    if mark is None:
        mark = Mark(task_id=task.id, annotator_id=annotator, digest=task.digest, tags=[], note="", is_flagged=False)
        session.add(mark)
    mark.state, mark.claimed_at = CLAIMED, now
    session.flush()
    before = _judgement(mark, "") if mark.saved_at else None
    return TaskView(id=task.id, round_id=round_id, row=task.row, digest=task.digest, mark=before)


def keep_mark(  # noqa: PLR0913 - who, what, where and when
    session: Session, task_id: int, annotator: int, digest: str, said: Judgement | None, *, now: str, seconds: Any
) -> None:
    """Save what an annotator said of a row as it was when it was `digest`; None: they skip it.

    Args:
        seconds: None, or a function of the time at which the row was shown.
    """
    where = (Mark.task_id == task_id, Mark.annotator_id == annotator, Mark.digest == digest)
    mark = session.scalar(select(Mark).where(*where))
    if mark is None:
        mark = Mark(task_id=task_id, annotator_id=annotator, digest=digest, claimed_at=now)
        session.add(mark)
    said, mark.state = (said, DONE) if said else (Judgement(annotator=""), SKIPPED)
    mark.rating, mark.tags, mark.correction = said.rating, list(said.tags), said.correction
    mark.note, mark.is_flagged = said.note, said.is_flagged
    mark.seconds = seconds(mark.claimed_at) if callable(seconds) else seconds
    mark.saved_at = now
    session.flush()
    next_change(session)


def take_back(session: Session, round_id: int, annotator: int) -> int | None:
    """The annotator's last mark or skip of a round is open again, as it was; returns its row, or None if there is none.

    A row on the annotator's screen that they had said nothing of goes back to the others.
    """
    mine = select(Mark).join(LabelTask).where(LabelTask.round_id == round_id, Mark.annotator_id == annotator)
    last = session.scalars(
        mine.where(Mark.state.in_([DONE, SKIPPED]), Mark.digest == LabelTask.digest, ~_is_decided())
        .order_by(Mark.saved_at.desc(), Mark.id.desc())
        .limit(1)
    ).first()
    if last is None:
        return None
    held = mine.where(Mark.state == CLAIMED, Mark.saved_at.is_(None)).with_only_columns(Mark.id)
    session.execute(delete(Mark).where(Mark.id.in_(held.scalar_subquery())))
    last.state = CLAIMED
    session.flush()
    next_change(session)
    return session.get_one(LabelTask, last.task_id).row


def task(session: Session, task_id: int) -> LabelTask:
    """
    Raises:
        UnknownName: no such task.
    """
    found = session.get(LabelTask, task_id)
    if found is None:
        raise UnknownName("labels.unknown_task", task=task_id)
    return found


def task_of_row(session: Session, round_id: int, row: int) -> LabelTask | None:
    return session.scalar(select(LabelTask).where(LabelTask.round_id == round_id, LabelTask.row == row))


def keep_decision(session: Session, task_id: int, arbiter: int, digest: str, said: Judgement) -> None:
    """Record an arbiter's final word.

    Raises:
        Conflict: the row as it is has been decided already.
    """
    if session.get(LabelDecision, (task_id, digest)):
        raise Conflict("labels.decided", row=task(session, task_id).row)
    session.add(
        LabelDecision(
            task_id=task_id,
            digest=digest,
            annotator_id=arbiter,
            rating=said.rating,
            tags=list(said.tags),
            correction=said.correction,
            note=said.note,
            decided_at=utc_now(),
        )
    )
    next_change(session)


# -- pieces of queries -----------------------------------------------------------------------------------------------


def _rounds() -> Select:
    return select(LabelRound, Dataset.name).join(Dataset, Dataset.id == LabelRound.dataset_id)


def _of_round(round_id: int) -> Select:
    return select(LabelTask).where(LabelTask.round_id == round_id, LabelTask.digest.is_not(None))


def _of_task() -> ColumnElement[bool]:
    """The mark is of the task's row as it is now."""
    return and_(Mark.task_id == LabelTask.id, Mark.digest == LabelTask.digest)


def _first(session: Session, tasks: Select) -> LabelTask | None:
    """The first in the round's order."""
    return session.scalars(tasks.order_by(LabelTask.place).limit(1)).first()


def _has_mark(annotator: int, states: list[str]) -> ColumnElement[bool]:
    found = select(Mark.id).where(_of_task(), Mark.annotator_id == annotator, Mark.state.in_(states))
    return found.correlate(LabelTask).exists()


def _is_decided() -> ColumnElement[bool]:
    found = select(LabelDecision.task_id).where(
        LabelDecision.task_id == LabelTask.id, LabelDecision.digest == LabelTask.digest
    )
    return found.correlate(LabelTask).exists()


def _num_marks(annotator: int, stale: str) -> ColumnElement[int]:
    """Marks of a task by others than the annotator, those on their screens among them."""
    is_taken = or_(Mark.state == DONE, and_(Mark.state == CLAIMED, Mark.claimed_at > stale))
    found = select(func.count(Mark.id)).where(_of_task(), Mark.annotator_id != annotator, is_taken)
    return found.correlate(LabelTask).scalar_subquery()


def _own_mark(session: Session, task: LabelTask, annotator: int) -> Mark | None:
    where = (Mark.task_id == task.id, Mark.annotator_id == annotator, Mark.digest == task.digest)
    return session.scalar(select(Mark).where(*where))


def _round(session: Session, found: LabelRound, dataset: str) -> RoundView:
    tasks = select(func.count(LabelTask.id)).where(LabelTask.round_id == found.id)
    num_done = select(func.count(Mark.id)).where(_of_task(), Mark.state == DONE).correlate(LabelTask).scalar_subquery()
    present = LabelTask.digest.is_not(None)
    rows = session.scalar(tasks.where(present))
    done = session.scalar(tasks.where(present, or_(num_done >= found.num_annotators, _is_decided())))
    same = ("id", "name", "guide", "tags", "num_annotators", "sampling", "version_number", "is_closed", "created_at")
    return RoundView(
        dataset=dataset,
        scale=msgspec.convert(found.scale, Scale),
        rows=rows,
        gone=session.scalar(tasks) - rows,
        done=done,
        **{name: getattr(found, name) for name in same},
    )


def _judgement(mark: Mark, name: str) -> Judgement:
    return Judgement(
        annotator=name,
        rating=mark.rating,
        tags=tuple(mark.tags),
        correction=mark.correction,
        note=mark.note,
        is_flagged=mark.is_flagged,
    )
