"""A running studio with the starter model, gone without a trace afterwards."""

from collections.abc import Iterator

import pytest

from studio.paths import Workspace
from tests.e2e.running_studio import RunningStudio
from tests.e2e.server import end_everything


@pytest.fixture
def studio(workspace_with_starter: Workspace) -> Iterator[RunningStudio]:
    made = RunningStudio(workspace_with_starter)
    yield made
    made.server.stop()
    end_everything(workspace_with_starter)
