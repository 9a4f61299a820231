"""`luthier rewards list | check | try`."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from app import client
from app.api import VERBS
from app.rewards import commands
from app.rewards.commands import app
from studio.errors import RefusedInput, UnknownName
from studio.graders.declared import GRADERS
from studio.rewards.recipe import digest, parse

REWARD = {"rewards": [{"name": "length", "min": 5, "max": 60, "weight": 1.0}]}


@pytest.fixture(name="file")
def fixture_file(tmp_path):
    place = tmp_path / "reward.yaml"
    place.write_text(yaml.safe_dump(REWARD), "utf-8")
    return place


def run(*words):
    ran = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_the_rules_are_listed_with_their_settings():
    listed = json.loads(run("list", "--json"))
    assert [each["name"] for each in listed] == list(GRADERS)
    length = next(each for each in listed if each["name"] == "length")
    assert {option["name"]: option["default"] for option in length["options"]} == {
        "min": 1,
        "max": 200,
        "slack": 0,
        "unit": "words",
    }
    assert run("list").count("\n") == len(GRADERS)


def test_a_reward_is_checked_without_a_server(file):
    found = json.loads(run("check", file, "--json"))
    assert found["hash"] == digest(parse(REWARD)) and found["range"] == [0.0, 1.0]
    assert "length" in run("check", file)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("rewards: [{name: lenght}]", UnknownName, "Did you mean “length”"),
        ("rewards: [", RefusedInput, "reward.yaml"),
        ("just words", RefusedInput, "no reward"),
    ],
)
def test_what_is_wrong_is_said(file, text, kind, said):
    file.write_text(text, "utf-8")
    with pytest.raises(kind, match=said):
        CliRunner().invoke(app, ["check", str(file)], catch_exceptions=False)


def test_no_such_file(tmp_path):
    with pytest.raises(RefusedInput, match="There is no file"):
        CliRunner().invoke(app, ["check", str(tmp_path / "none.yaml")], catch_exceptions=False)


def test_trying_is_a_verb_of_the_desk(monkeypatch, file):
    asked = []

    def call(place, verb, **given):
        asked.append((verb, given))
        raise RefusedInput("reward.no_report")

    monkeypatch.setattr(client, "call", call)
    with pytest.raises(RefusedInput):
        CliRunner().invoke(
            app, ["try", "shop", "--reward", str(file), "--model", "m", "--rows", "7"], catch_exceptions=False
        )
    ((verb, given),) = asked
    assert verb in VERBS
    assert given == {"name": "shop", "reward": REWARD, "model": "m", "asking": {"rows": 7}}
    assert commands.read_reward(file) == parse(REWARD)


def test_answers_are_rated_and_paired_through_the_server(monkeypatch):
    asked = []
    shown = []
    monkeypatch.setattr(commands, "done", lambda verb, **arguments: asked.append((verb, arguments)))
    monkeypatch.setattr(commands, "_show_made", lambda name, as_json: shown.append(name))
    run("rate", "shop@2", "shop-answers")
    run("pairs", 3, "shop-pairs")
    assert asked == [
        ("rate_samples", {"name": "shop@2", "into": "shop-answers"}),
        ("pairs_of_ratings", {"round_id": 3, "into": "shop-pairs"}),
    ]
    assert shown == ["shop-answers", "shop-pairs"] and {verb for verb, _ in asked} <= set(VERBS)
