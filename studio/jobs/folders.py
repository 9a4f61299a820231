"""Job folders on the disk: how much they hold, and deleting them so that a crash leaves all or nothing.

What is to go is renamed first, then forgotten by the registry, then deleted. A server that opens after a crash finds
the renamed folder: the registry still knows what it held, and it goes back; or it does not, and it goes.
"""

import os
import re
import shutil
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from studio.db import runs
from studio.db.engine import Writer, next_change
from studio.db.tables import Job
from studio.jobs.lifecycle import ENDED
from studio.paths import Workspace

WEIGHED_AT_ONCE = 100
_ASIDE = re.compile(r"\.removed-(\d+)(-checkpoints)?")


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder; links are not followed, what vanishes meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def weigh_old(workspace: Workspace, writer: Writer) -> int:
    """Enter what the folders of ended jobs hold that nobody has looked at yet; tells how many those were.

    Runs of a studio before 0004 and of a restored registry; others are weighed as they end.
    """
    unknown = select(Job.id).where(Job.disk_bytes.is_(None), Job.state.in_(ENDED)).limit(WEIGHED_AT_ONCE)
    count = 0
    while True:
        with writer.begin() as session:
            numbers = list(session.scalars(unknown))
        if not numbers:
            return count
        weights = {number: folder_bytes(workspace.job(number)) for number in numbers}
        with writer.begin() as session:
            stamp = next_change(session)
            for number, size in weights.items():
                session.execute(update(Job).where(Job.id == number).values(disk_bytes=size, change=stamp))
        count += len(numbers)


def set_aside(workspace: Workspace, job_id: int, *, only_checkpoints: bool = False) -> Path | None:
    """Rename a job's folder, or its checkpoints; None where there is nothing."""
    place = workspace.checkpoints(job_id) if only_checkpoints else workspace.job(job_id)
    aside = workspace.jobs / f".removed-{job_id}{'-checkpoints' if only_checkpoints else ''}"
    if not place.exists():
        return None
    place.rename(aside)
    return aside


def put_back(workspace: Workspace, aside: Path) -> None:
    job_id, only_checkpoints = _read(aside.name)
    aside.rename(workspace.checkpoints(job_id) if only_checkpoints else workspace.job(job_id))


def finish_removals(session: Session, workspace: Workspace) -> None:
    """At a server's start: end what a crash interrupted, one way or the other."""
    for aside in workspace.jobs.glob(".removed-*"):
        if not _ASIDE.fullmatch(aside.name):
            continue
        job_id, only_checkpoints = _read(aside.name)
        is_known = session.get(Job, job_id) is not None
        if is_known and (not only_checkpoints or runs.checkpoint_ids(session, job_id)):
            put_back(workspace, aside)
        else:
            shutil.rmtree(aside, ignore_errors=True)


def _read(name: str) -> tuple[int, bool]:
    found = _ASIDE.fullmatch(name)
    assert found is not None
    return int(found[1]), found[2] is not None
