"""Wait for a job or a comparison to end, by reading the registry; the job does not notice."""

import time
from collections.abc import Callable
from typing import Any

from studio.db import comparisons, jobs
from studio.db.comparisons import ComparisonView
from studio.db.engine import Reader
from studio.db.jobs import JobView
from studio.jobs.lifecycle import ENDED
from studio.paths import Workspace

_POLL_SECONDS = 0.2
_LOOK_AFTER_SERVER_SECONDS = 5.0


def follow(
    workspace: Workspace,
    job_id: int,
    *,
    keep_server: Callable[[], Any],
    on_change: Callable[[JobView], None] | None = None,
) -> JobView:
    """The job once it has ended or is paused.

    Args:
        keep_server: called now and then; makes sure that a server runs, without which nothing would move.
        on_change: called with each new state of the job.
    """
    seen = -1

    def look(session: Any) -> JobView | None:
        nonlocal seen
        job = jobs.job(session, job_id)
        if job.change != seen and on_change:
            on_change(job)
        seen = job.change
        return job if job.state in ENDED | {"paused"} else None

    return _poll(workspace, look, keep_server)


def follow_comparison(workspace: Workspace, comparison_id: int, *, keep_server: Callable[[], Any]) -> ComparisonView:
    """The comparison once nothing in it is open."""

    def look(session: Any) -> ComparisonView | None:
        view = comparisons.comparison(session, comparison_id)
        return None if view.is_open else view

    return _poll(workspace, look, keep_server)


def _poll(workspace: Workspace, look: Callable[[Any], Any], keep_server: Callable[[], Any]) -> Any:
    reader, looked = Reader(workspace.registry), time.monotonic()
    try:
        while True:
            with reader.session() as session:
                found = look(session)
            if found is not None:
                return found
            if time.monotonic() - looked > _LOOK_AFTER_SERVER_SECONDS:
                keep_server()
                looked = time.monotonic()
            time.sleep(_POLL_SECONDS)
    finally:
        reader.close()
