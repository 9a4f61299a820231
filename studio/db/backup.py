"""Backup and restore of the registry, while a server runs (backup) or with none (restore).

A backup is one SQLite file made by SQLite's own backup interface: a consistent moment, whatever is written meanwhile.
It holds what the registry knows (runs, curves, marks, settings), not the files of data sets, models and checkpoints.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db import jobs, runs
from studio.db.engine import HEAD, Writer, open_alone
from studio.db.tables import Attempt, Clock, DatasetVersion, Job, Model
from studio.errors import Conflict, Failure, RefusedInput
from studio.jobs import processes
from studio.jobs.lifecycle import LIVE
from studio.paths import Workspace
from studio.protocol import sync_folder


@dataclass(frozen=True)
class Restored:
    """What a restore found."""

    runs: int
    kept: Path | None
    """The registry that was there before, under another name."""
    set_aside: Path | None
    """Folder with the job, data set and model folders that the backup does not know; null where there are none."""
    ended: list[int]
    """Jobs that ran or waited when the backup was made."""


def back_up(workspace: Workspace, file: Path) -> int:
    """Write the registry to `file`, whole or not at all; returns its bytes. A server may run.

    Raises:
        RefusedInput: there is nothing to back up, or the file cannot be written there.
        Failure: the registry is damaged.
    """
    if not workspace.registry.exists():
        raise RefusedInput("backup.nothing", folder=str(workspace.root))
    if file.is_dir() or not file.parent.is_dir():
        raise RefusedInput("backup.place", file=str(file))
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open_alone(workspace.registry, mode="ro") as source, open_alone(part, mode="rwc") as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
            if (found := _check(target)) != "ok":
                raise Failure("backup.damaged", file=str(workspace.registry), detail=found)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o600)
        part.replace(file)
        sync_folder(file.parent)
        return file.stat().st_size
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise RefusedInput("backup.not_written", file=str(file), why=why) from error
    finally:
        part.unlink(missing_ok=True)


def restore(workspace: Workspace, file: Path) -> Restored:
    """Put a backup in the registry's place. What was there is kept under another name, nothing is deleted.

    Raises:
        RefusedInput: the file is no backup of a studio, or of a newer one.
        Conflict: a server runs here, or a job still does.
    """
    _require_backup(file)
    workspace.make()
    lock = processes.hold_lock(workspace.lock)
    if lock is None:
        raise Conflict("backup.server_runs", folder=str(workspace.root))
    with lock:
        _require_stillness(workspace)
        now = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        part = workspace.root / f".restoring-{now}.sqlite"
        try:
            with open_alone(file, mode="ro") as source, open_alone(part, mode="rwc") as target:
                source.backup(target)
            writer = Writer(part)  # migrates a backup of an older studio
            try:
                with writer.begin() as session:
                    ended = _end_all(session)
                    strangers = _strangers(session, workspace)
                    num_runs = runs.find_runs(session, runs.Wanted(), limit=0).total
            finally:
                writer.close()
            kept = _keep(workspace, now)
            part.replace(workspace.registry)
            sync_folder(workspace.root)
            set_aside = _set_aside(strangers, workspace, now)
        finally:
            for leftover in workspace.root.glob(f"{part.name}*"):
                leftover.unlink()
    return Restored(num_runs, kept, set_aside, ended)


def _require_backup(file: Path) -> None:
    if not file.is_file():
        raise RefusedInput("backup.no_file", file=str(file))
    try:
        with open_alone(file, mode="ro") as found:
            is_whole = _check(found) == "ok"
            version = found.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise RefusedInput("backup.not_one", file=str(file)) from error
    if not is_whole or not version:
        raise RefusedInput("backup.not_one", file=str(file))
    if version[0] > HEAD:
        raise RefusedInput("backup.newer", file=str(file))


def _check(connection: sqlite3.Connection) -> str:
    return connection.execute("PRAGMA integrity_check(1)").fetchone()[0]


def _require_stillness(workspace: Workspace) -> None:
    """No job may run on: the registry that comes back would not know it."""
    if not workspace.registry.exists():
        return
    try:
        with _reading(workspace.registry) as session:
            alive = [job_id for job_id in _live(session) if _runs(session, workspace, job_id)]
    except sqlite3.DatabaseError:  # a damaged registry is what a restore is for
        return
    if alive:
        raise Conflict("backup.job_runs", job=alive[0])


@contextmanager
def _reading(file: Path) -> Iterator[Session]:
    from sqlalchemy.exc import DatabaseError

    from studio.db.engine import Reader

    reader = Reader(file)
    try:
        with reader.session() as session:
            yield session
    except DatabaseError as error:
        raise sqlite3.DatabaseError(str(error)) from error
    finally:
        reader.close()


def _live(session: Session) -> list[int]:
    return list(session.scalars(select(Job.id).where(Job.state.in_(LIVE))))


def _runs(session: Session, workspace: Workspace, job_id: int) -> bool:
    attempt = session.scalar(
        select(Attempt).where(Attempt.job_id == job_id, Attempt.pid.is_not(None)).order_by(Attempt.number.desc())
    )
    if attempt is None:
        return False
    process = processes.Process(attempt.pid, attempt.process_started_at or 0.0)
    return processes.is_alive(process, str(workspace.attempt(job_id, attempt.number)))


def _end_all(session: Session) -> list[int]:
    """What ran or waited then may have ended long ago: nothing starts by itself after a restore."""
    ended = []
    for job_id in _live(session):
        jobs.move(session, job_id, "lost", reason="job.restored")
        ended.append(job_id)
    for each in jobs.waiting(session):
        jobs.move(session, each.id, "cancelled", reason="job.restored_waiting")
        ended.append(each.id)
    return sorted(ended)


def _strangers(session: Session, workspace: Workspace) -> list[Path]:
    """Folders made after the backup. No new job or version may find them in its place, nor get their number."""
    places = set(session.scalars(select(DatasetVersion.path))) | set(session.scalars(select(Model.path)))
    known_jobs = {str(number) for number in session.scalars(select(Job.id))}
    unknown = [folder for folder in _folders(workspace.jobs) if folder.name not in known_jobs]
    clock = session.get_one(Clock, 1)
    clock.last_job = max([clock.last_job, *(int(folder.name) for folder in unknown if folder.name.isdecimal())])
    versions = [version for owner in _folders(workspace.datasets) for version in _folders(owner)]
    fetched = [folder for folder in _folders(workspace.models) if folder.name.startswith(("hub-", "gguf-"))]
    return unknown + [folder for folder in versions + fetched if str(folder) not in places]


def _set_aside(strangers: list[Path], workspace: Workspace, now: str) -> Path | None:
    aside = workspace.root / "set-aside" / now
    for folder in strangers:
        place = aside / folder.relative_to(workspace.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(place)
    return aside if strangers else None


def _folders(place: Path) -> list[Path]:
    return sorted(each for each in place.iterdir() if each.is_dir()) if place.exists() else []


def _keep(workspace: Workspace, now: str) -> Path | None:
    """The registry that stood here under another name, and no WAL left that the new one could take for its own."""
    if not workspace.registry.exists():
        return None
    kept = workspace.root / f"registry-before-{now}.sqlite"
    try:
        with open_alone(workspace.registry, mode="rw") as source:
            with open_alone(kept, mode="rwc") as target:
                source.backup(target)
            source.execute("PRAGMA journal_mode=DELETE")  # brings the WAL in and deletes it
    except sqlite3.DatabaseError:  # damaged: kept as it is, file by file
        for ending in ("-wal", "-shm", ""):
            part = workspace.registry.with_name(workspace.registry.name + ending)
            if part.exists():
                part.replace(kept.with_name(kept.name + ending))
    return kept
