"""How a command reaches the server: verbs go to the one that runs, and one is started if none does.

Reading needs no server: commands open the registry read-only themselves.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

from studio import errors
from studio.errors import Conflict, Fault, ServerUnreachable, SpecRefused, StudioError
from studio.jobs.processes import hold_lock, is_alive, start
from studio.paths import PROJECT_ROOT, Workspace

START_SECONDS = 90.0
VERB_SECONDS = 600.0
_TRIES = 5


def call(workspace: Workspace, verb: str, **arguments: Any) -> Any:
    """Have the server carry out one of the desk's verbs; returns what the verb returns.

    Raises:
        StudioError: what the verb raised, rebuilt here.
        ServerUnreachable: no server could be reached or started.
    """
    for _ in range(_TRIES):
        address = _running(workspace) or _start(workspace)
        try:
            return _post(address, verb, arguments)
        except Conflict as error:
            if error.code != "server.leaving":
                raise
        except ConnectionError:
            pass  # it left between our look and our question
        time.sleep(0.5)
    raise ServerUnreachable("server.unreachable", folder=str(workspace.root))


def ensure_server(workspace: Workspace) -> None:
    """Start a server if none runs; a run that is waited for needs one to move."""
    if _running(workspace) is None:
        _start(workspace)


def running_url(workspace: Workspace) -> str | None:
    """Where the running server listens, or None."""
    address = _running(workspace)
    return address["url"] if address else None


def _nobody_holds(workspace: Workspace) -> bool:
    lock = hold_lock(workspace.lock)
    if lock is not None:
        lock.close()
    return lock is not None


def _running(workspace: Workspace) -> dict[str, Any] | None:
    """What server.json says, if a server holds the workspace and has announced itself."""
    if not workspace.lock.exists() or _nobody_holds(workspace):  # whatever server.json says
        return None
    with suppress(OSError, ValueError):
        return json.loads(workspace.server_json.read_text("utf-8"))
    return None


def _start(workspace: Workspace) -> dict[str, Any]:
    """Start a server that leaves by itself when nothing is left to do, and wait until it listens."""
    workspace.make()
    environment = os.environ | {"LUTHIER_HOME": str(workspace.root)}
    command = [sys.executable, "-m", "app.cli", "ui", "--no-browser", "--exit-when-idle"]
    process = start(command, folder=PROJECT_ROOT, log=workspace.cache / "server.log", environment=environment)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        address = _running(workspace)
        if address is not None:
            return address
        if not is_alive(process, "--exit-when-idle") and _nobody_holds(workspace):
            break
        time.sleep(0.1)
    raise ServerUnreachable("server.slow_start", log=str(workspace.cache / "server.log"))


def _post(address: dict[str, Any], verb: str, arguments: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{address['url']}/api/do/{verb}",
        data=json.dumps(arguments).encode(),
        headers={"Authorization": f"Bearer {address['token']}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=VERB_SECONDS) as answer:
            return json.load(answer)["result"]
    except urllib.error.HTTPError as refused:
        raise _rebuilt(json.load(refused)["error"]) from None
    except urllib.error.URLError as gone:
        raise ConnectionError(str(gone.reason)) from gone


def _rebuilt(entry: dict[str, Any]) -> StudioError:
    """The error that the server's verb raised."""
    if entry["kind"] == "SpecRefused":
        return SpecRefused([Fault(fault["field"], fault["code"], fault["values"]) for fault in entry["faults"]])
    kind = getattr(errors, entry["kind"], errors.Failure)
    return kind(entry["code"], **entry["values"])
