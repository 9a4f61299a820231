"""A process that has loaded the libraries once and forks one attempt after another: a start costs 10 ms, not 8 s.

    with Nursery() as nursery, patch.object(processes, "start", nursery.start): supervisor.tick()

The children are attempts as any other: own session, output in train.log, a command line that names their folder. What a
first run loads and fills besides (libraries do so lazily) the nursery has from attempts that it ran itself, `warm_up`.
A fault named in `FAULT` of a child's environment is put into its libraries first (`tests.faults.injected`).
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from studio.jobs.processes import Process
from studio.paths import PROJECT_ROOT
from studio.protocol import read_spec
from tests.faults.injected import FAULT, inject


class Nursery:
    """Stands in for `studio.jobs.processes.start`."""

    def __init__(self, warm_up: Sequence[Path] = ()) -> None:
        self._warm_up = warm_up

    def __enter__(self) -> "Nursery":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery", *map(str, self._warm_up)],
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

    setproctitle("nursery")  # finds the place of the title, which it cannot once the environment was changed
    _load_libraries()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children leave no zombies
    for folder in sys.argv[1:]:
        _warm_up(Path(folder))
    gc.freeze()  # a collection in a child then looks at what the child made
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


def _warm_up(folder: Path) -> None:
    from tests.trainers.jobs import run_here

    method = importlib.import_module(f"trainers.{read_spec(folder).values['method']}")
    with (folder / "train.log").open("w") as log, contextlib.redirect_stdout(log):
        result = run_here(method.main, folder)
    assert result.outcome == "succeeded", result


def _load_libraries() -> None:
    import bitsandbytes
    import datasets
    import peft
    import torch
    import trl

    torch.set_num_threads(1)
    assert all((bitsandbytes, datasets.Dataset, peft.LoraConfig, trl.SFTTrainer, trl.SFTConfig)), "they load lazily"


def _attempt(asked: dict[str, Any]) -> None:
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
        if FAULT in os.environ:
            inject(os.environ[FAULT])
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
