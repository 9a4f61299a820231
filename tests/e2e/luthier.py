"""Run the command line as a person would, in a process of its own; or here, where only what it says is looked at."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest import mock

from studio.paths import PROJECT_ROOT, Workspace


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def luthier(workspace: Workspace, *arguments: object, seconds: float = 240.0) -> Ran:
    """`luthier <arguments>` in `workspace`."""
    ran = subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        cwd=PROJECT_ROOT,
        env=os.environ | {"LUTHIER_HOME": str(workspace.root)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def luthier_here(workspace: Workspace, *arguments: object) -> Ran:
    """The same in this process: a second less for each command. The server that it talks to is a real one."""
    from app.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    typed = mock.patch.object(sys, "argv", ["luthier", *map(str, arguments)])
    home = mock.patch.dict(os.environ, {"LUTHIER_HOME": str(workspace.root)})
    with typed, home, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Ran(code, out.getvalue(), err.getvalue())
