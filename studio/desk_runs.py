"""The desk's verbs about runs as a person keeps them, and about the queue that they wait in."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from studio.db import comparisons, jobs, lineage, models, runs
from studio.db import queue as queue_rules
from studio.db.engine import Writer, next_change
from studio.db.tables import Job
from studio.errors import Conflict, RefusedInput
from studio.jobs import folders
from studio.jobs.lifecycle import ENDED, STATES
from studio.paths import Workspace

LONGEST_TITLE, LONGEST_TAG, LONGEST_NOTE, MOST_TAGS = 120, 40, 4000, 12
NOT_ENDED = frozenset(STATES) - ENDED
START_NOW, START_BY_HAND = "now", "by_hand"


class RunsDesk:
    """What `Desk` can do with runs that are there."""

    workspace: Workspace
    _writer: Writer
    _wake: Callable[[], None]

    @property
    def devices(self) -> tuple[str, ...]:
        """What runs can be queued for."""
        return self._read_machine().devices

    # -- the queue -----------------------------------------------------------------------------------------------

    def move(self, job_id: int, position: int) -> None:
        """Move a waiting job to a place in the queue; 1 is next."""
        with self._writer.begin() as session:
            jobs.set_position(session, job_id, position)
        self._wake()

    def set_device(self, job_id: int, device: str | None) -> None:
        """Have a waiting job wait for one device, cuda:1, or with None for any.

        Raises:
            Conflict: the job does not wait.
            RefusedInput: this machine has no such device.
        """
        if device is not None and device not in (known := self.devices):
            raise RefusedInput("run.no_device", device=device, known=", ".join(known))
        with self._writer.begin() as session:
            job = jobs.require(session, job_id)
            if job.state != "queued" or not job.needs_device:
                raise Conflict("job.not_waiting", job=job_id)
            job.wanted_device, job.change = device, next_change(session)
        self._wake()

    def rule_queue(
        self, *, start: str | None = None, holds_after_failure: bool | None = None, now: datetime | None = None
    ) -> None:
        """Say when waiting runs start.

        Args:
            start: "now", "by_hand", or a time of day by this machine's clock, "22:30".
            holds_after_failure: a run that fails holds those behind it.

        Raises:
            RefusedInput: no time of day.
        """
        with self._writer.begin() as session:
            decided = queue_rules.rules(session)
            if start is not None:
                not_before = None if start in (START_NOW, START_BY_HAND) else next_time(start, now=now)
                is_held = start == START_BY_HAND
                decided = replace(decided, is_held=is_held, not_before=not_before, failed_run=None)
            if holds_after_failure is not None:
                decided = replace(decided, holds_after_failure=holds_after_failure)
            queue_rules.keep_rules(session, decided)
            next_change(session)
        self._wake()

    def cancel_waiting(self, *, tag: str | None = None) -> list[int]:
        """Cancel every waiting run, or those with a tag; returns them."""
        with self._writer.begin() as session:
            waiting = [each.id for each in jobs.waiting(session) if each.kind == runs.TRAINING]
            if tag is not None:
                tags = runs.tags_of(session, waiting)
                waiting = [each for each in waiting if tag in tags.get(each, ())]
            for job_id in waiting:
                jobs.move(session, job_id, "cancelled", reason="job.cancelled")
        self._wake()
        return waiting

    # -- keeping runs --------------------------------------------------------------------------------------------

    def rename(self, job_id: int, title: str) -> None:
        with self._changed(job_id) as (_, job):
            job.title = _text(title, LONGEST_TITLE, "run.title")

    def tag_run(self, job_id: int, tags: Sequence[str]) -> None:
        """Give a run these tags and no others."""
        wished = list(dict.fromkeys(_text(each, LONGEST_TAG, "run.tag") for each in tags if each.strip()))
        if len(wished) > MOST_TAGS:
            raise RefusedInput("run.tags", most=MOST_TAGS)
        with self._changed(job_id) as (session, _):
            runs.set_tags(session, job_id, wished)

    def note_run(self, job_id: int, text: str) -> None:
        """Keep what a person wrote about a run; empty text takes the note away."""
        if len(text) > LONGEST_NOTE:
            raise RefusedInput("run.note", most=LONGEST_NOTE)
        with self._changed(job_id) as (session, _):
            runs.set_note(session, job_id, text.strip())

    def archive(self, job_id: int, *, archived: bool = True) -> None:
        """Take an ended run out of the list, or bring it back; nothing is deleted.

        Raises:
            Conflict: it waits, runs, or is paused.
        """
        with self._changed(job_id) as (_, job):
            if archived and job.state not in ENDED:
                raise Conflict("job.still_there", job=job_id)
            job.is_archived = archived

    def remove(self, job_id: int, *, keep_files: bool = False) -> None:
        """Forget an ended job and delete its folder, checkpoints included, or leave the folder where it is.

        Raises:
            Conflict: it waits, runs or is paused, or something uses its files.
        """
        with self._removing(job_id, renames=not keep_files) as (session, job):
            session.delete(job)

    def free_space(self, job_id: int) -> None:
        """Delete an ended run's checkpoints; its curves, settings and log stay.

        Raises:
            Conflict: it waits, runs or is paused, or something uses its files.
        """
        with self._removing(job_id, renames=True, only_checkpoints=True) as (session, job):
            runs.forget_checkpoints(session, job_id)
            job.disk_bytes = folders.folder_bytes(self.workspace.job(job_id))
            job.change = next_change(session)
            jobs.record_event(session, job_id, type="freed", data={})

    @contextmanager
    def _changed(self, job_id: int) -> Iterator[tuple[Session, Job]]:
        with self._writer.begin() as session:
            job = jobs.require(session, job_id)
            yield session, job
            job.change = next_change(session)

    @contextmanager
    def _removing(self, job_id: int, *, renames: bool, only_checkpoints: bool = False) -> Iterator[tuple[Session, Job]]:
        """One removal that a crash leaves done or undone, never half (`studio.jobs.folders`)."""
        aside: Path | None = None
        try:
            with self._writer.begin() as session:
                job = jobs.require(session, job_id)
                if job.state not in ENDED:
                    raise Conflict("job.still_there", job=job_id)
                if renames:
                    refuse_if_used(session, self.workspace, job_id)
                    aside = folders.set_aside(self.workspace, job_id, only_checkpoints=only_checkpoints)
                yield session, job
                next_change(session)
        except BaseException:
            if aside is not None:
                folders.put_back(self.workspace, aside)
            raise
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def refuse_if_used(session: Session, workspace: Workspace, job_id: int) -> None:
    """
    Raises:
        Conflict: a job that runs or waits, a model, or an open answer needs this job's files.
    """
    folder = workspace.job(job_id)
    for other in jobs.list_jobs(session, states=NOT_ENDED, limit=100_000):
        found = lineage.origin(session, other.id)
        if other.id != job_id and (_names(other.values, folder) or (found and found.run == job_id)):
            raise Conflict("run.used_by_job", job=job_id, other=other.id, title=other.title)
    for model in models.list_models(session):
        if Path(model.path).is_relative_to(folder):
            raise Conflict("run.used_by_model", job=job_id, model=model.name)
    saved = runs.checkpoint_ids(session, job_id)
    for other in [*jobs.live(session), *jobs.queue(session)]:
        begins = lineage.origin(session, other.id)
        if begins and begins.checkpoint in saved:
            raise Conflict("run.used_by_job", job=job_id, other=other.id, title=other.title)
    asked = comparisons.columns_of(session, {answer.comparison_id for answer in comparisons.open_answers(session)})
    if any(column.get("checkpoint") in saved for columns, _ in asked.values() for column in columns):
        raise Conflict("run.used_by_answers", job=job_id)


def _names(value: Any, folder: Path) -> bool:
    """Whether a job's values name the folder or something in it."""
    if isinstance(value, dict):
        return any(_names(each, folder) for each in value.values())
    if isinstance(value, list):
        return any(_names(each, folder) for each in value)
    return isinstance(value, str) and (value == str(folder) or value.startswith(f"{folder}/"))


def next_time(clock: str, *, now: datetime | None = None) -> str:
    """The next time that this machine's clock shows `clock`, in UTC: "22:30" -> "2026-01-31T21:30:00.000000Z".

    Raises:
        RefusedInput: no time of day.
    """
    here = (now or datetime.now(UTC)).astimezone().replace(tzinfo=None)
    try:
        wanted = datetime.strptime(clock.strip().replace("\uff1a", ":"), "%H:%M")
    except ValueError:
        raise RefusedInput("queue.time", given=clock) from None
    at = here.replace(hour=wanted.hour, minute=wanted.minute, second=0, microsecond=0)
    if at <= here:
        at += timedelta(days=1)
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(given: str, longest: int, code: str) -> str:
    text = " ".join(given.split())
    if not text or len(text) > longest:
        raise RefusedInput(code, most=longest)
    return text
