"""Run the command line as a person would, in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

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
