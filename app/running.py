"""One server from its start to its end: take the workspace, serve, announce where, leave cleanly.

The web server itself is `app.main`; the queue and the registry are `studio.opening`.
"""

import time
import webbrowser
from collections.abc import Callable

from app import show
from app.api import Studio
from app.guard import is_loopback, new_access_token
from app.main import Address, serve
from studio.desk import Desk
from studio.opening import open_studio
from studio.paths import Workspace

IDLE_SECONDS = 15.0
"""A server that a command started stays this long after the last job, for the next command."""


def run(workspace: Workspace, *, host: str, port: int, open_browser: bool, exit_when_idle: bool) -> None:
    """Serve the studio until SIGINT or SIGTERM, or with `exit_when_idle` until nothing is left to do.

    Raises:
        Conflict: another server holds the workspace, or no port is free.
    """
    access_token = None if is_loopback(host) else new_access_token()
    opened = open_studio(workspace)

    def listening(url: str) -> None:
        opened.announce(url)
        page = f"{url}/?access={access_token}" if access_token else url
        show.note("cli.open_at", url=page)
        if open_browser:
            webbrowser.open(page)

    try:
        serve(
            workspace,
            Studio(opened.desk, opened.registry, opened.token),
            Address(host=host, port=port, access_token=access_token),
            on_listening=listening,
            should_leave=_idle_for(opened.desk, IDLE_SECONDS) if exit_when_idle else None,
        )
    finally:
        opened.close()


def _idle_for(desk: Desk, seconds: float, now: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """Asked now and then: True once the desk was idle at every look for `seconds`, and has closed itself."""
    busy_at = now()

    def is_time() -> bool:
        nonlocal busy_at
        if not desk.is_idle():
            busy_at = now()
        return now() - busy_at >= seconds and desk.leave_if_idle()

    return is_time
