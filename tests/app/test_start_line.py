"""What `luthier ui` says before it serves: an SQLite that is older than it should be."""

import pytest
from typer.testing import CliRunner

from app import cli, client, running
from studio.db import engine


@pytest.mark.parametrize(("safe", "is_told"), [((99, 0, 0), True), ((3, 0, 0), False)])
def test_a_start_warns_of_an_old_sqlite(monkeypatch, workspace, safe, is_told):
    monkeypatch.setattr(engine, "SAFE_SQLITE", safe)
    monkeypatch.setattr(client, "running_url", lambda place: None)
    served = []
    monkeypatch.setattr(running, "run", lambda place, wishes: served.append(place))
    result = CliRunner().invoke(cli.app, ["ui", "--no-browser"])
    assert result.exit_code == 0 and served, result.output
    assert ("is older than 99.0.0" in result.stderr) is is_told
