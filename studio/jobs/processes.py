"""All operating-system code of the job life cycle: the server's lock, and starting, finding and ending processes.

Written for Linux, macOS and Windows; Linux is what the tests run on.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

ATTEMPT = "LUTHIER_ATTEMPT"
"""In a job's environment: the attempt's folder, by which what it started is known."""
_EXIT_SECONDS = 2.0
_START_TOLERANCE_SECONDS = 5.0
"""psutil derives a start time from the wall clock, which may be set meanwhile."""


@dataclass(frozen=True)
class Process:
    pid: int
    started_at: float
    """Seconds since the epoch."""


def hold_lock(path: Path) -> BinaryIO | None:
    """Take the lock file for as long as the returned file is open, or None if another process holds it.

    The system gives it back when its holder dies, however it dies.
    """
    file = path.open("a+b")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def start(command: list[str], *, folder: Path, log: Path, environment: dict[str, str]) -> Process:
    """Start a process detached from this one: own session, output in a file, so that it outlives the server."""
    detach = (
        {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
        if os.name == "nt"
        else {"start_new_session": True}
    )
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **detach,
        )
    # The exit code is fetched with `reap`; Popen must not warn about a child that it outlives.
    child.returncode = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        return Process(child.pid, psutil.Process(child.pid).create_time())
    return Process(child.pid, 0.0)


def is_alive(process: Process, marker: str) -> bool:
    """Whether this very process runs: the pid exists, is no zombie, and its command line names `marker`.

    The start time counts only besides, within 5 s, so that a reused pid is never taken for it. In the instants of its
    first and last breath a process has no command line at all: then the start time alone tells.
    """
    try:
        found = psutil.Process(process.pid)
        words = found.cmdline()
        if found.status() == psutil.STATUS_ZOMBIE or (words and marker not in words):
            return False
        if not process.started_at:
            return bool(words)
        return abs(found.create_time() - process.started_at) < _START_TOLERANCE_SECONDS
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def find(marker: str) -> Process | None:
    """The running process whose command line names `marker`, if any."""
    for found in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            if marker in found.cmdline() and found.status() != psutil.STATUS_ZOMBIE:
                return Process(found.pid, found.create_time())
    return None


def reap(pid: int) -> int | None:
    """The exit code of an ended child of this process (negative: the signal), None if it runs or is not ours.

    A process that gives its memory back has no command line any more but is no zombie yet: it gets a moment.
    """
    if os.name == "nt":
        return None
    deadline = time.monotonic() + _EXIT_SECONDS
    try:
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended or time.monotonic() > deadline:
                return os.waitstatus_to_exitcode(status) if ended else None
            time.sleep(0.01)
    except ChildProcessError:
        return None


def end_group(process: Process, marker: str, *, force: bool) -> None:
    """Ask (or with `force` make) a process and all it started to end. A pid that is not it any more is left alone."""
    if not is_alive(process, marker):
        return
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        if os.name == "nt":
            for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                member.kill() if force else member.terminate()
        else:
            os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)


def end_leftovers(pid: int, marker: str) -> None:
    """Kill what an ended process left running in its session, a loader's workers say.

    A number is only given to a new process when nobody bears it any more, as process, group or session; one that has
    the session and was started with `marker` in `ATTEMPT` of its environment is the ended process's own.
    """
    if os.name == "nt":
        return
    for other in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if other == pid or os.getsid(other) != pid:
                continue
            if psutil.Process(other).environ().get(ATTEMPT) == marker:
                os.kill(other, signal.SIGKILL)


def oom_kills() -> int | None:
    """How often this machine's kernel has ended a process because memory ran out; None where it does not tell."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) if found else None


def trainer_command(module: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", f"trainers.{module}", str(folder)]
