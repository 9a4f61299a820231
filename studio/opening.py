"""Open a workspace for the one server that may: lock, registry, desk, and the threads that run the queue.

What a server does with it (pages, endpoints) is `app.main`'s; a test opens it without any of that.
"""

import json
import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from studio.db import measurements
from studio.db.engine import Reader, Writer
from studio.desk import Desk
from studio.errors import Conflict
from studio.hardware import read_machine
from studio.jobs.folders import finish_removals, weigh_old
from studio.jobs.processes import hold_lock
from studio.jobs.serving import AnswerDesk
from studio.jobs.supervisor import Supervisor
from studio.paths import Workspace
from studio.protocol import write_atomically

RESERVE_BYTES = 2 << 20
"""For the registry: some hundred small transactions, such as those that tell why a run was paused."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenStudio:
    """A workspace that this process holds; `close` gives it back, and the jobs go on."""

    workspace: Workspace
    desk: Desk
    registry: Reader
    token: str
    """Shown by commands that change something; in server.json, which only the owner can read."""
    _writer: Writer
    _supervisor: Supervisor
    _answers: AnswerDesk
    _lock: BinaryIO

    def announce(self, url: str) -> None:
        """Write server.json: where this server listens."""
        entry = {"url": url, "token": self.token, "pid": os.getpid()}
        write_atomically(self.workspace.server_json, json.dumps(entry).encode(), mode=0o600)

    def close(self) -> None:
        self.workspace.server_json.unlink(missing_ok=True)
        self._supervisor.stop()
        self._answers.stop()
        self.registry.close()
        self._writer.close()
        self._lock.close()


def open_studio(workspace: Workspace) -> OpenStudio:
    """Take the workspace, bring its registry up to date, adopt what runs.

    Raises:
        Conflict: another server holds it.
    """
    workspace.make()
    lock = _patient_lock(workspace.lock)
    if lock is None:
        raise Conflict("server.already_running", folder=str(workspace.root), url=_url_of(workspace.server_json))
    machine = read_machine()
    writer = Writer(workspace.registry, reserve_bytes=RESERVE_BYTES)
    with writer.begin() as session:
        measurements.predict_again(session)
        finish_removals(session, workspace)
    supervisor = Supervisor(workspace, writer, devices=machine.devices)
    desk = Desk(workspace, writer, wake=supervisor.wake, machine=machine)
    desk.register_starter()
    answers = AnswerDesk(workspace, writer)
    supervisor.start()
    answers.start()
    # Beside all else: thousands of folders may be there to look through.
    threading.Thread(target=_weigh, args=(workspace, writer), name="weigh", daemon=True).start()
    reader = Reader(workspace.registry)
    return OpenStudio(workspace, desk, reader, secrets.token_urlsafe(32), writer, supervisor, answers, lock)


def _weigh(workspace: Workspace, writer: Writer) -> None:
    try:
        weigh_old(workspace, writer)
    except Exception:  # the server may have closed meanwhile; what is left is weighed at the next start
        _log.warning("Not every run's folder could be looked through", exc_info=True)


def _patient_lock(path: Path) -> BinaryIO | None:
    """The lock, tried for a moment: a command that looks whether a server runs holds it for the blink of an eye."""
    for _ in range(5):
        lock = hold_lock(path)
        if lock is not None:
            return lock
        time.sleep(0.1)
    return None


def _url_of(server_json: Path) -> str:
    try:
        return json.loads(server_json.read_text("utf-8"))["url"]
    except (OSError, ValueError, KeyError):
        return "–"
