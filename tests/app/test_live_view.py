"""The run page of a run that learns from rewards: alarms with what to try, and its answers step by step."""

import json
from html import escape
from typing import Any

import pytest
from typer.testing import CliRunner

from app.data.panel import Told
from app.pages import runs as page
from app.runs import alarms, rollouts
from app.runs.further_commands import app
from studio.db import checkpoints, jobs, lineage, metrics
from studio.db.engine import next_change
from studio.db.tables import Job
from studio.errors import Conflict, RefusedInput, SpecRefused
from studio.messages import LANGUAGES
from studio.params.table import parameters
from tests.app.conftest import Filled
from tests.app.seeding import add_checkpoint, add_run

REWARDS = {"rewards": [{"name": "json", "weight": 1.0}, {"name": "contains", "texts": ["a"], "weight": 0.5}]}
EVIL = "<script>alert(1)</script>"


def settings(**changed: Any) -> dict[str, Any]:
    own = {parameter.name: parameter.default for parameter in parameters("grpo")}
    sizes = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "num_generations": 8}
    return own | sizes | {"method": "grpo", "beta": 0.001, "learning_rate": 1e-5, "rewards": REWARDS} | changed


def seeded(filled: Filled, *, state: str = "running", kl: float = 3.0, method: str = "grpo", **changed: Any) -> int:
    """A run of 40 steps that climbs; its distance from what it was is `kl`."""
    with filled.writer.begin() as session:
        run = add_run(session, title="rewarded", state=state, values=settings(**changed))
        session.get_one(Job, run).method = method
        steps = range(1, 41)
        curves = {
            "reward": [(step, step / 40) for step in steps],
            "kl": [(step, kl) for step in steps],
            "completions/mean_length": [(step, 30.0) for step in steps],
            "rewards/json/mean": [(step, 0.5) for step in steps],
        }
        metrics.append(session, run, 1, curves)
        next_change(session)
    return run


def answered(filled: Filled, run: int, steps: range | list[int], text: str = EVIL) -> None:
    with filled.writer.begin() as session:
        for step in steps:
            values = {"json": 0.25, "contains": None}
            answers = [
                {"text": f"{step} {text}", "reward": 0.25, "values": values},
                {"text": " ", "reward": None, "values": {}},
            ]
            jobs.record_event(
                session, run, type="rollout", data={"step": step, "row": 3, "question": EVIL, "answers": answers}
            )
        next_change(session)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_alarm_says_what_was_seen_why_and_what_to_try(filled: Filled, language: str) -> None:
    run, context = seeded(filled), filled.context(language)
    html = alarms.draw(context, run)
    for part in ("title", "why", "hint"):
        assert escape(context.say(f"alarms.{part}.kl_explodes")) in html
    assert "90" in html and "0.003" in html and html.count('data-do="try_again"') == 2
    assert escape(context.say("alarms.stays")) in html, "the run still goes on"
    assert html in "".join(part for part in page.draw(context, {"run": str(run)}) if isinstance(part, str))


def test_a_run_that_is_well_or_learns_from_examples_says_nothing(filled: Filled) -> None:
    assert alarms.draw(filled.context(), seeded(filled, kl=0.1)) == ""
    assert alarms.draw(filled.context(), filled.ids["running"]) == "" == alarms.draw(filled.context(), 10_000)


def test_a_press_queues_the_run_with_that_change_once(filled: Filled) -> None:
    run, context = seeded(filled, state="succeeded"), filled.context()
    name = alarms.request_name(context, "alarm-kl_explodes-0", run)
    told = Told("try_again", {"code": "kl_explodes", "place": "0", "request": name})
    address = alarms.press(context, run, told)
    assert address == alarms.press(context, run, told), "pressed twice is one run"
    with filled.studio.registry.session() as session:
        new = jobs.job(session, int(address.rpartition("=")[2]))
        assert new.state == "queued" and new.values == settings(beta=0.003) and "beta" in new.chosen
        assert "beta" in new.title and lineage.origin(session, new.id) is None
    for other in ({"code": "kl_explodes", "place": "7"}, {"code": "solved", "place": "0"}, {"code": "kl_explodes"}):
        assert alarms.press(context, run, Told("try_again", other)) == ""


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, RefusedInput),
        ({"beta": 0.1, "learning_rate": 1e-5, "temperature": 1.0}, RefusedInput),
        ({"beta": -1.0}, SpecRefused),
        ({"no_such": 1}, SpecRefused),
        ({"num_generations": 7}, SpecRefused),
    ],
)
def test_what_cannot_be_tried_is_refused(filled: Filled, changes: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        filled.studio.desk.try_again(seeded(filled), changes)


def test_a_run_from_the_middle_of_another_is_not_tried_again(filled: Filled) -> None:
    run = seeded(filled)
    with filled.writer.begin() as session:
        saved = add_checkpoint(session, filled.ids["ended"], 50)
        lineage.record_origin(session, run, checkpoints.checkpoint(session, saved))
    html = alarms.draw(filled.context(), run)
    assert "try_again" not in html and filled.context().say("alarms.title.kl_explodes") in html
    with pytest.raises(Conflict):
        filled.studio.desk.try_again(run, {"beta": 0.1})


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_stand_with_their_scores_as_text(filled: Filled, language: str) -> None:
    run, context = seeded(filled), filled.context(language)
    answered(filled, run, [0, 5, 10])
    html = rollouts.draw(context, run)
    assert escape(f"10 {EVIL}") in html and EVIL not in html and "0.25" in html
    assert context.say("runs.answers.no_reward") in html and context.say("runs.answers.empty") in html
    assert context.say("runs.answers.place", place=3, count=3) in html
    assert rollouts.draw(context, filled.ids["ended"]) == ""


def test_one_steps_through_them_and_the_newest_is_followed_until_then(filled: Filled) -> None:
    run, context = seeded(filled, state="succeeded"), filled.context()
    answered(filled, run, [0, 5, 10])

    def press(do: str, chosen: str, **fields: str) -> str:
        return rollouts.press(context, run, Told(do, {}, fields), chosen)

    assert [press("back", ""), press("back", "5"), press("back", "0")] == ["5", "0", "0"]
    assert [press("forward", "0"), press("forward", "5"), press("newest", "0")] == ["5", "", ""]
    assert [press("step", "", step="5"), press("step", "0", step="nonsense"), press("first", "5")] == ["5", "", "0"]
    assert "5 &lt;script" in rollouts.draw(context, run, "5")
    answered(filled, run, [15])
    assert "15 &lt;script" in rollouts.draw(context, run) and "5 &lt;script" in rollouts.draw(context, run, "5")


def test_a_long_answer_is_folded(filled: Filled) -> None:
    run = seeded(filled)
    answered(filled, run, [0], "word " * 400)
    html = rollouts.draw(filled.context(), run)
    assert html.count("<details") == 1 and "1,402" in html


def test_the_command_line_tells_alarms_too(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    run = seeded(filled)
    monkeypatch.setenv("LUTHIER_HOME", str(filled.workspace.root))
    done = CliRunner().invoke(app, ["alarms", str(run), "--json"])
    (told,) = json.loads(done.stdout)
    assert (told["code"], told["changes"]) == ("kl_explodes", [{"beta": 0.003}, {"learning_rate": 5e-6}])
    assert "90" in told["seen"]
    assert "0.003" in CliRunner().invoke(app, ["alarms", str(run)]).stdout
