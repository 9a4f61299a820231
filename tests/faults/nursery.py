"""A process that has loaded the libraries once and forks one attempt after another: a start costs 10 ms, not 8 s.

    with Nursery() as nursery, patch.object(processes, "start", nursery.start): supervisor.tick()

The children are attempts as any other: own session, output in train.log, a command line that names their folder.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import psutil

from studio.jobs.processes import Process
from studio.paths import PROJECT_ROOT


class Nursery:
    """Stands in for `studio.jobs.processes.start`."""

    def __enter__(self) -> "Nursery":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=PROJECT_ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def start(self, command: list[str], *, folder: Path, log: Path, environment: dict[str, str]) -> Process:
        """Fork the attempt that `command` (`python -m trainers.<module> <attempt folder>`) would start."""
        asked = {"module": command[-2], "attempt": command[-1], "folder": str(folder), "log": str(log)}
        self._process.stdin.write(json.dumps(asked | {"environment": environment}) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        try:
            return Process(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return Process(pid, 0.0)


def serve() -> None:
    """Read what to start from stdin, a line each, and answer with its pid."""
    from setproctitle import setproctitle

    _load_libraries()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children leave no zombies
    answers = os.fdopen(os.dup(1), "w")
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        named, naming = os.pipe()
        pid = os.fork()
        if pid == 0:
            answers.close()
            setproctitle(asked["attempt"])
            os.write(naming, b".")
            _attempt(asked)
        os.read(named, 1)  # a process that does not bear its folder's name is taken for dead
        os.close(named), os.close(naming)
        answers.write(f"{pid}\n")
        answers.flush()


def _load_libraries() -> None:
    import bitsandbytes
    import datasets
    import peft
    import torch
    import trl

    torch.set_num_threads(1)
    assert all((bitsandbytes, datasets.Dataset, peft.LoraConfig, trl.SFTTrainer, trl.SFTConfig)), "they load lazily"


def _attempt(asked: dict[str, Any]) -> None:
    import importlib

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ |= asked["environment"]
    os.chdir(asked["folder"])
    sys.argv = [asked["module"], asked["attempt"]]
    code = 1
    try:
        importlib.import_module("trainers.attempt").run_attempt(importlib.import_module(asked["module"]).main)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
