"""A running studio with the starter model, gone without a trace afterwards."""

from collections.abc import Iterator

import psutil
import pytest

from studio.paths import Workspace
from tests.e2e.running_studio import RunningStudio


@pytest.fixture
def studio(workspace_with_starter: Workspace) -> Iterator[RunningStudio]:
    made = RunningStudio(workspace_with_starter)
    yield made
    made.server.stop()
    for process in psutil.process_iter():
        if any(str(workspace_with_starter.root) in part for part in _command_line(process)):
            process.kill()


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
