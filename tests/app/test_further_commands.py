"""`luthier jobs further | anew | smaller | slower | change` ask the desk for what their names say."""

import json

import pytest
from typer.testing import CliRunner

from app import client
from app.api import VERBS
from app.runs.further_commands import app

CHANGED = {"beta": 0.003, "normalize_rewards": True}


@pytest.mark.parametrize(
    ("words", "verb", "wanted"),
    [
        (["further", "7", "--epochs", "1.5"], "go_on", {"checkpoint_id": 7, "epochs": 1.5, "learning_rate": None}),
        (["further", "7", "--learning-rate", "1e-5"], "go_on", {"epochs": 0.0, "learning_rate": 1e-5}),
        (["anew", "7", "--seed", "5"], "begin_anew", {"checkpoint_id": 7, "dataset": None, "changes": {"seed": 5}}),
        (
            ["anew", "7", "--dataset", "d@2", "--epochs", "2"],
            "begin_anew",
            {"dataset": "d@2", "changes": {"num_train_epochs": 2.0, "max_steps": -1}},
        ),
        (["smaller", "3"], "try_smaller", {"job_id": 3}),
        (["slower", "3"], "try_slower", {"job_id": 3}),
        (["change", "3", "beta=0.003", "normalize_rewards=true"], "try_again", {"job_id": 3, "changes": CHANGED}),
    ],
)
def test_a_command_is_a_verb_of_the_desk(monkeypatch, words, verb, wanted):
    asked = []
    monkeypatch.setattr(client, "call", lambda place, name, **given: asked.append((name, given)) or 9)
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"id": 3 if verb == "try_smaller" else 9}
    ((name, given),) = asked
    assert name == verb in VERBS
    assert given.items() >= wanted.items()
