"""One server from its start to its end: take the workspace, serve, announce where, leave cleanly.

The web server itself is `app.main`; the queue and the registry are `studio.opening`.
"""

import os
import re
import socket
import time
import webbrowser
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

from app import show
from app.access import Access
from app.api import Studio
from app.guard import is_loopback
from app.main import DEFAULT_PORT, Address, serve
from studio.desk import Desk
from studio.errors import RefusedInput
from studio.opening import open_studio
from studio.paths import Workspace

SHORTEST_PASSWORD = 8
_UNITS = {"mb": 10**6, "gb": 10**9, "tb": 10**12, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE = re.compile(rf"(\d{{1,9}}(?:\.\d+)?) ?({'|'.join(_UNITS)})")
IDLE_SECONDS = 15.0
"""A server that a command started stays this long after the last job, for the next command."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the person who starts a server may say."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    password: str | None = None
    """Asked for by the login page; without one, and beyond this machine, one-time codes are printed instead."""
    allowed_hosts: tuple[str, ...] = ()
    upload_bytes: int | None = None
    """None: what the settings page says."""
    open_browser: bool = True
    exit_when_idle: bool = False


def run(workspace: Workspace, wishes: Wishes) -> None:
    """Serve the studio until SIGINT or SIGTERM, or with `exit_when_idle` until nothing is left to do.

    Raises:
        Conflict: another server holds the workspace, or no port is free.
    """
    opened = open_studio(workspace)
    try:
        door = _Door(wishes)
        serve(
            workspace,
            Studio(opened.desk, opened.registry, opened.token),
            Address(
                host=wishes.host,
                port=wishes.port,
                access=door.access,
                allowed_hosts=wishes.allowed_hosts,
                upload_bytes=wishes.upload_bytes,
            ),
            on_listening=lambda url: door.opened(url, opened.announce),
            should_leave=_idle_for(opened.desk, IDLE_SECONDS) if wishes.exit_when_idle else None,
        )
    finally:
        opened.close()


class _Door:
    """Prints where the studio is, and each one-time code: the first before there is a socket at all."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._url: str | None = None
        self._code = ""
        self.access: Access | None = None
        if wishes.password is not None:
            self.access = Access(password=wishes.password)
        elif not is_loopback(wishes.host):
            self.access = Access(on_new_code=self._new_code)

    def opened(self, url: str, announce: Callable[[str], None]) -> None:
        self._url = here(url)
        announce(self._url)
        page = f"{self._url}/login?code={self._code}" if self._code else self._url
        show.note("cli.open_at", url=page)
        if not is_loopback(self._wishes.host):
            port = self._url.rpartition(":")[2]
            show.note("login.printed.elsewhere", url=f"http://{socket.gethostname()}:{port}")
        if self._wishes.open_browser:
            webbrowser.open(page)

    def _new_code(self, code: str) -> None:
        self._code = code
        show.note("login.printed.code" if self._url is None else "login.printed.next_code", code=code)


def here(url: str) -> str:
    """The same server as this machine calls it: `http://0.0.0.0:7860` is `http://127.0.0.1:7860`."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def password_from(environment: MutableMapping[str, str] = os.environ) -> str | None:
    """The password of `LUTHIER_PASSWORD`, taken out so that no job inherits it; None where there is none.

    Raises:
        RefusedInput: it is too short to be one.
    """
    given = environment.pop("LUTHIER_PASSWORD", "")
    return checked_password(given) if given else None


def asked_password() -> str:
    """A password typed twice at the terminal, and shown nowhere."""
    import typer

    words = show.sentence("login.ask_password", least=SHORTEST_PASSWORD)
    return checked_password(typer.prompt(words, hide_input=True, confirmation_prompt=True, err=True))


def upload_bytes(given: str | None) -> int | None:
    """`20GB` -> 20000000000; None where nothing is given.

    Raises:
        RefusedInput: this is no size.
    """
    if given is None:
        return None
    found = _SIZE.fullmatch(given.strip().lower())
    if not found or float(found[1]) <= 0:
        raise RefusedInput("server.upload_limit", given=given)
    return int(float(found[1]) * _UNITS[found[2]])


def checked_password(given: str) -> str:
    if len(given.strip()) < SHORTEST_PASSWORD:
        raise RefusedInput("server.short_password", least=SHORTEST_PASSWORD)
    return given.strip()


def _idle_for(desk: Desk, seconds: float, now: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """Asked now and then: True once the desk was idle at every look for `seconds`, and has closed itself."""
    busy_at = now()

    def is_time() -> bool:
        nonlocal busy_at
        if not desk.is_idle():
            busy_at = now()
        return now() - busy_at >= seconds and desk.leave_if_idle()

    return is_time
