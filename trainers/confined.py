"""Work on what strangers made, in a child process with limits: it ends with the job, or when it takes too much.

    outcome(_facts, path, cpu_seconds=120, extra_bytes=4 << 30)   ->  whatever `_facts(path)` returned

The child is a fork of the job, so whatever the job has loaded is there at once. Answers come back as JSON, never as
pickles: whoever took the child over must not get into the job.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

MAX_ANSWER_BYTES = 256 << 20
WALL_FACTOR = 3
"""A busy machine may take so many times the processor seconds."""
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


class Ended(Exception):
    """The child went beyond a limit, or died."""


def start(target: Callable[..., None], *arguments: Any) -> tuple[Any, Any]:
    """A daemonic fork that runs `target(pipe, *arguments)`: our end of the pipe, and the process."""
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_confined, args=(theirs, ours, target, arguments), daemon=True)
    with warnings.catch_warnings():
        # From 3.12 on Python warns of forks beside threads; the child runs none of the job's and takes no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    return ours, process


def end(pipe: Any, process: Any) -> None:
    pipe.close()
    if process.is_alive():
        process.kill()
    process.join()
    process.close()


def received(pipe: Any, seconds: float) -> Any:
    """
    Raises:
        Ended: no answer in time, or none at all.
    """
    try:
        if not pipe.poll(seconds):
            raise Ended
        return json.loads(pipe.recv_bytes(MAX_ANSWER_BYTES))
    except (OSError, EOFError, ValueError) as error:
        raise Ended from error


def outcome(work: Callable[..., Any], *arguments: Any, cpu_seconds: int, extra_bytes: int) -> Any:
    """What `work(*arguments)` returns (as JSON carries it), made in a child; without limits where there is no fork.

    Raises:
        Ended: it took more than `cpu_seconds` of processor time, or `extra_bytes` beyond the job's own address space.
    """
    if not hasattr(os, "fork"):
        return work(*arguments)
    pipe, process = start(_once, work, arguments, cpu_seconds, extra_bytes)
    try:
        return received(pipe, WALL_FACTOR * cpu_seconds)
    finally:
        end(pipe, process)


# -- in the child ----------------------------------------------------------------------------------------------------


def limit_memory(extra_bytes: int) -> None:
    """Address space from now on; no core file is left of a process that dies of it."""
    taken = _address_space()
    set_limits({"RLIMIT_CORE": 0} | ({"RLIMIT_AS": taken + extra_bytes} if taken else {}))


def set_limits(limits: dict[str, int]) -> None:
    import resource

    for name, most in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (most, most))


def give_seconds(seconds: int) -> None:
    """Processor time from now on; beyond it the system ends this process, whether or not the job still lives."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + seconds
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _confined(pipe: Any, theirs: Any, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    theirs.close()
    gc.freeze()  # looking for garbage would copy every page that is shared with the job
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    target(pipe, *arguments)


def _once(pipe: Any, work: Callable[..., Any], arguments: tuple[Any, ...], cpu_seconds: int, extra_bytes: int) -> None:
    limit_memory(extra_bytes)
    give_seconds(cpu_seconds)
    with contextlib.suppress(EOFError, OSError, MemoryError):
        pipe.send_bytes(json.dumps(work(*arguments)).encode())


def _address_space() -> int:
    """Bytes of address space that this process has now; 0 where the system does not say (macOS)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
