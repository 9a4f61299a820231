"""The Train page offers tried rewards by name; a run carries what its trial came to."""

import msgspec
import pytest
import yaml

from app.pages import runs, train
from studio.db import jobs
from studio.graders.score import Row
from studio.rewards import kept
from studio.rewards.answers_to_try import answers_to_try
from studio.rewards.kept import Trial
from studio.rewards.recipe import digest, parse
from studio.rewards.report import GREEN
from studio.rewards.trial import trial
from tests.app.test_train_page import MACHINE, ROWS_HASH, Page, fixture_studio  # noqa: F401 - a fixture

NAMED = {"name": "short labels", "rewards": [{"name": "label", "labels": ["yes", "no", "maybe"]}]}
WEAK = {"rewards": [{"name": "length", "max": 30}, {"name": "repetition"}]}


@pytest.fixture(name="rewarded")
def fixture_rewarded(studio):
    """On the rows of the form a weak reward was tried, then a green one; on others a third."""
    rows = [Row(question=f"Mail {n}?", reference=("yes", "no", "maybe")[n % 3], number=n) for n in range(1, 31)]
    answers = answers_to_try(rows, {row.number: [row.reference] for row in rows})
    workspace = studio.context("en").desk.workspace
    elsewhere = {"name": "of old", "rewards": [{"name": "exact_match"}]}
    for content, reward in ((ROWS_HASH, WEAK), (ROWS_HASH, NAMED), ("c" * 64, elsewhere)):
        report = trial(parse(reward), rows, answers)
        facts = {"dataset": "trivia", "version": 1, "model": "starter", "is_proposed": False, "sampled": 30}
        found = Trial(verdict=report.verdict, report=report, created_at="2026-01-01T00:00:00Z", **facts)
        kept.keep(kept.trial_place(workspace, content, report.hash), found)
    return studio


def test_rewards_are_chosen_by_name_and_their_text_follows(rewarded):
    page = Page(rewarded, dataset="trivia", model="starter", method="grpo")
    words = [said for said, _ in page.choices["reward_choice"]]
    assert words == [
        "short labels · green",
        "Length within bounds, Penalty for repetition · not green yet",
        "of old · tried on other rows",
        "My own rules, as written below",
    ]
    assert page.parts["reward_choice"] == digest(parse(NAMED)), "the last one that was tried is filled in"
    assert "Take it: on these rows" in page.reasons["rewards"] and "tab=reward" in page.reasons["rewards"]
    weak = digest(parse(WEAK))
    page.take(train.choose_reward(page.context, weak, *page.given))
    assert page.parts["reward_choice"] == weak and parse(yaml.safe_load(page.fields["rewards"])) == parse(WEAK)
    assert "Not yet: its trial found" in page.reasons["rewards"] and "the trial is not green" in page.plan
    page.type(rewards="[{name: numeric_match}]")
    assert page.parts["reward_choice"] == "" and "Rules of your own" in page.reasons["rewards"]
    assert "Press “Try the reward”" in page.plan and "▲" not in page.reasons["rewards"]
    before = page.fields["rewards"]
    page.take(train.choose_reward(page.context, "nothing of the kind", *page.given))
    assert page.fields["rewards"] == before
    page.take(train.choose_reward(page.context, digest(parse(NAMED)), *page.given))
    assert "changed" not in page.reasons["rewards"].casefold(), "it is what would be filled in"


def test_a_run_tells_what_trying_its_reward_came_to(rewarded):
    page = Page(rewarded, dataset="trivia", model="starter", method="grpo")
    said = {}
    for name, reward in (("green", NAMED), ("not_yet", WEAK), ("untried", {"rewards": ["numeric_match"]})):
        page.type(rewards=yaml.safe_dump(reward))
        number = int(page.start().rpartition("=")[2])
        with page.context.registry.session() as session:
            plan = jobs.events(session, number, types=("plan",))[-1].data
            assert plan["reward"]["verdict"] == name and plan["reward"]["hash"] == digest(parse(reward))
            said[name] = runs.settings_html(page.context, jobs.job(session, number), plan)
        assert msgspec.json.decode(msgspec.json.encode(plan)) == plan
    assert "“short labels” was tried before this run (starter) and came out green" in said["green"] and GREEN == "green"
    assert "did not come out green" in said["not_yet"] and "was not tried before this run" in said["untried"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_where_no_reward_was_tried_the_page_says_where_to_make_one(studio, language):
    page = Page(studio, language=language, dataset="trivia", model="starter", method="ppo")
    assert [chosen for _, chosen in page.choices["reward_choice"]] == [""]
    told = {"en": "No reward was tried on these rows yet", "zh": "这些数据还没有试用过奖励"}[language]
    assert told in page.reasons["rewards"] and MACHINE.gpu is None
