"""Runs as a person keeps them: found by name, state, tag, model or data set; tagged, noted, put away.

The list reads the index `jobs_listed` to find which runs to show, and the wide rows of that page only: 10,000 runs are
filtered without their settings being read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, false, func, or_, select
from sqlalchemy.orm import Session

from studio.db import jobs
from studio.db.jobs import JobView
from studio.db.tables import Checkpoint, Dataset, DatasetVersion, Job, JobNote, JobTag, Model

TRAINING = "train"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person looks for; empty means all."""

    text: str = ""
    """In the name, a tag, a note, the model's or the data set's name, or the run's number."""
    state: str = ""
    tag: str = ""
    model: str = ""
    dataset: str = ""
    is_archived: bool = False
    is_largest_first: bool = False
    """By what they hold on the disk; else newest first."""


@dataclass(frozen=True)
class Page:
    runs: list[JobView]
    total: int
    """Runs that fit, on all pages."""
    disk_bytes: int
    """What all of them hold on the disk, as far as that is known."""


def find_runs(session: Session, wanted: Wanted, *, limit: int = 50, offset: int = 0) -> Page:
    """Runs that fit, newest first or largest first."""
    fitting = _fitting(session, wanted)
    total, held = session.execute(fitting.with_only_columns(func.count(), func.sum(Job.disk_bytes))).one()
    order = (Job.disk_bytes.desc(), Job.id.desc()) if wanted.is_largest_first else (Job.id.desc(),)
    numbers = list(session.scalars(fitting.order_by(*order).limit(limit).offset(offset)))
    return Page(jobs.by_numbers(session, numbers), total, int(held or 0))


def _fitting(session: Session, wanted: Wanted) -> Select:
    query = select(Job.id).where(Job.kind == TRAINING, Job.is_archived == wanted.is_archived)
    if wanted.state:
        query = query.where(Job.state == wanted.state)
    if wanted.tag:
        query = query.where(Job.id.in_(select(JobTag.job_id).where(JobTag.tag == wanted.tag)))
    if wanted.model:
        query = query.where(Job.model_id.in_(select(Model.id).where(Model.name == wanted.model)))
    if wanted.dataset:
        query = query.where(Job.dataset_version_id.in_(_versions(Dataset.name == wanted.dataset)))
    if wanted.text:
        query = query.where(_mentions(session, wanted.text))
    return query


def _mentions(session: Session, text: str):
    """The small tables are looked through first, so that of a run nothing but the index is read."""

    def has(column):
        return column.icontains(text, autoescape=True)

    models = list(session.scalars(select(Model.id).where(has(Model.name))))
    versions = list(session.scalars(_versions(has(Dataset.name))))
    number = text.lstrip("#")
    return or_(
        has(Job.title),
        Job.id.in_(select(JobTag.job_id).where(has(JobTag.tag))),
        Job.id.in_(select(JobNote.job_id).where(has(JobNote.text))),
        Job.model_id.in_(models) if models else false(),
        Job.dataset_version_id.in_(versions) if versions else false(),
        Job.id == int(number) if number.isascii() and number.isdecimal() and len(number) < 18 else false(),
    )


def _versions(condition) -> Select:
    return select(DatasetVersion.id).join(Dataset, DatasetVersion.dataset_id == Dataset.id).where(condition)


@dataclass(frozen=True)
class Choices:
    """What the list can be narrowed to."""

    tags: list[str]
    models: list[str]
    datasets: list[str]
    num_archived: int
    num_runs: int
    """Those in the list, archived ones left out."""


def choices(session: Session) -> Choices:
    is_run, is_shown = Job.kind == TRAINING, Job.is_archived == false()
    used = select(Job.model_id).where(is_run).distinct()
    versions = select(Job.dataset_version_id).where(is_run).distinct()
    named = select(Dataset.name).join(DatasetVersion).where(DatasetVersion.id.in_(versions)).distinct()
    return Choices(
        all_tags(session),
        list(session.scalars(select(Model.name).where(Model.id.in_(used)).order_by(Model.name))),
        list(session.scalars(named.order_by(Dataset.name))),
        session.scalar(select(func.count()).where(is_run, Job.is_archived != false())) or 0,
        session.scalar(select(func.count()).where(is_run, is_shown)) or 0,
    )


# -- tags and notes --------------------------------------------------------------------------------------------------


def all_tags(session: Session) -> list[str]:
    return list(session.scalars(select(JobTag.tag).distinct().order_by(JobTag.tag)))


def tags_of(session: Session, numbers: Iterable[int]) -> dict[int, list[str]]:
    """Run -> its tags in order; runs without one are left out."""
    found: dict[int, list[str]] = {}
    query = select(JobTag.job_id, JobTag.tag).where(JobTag.job_id.in_(list(numbers))).order_by(JobTag.tag)
    for job_id, tag in session.execute(query):
        found.setdefault(job_id, []).append(tag)
    return found


def add_tag(session: Session, job_id: int, tag: str) -> None:
    session.merge(JobTag(job_id=job_id, tag=tag))


def set_tags(session: Session, job_id: int, tags: Sequence[str]) -> None:
    session.query(JobTag).where(JobTag.job_id == job_id, JobTag.tag.not_in(tags)).delete()
    for tag in tags:
        add_tag(session, job_id, tag)


def free_tag(session: Session, wished: str) -> str:
    """`wished`, or with a number behind it where it is taken: "rates" -> "rates 2"."""
    taken, number, tag = set(all_tags(session)), 1, wished
    while tag in taken:
        number += 1
        tag = f"{wished} {number}"
    return tag


def note_of(session: Session, job_id: int) -> str:
    kept = session.get(JobNote, job_id)
    return kept.text if kept else ""


def set_note(session: Session, job_id: int, text: str) -> None:
    if text:
        session.merge(JobNote(job_id=job_id, text=text))
    else:
        session.query(JobNote).where(JobNote.job_id == job_id).delete()


# -- what a run holds ------------------------------------------------------------------------------------------------


def checkpoint_ids(session: Session, job_id: int) -> set[int]:
    return set(session.scalars(select(Checkpoint.id).where(Checkpoint.job_id == job_id)))


def forget_checkpoints(session: Session, job_id: int) -> None:
    session.query(Checkpoint).where(Checkpoint.job_id == job_id).delete()
