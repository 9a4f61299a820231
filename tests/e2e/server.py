"""A real server process on a workspace, which tests start, kill and start again."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from studio.jobs import temporary
from studio.paths import PROJECT_ROOT, Workspace

START_SECONDS = 120.0


class Server:
    """`python -m app.cli ui` on loopback; `start`, `kill` (SIGKILL) and `stop` (SIGTERM).

    `before` is Python code that the process runs first: a constant that a test wants otherwise.
    """

    def __init__(
        self, workspace: Workspace, *, port: int = 0, options: Sequence[str] = (), before: str = "", **environment: str
    ) -> None:
        self.workspace = workspace
        self.url = ""
        program = ["-c", f"{before}; from app.cli import main; main()"] if before else ["-m", "app.cli"]
        self._command = [sys.executable, *program, "ui", "--no-browser", "--port", str(port), *options]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Server":
        """Start it and wait until it answers."""
        log = (self.workspace.root / "test-server.log").open("ab")
        homes = {"LUTHIER_HOME": str(self.workspace.root), "HOME": str(self.workspace.root.parent)}
        self._process = subprocess.Popen(
            self._command,
            cwd=PROJECT_ROOT,
            env=os.environ | homes | self._environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        wait_until(self._listens, seconds=START_SECONDS, what=self.log)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it as a person would with Ctrl-C; returns its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=30)

    def do(self, verb: str, **arguments: Any) -> Any:
        """A verb of the desk, as the command line asks for it."""
        from app.client import call

        return call(self.workspace, verb, **arguments)

    def log(self) -> str:
        return (self.workspace.root / "test-server.log").read_text("utf-8", "replace")[-3000:]

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            entry = json.loads(self.workspace.server_json.read_text("utf-8"))
        except (OSError, ValueError):
            return False
        if entry["pid"] != self._process.pid:
            return False
        self.url = entry["url"]
        shown = {"Authorization": f"Bearer {entry['token']}"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/api/health", headers=shown), timeout=5
        ) as answer:
            return answer.status == 200


def end_everything(workspace: Workspace) -> None:
    """Kill what still runs on a workspace: servers that commands started, jobs that outlive their server by design."""
    for process in psutil.process_iter():
        try:
            named = " ".join(process.cmdline()) + process.environ().get("LUTHIER_HOME", "")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if str(workspace.root) in named and process.pid != os.getpid():
            process.kill()
    for attempt in workspace.jobs.glob("*/attempts/*"):  # no server is there any more to see that these have ended
        temporary.delete_folder(attempt)


def wait_until(reached: Callable[[], Any], *, seconds: float, what: object = "") -> Any:
    """The first true value of `reached()`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = reached()
        if found:
            return found
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.1)
