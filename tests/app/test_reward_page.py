"""The tab Reward: a reward proposed, changed, tried and marked, on a real registry with real jobs."""

import json
from pathlib import Path

import pytest

from app.data.panel import Told
from app.rewards import building, cards, trial_view, words
from studio.db import datasets, jobs, labels, models
from studio.errors import RefusedInput
from studio.graders.declared import GRADERS, options_of
from studio.graders.score import Row
from studio.rewards import kept
from studio.rewards.answers_to_try import answers_to_try
from studio.rewards.kept import Asking, Samples, Trial
from studio.rewards.recipe import parse
from studio.rewards.report import GREEN
from studio.rewards.trial import trial
from studio.workshop.labelling.marks import good_bad, stars
from studio.workshop.versions.reader import read_rows
from tests.app.data_page import Page, studio_with
from tests.unit.rewards.test_judges import add_checkpoint, add_run

LABELS = ("refund", "delivery", "other")
ROWS = [{"prompt": f"Sort this mail, number {n} of <b>many</b>.", "completion": LABELS[n % 3]} for n in range(30)]


@pytest.fixture(scope="module", name="context")
def fixture_context(tmp_path_factory):
    with studio_with(tmp_path_factory.mktemp("reward"), ROWS) as context:
        yield context


@pytest.fixture(scope="module", name="proposed")
def fixture_proposed(context):
    """A page on which a reward was proposed from the rows."""
    page = Page(context)
    first = page.tab("reward")
    assert "Propose a reward" in first and "rule.weight" not in first
    return page.press("reward", "propose", {"model": ""})


def test_a_reward_is_proposed_from_the_rows_and_says_why_it_is_not_green(proposed):
    shown = proposed.shown("reward")
    assert 'data-rule="label"' in shown and shown.count("data-rule=") == 1
    assert "Not yet" in shown and "Choose a model" in shown and "proposed from your rows" in shown
    assert "The right answer beats a wrong one on 100 %" in shown
    assert "refund" in shown and "<b>many</b>" not in shown


def test_a_rule_is_added_with_its_settings_open_and_says_what_it_lacks(context, proposed):
    page = Page(context, tab="reward")
    page.press("reward", "add", {"grader": "pattern"})
    shown = page.shown("reward")
    assert 'name="pattern"' in shown and 'name="rule.penalty"' in shown
    assert "Write the regular expression" in shown and "Rule 2 is not complete" in shown
    assert "not the ones that were tried" in shown
    page.press("reward", "rule", {"pattern": "[a-z]+", "match": "whole", "rule.weight": "0.5"}, place=1)
    assert page.state("reward")["reward"]["rewards"][1] == {"name": "pattern", "pattern": "[a-z]+", "weight": 0.5}
    assert "is not complete" not in page.shown("reward")
    page.press("reward", "unfold", place=1)
    page.press("reward", "rule", {"rule.weight": "nothing"}, place=1)
    assert "It has to be more than 0" in page.shown("reward")
    page.press("reward", "rule", {"rule.weight": "0.25"}, place=1)
    entry = page.state("reward")["reward"]["rewards"][1]
    assert entry == {"name": "pattern", "pattern": "[a-z]+", "weight": 0.25}  # folded settings stay
    page.press("reward", "remove", place=1)
    assert len(page.state("reward")["reward"]["rewards"]) == 1
    assert "not the ones that were tried" not in page.shown("reward")


def test_a_cheated_reward_is_told_with_what_to_do_and_a_person_may_disagree(context, proposed):
    page = Page(context, tab="reward")
    page.press("reward", "add", {"grader": "length"})
    page.press("reward", "remove", place=0)
    page.press("reward", "try", {"model": ""})
    shown = page.shown("reward")
    assert "Every answer is worth the same" in shown or "Only on" in shown
    for row in (1, 2, 3):
        page.press("reward", "good", which="own", row=row, place=0)
    page.press("reward", "bad", which="own", row=3, place=0)
    page.press("reward", "good", which="own", row=2, place=0)
    assert [(mark["row"], mark["rating"]) for mark in page.state("reward")["marks"]] == [(1, "good"), (3, "bad")]
    page.press("reward", "try", {"model": ""})
    assert "your 2 marks" in page.shown("reward")
    with context.registry.session() as session:
        newest = jobs.list_jobs(session, kinds=("trial",))[0]
    assert newest.state == "succeeded" and not newest.needs_device
    page.press("reward", "propose", {"model": ""})
    assert 'data-rule="label"' in page.shown("reward") and 'data-rule="length"' not in page.shown("reward")
    page.press("reward", "row", row=7)
    assert page["tab"] == "rows"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", GRADERS)
def test_every_rules_form_is_drawn_and_read_back(context, proposed, language, name):
    """What a form shows and sends unchanged is the rule as it was."""
    said = type(context)(language, context.desk, context.registry)
    entry = {"name": name, "weight": 1.0}
    html = cards.card(said, 0, entry, "", {"unfold": 0})
    assert all(f'name="{info.name}' in html for info in options_of(name))
    assert "reward." not in html.replace("data-rule", "").replace("rule.", "")
    fields = {"rule.weight": "1", "rule.part": "whole", "rule.penalty": False}
    for info in options_of(name):
        if info.kind == "choices":
            fields |= {f"{info.name}:{each}": each in info.default for each in info.choices}
        else:
            fields[info.name] = _sent(info)
    assert building._entry(entry, fields) == entry


def _sent(info):
    if info.kind == "flag":
        return bool(info.default)
    if info.kind == "texts":
        return "\n".join(info.default)
    if info.kind == "json":
        return json.dumps(info.default)
    return "" if info.default is None else str(info.default)


def test_what_is_pressed_from_elsewhere_does_no_harm(context, proposed):
    page = Page(context)
    before = page.tab("reward")
    for told in (Told("remove", {"place": "99"}), Told("rule", {"place": "-1"}), Told("nonsense"), Told("rule")):
        page.press("reward", told.do, told.fields, **told.data)
    assert page.shown("reward").count("data-rule=") == before.count("data-rule=")
    assert GREEN not in page.state("reward")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_green_reward_leads_to_a_run_that_takes_it(context, proposed, language):
    """Rows of its own, so that no other trial is newer."""
    said = type(context)(language, context.desk, context.registry)
    rows = [Row(question=f"Mail {n}", reference=LABELS[n % 3], number=n) for n in range(1, 31)]
    sampled = {row.number: [row.reference] for row in rows}
    report = trial(parse([{"name": "label", "labels": list(LABELS)}]), rows, answers_to_try(rows, sampled))
    assert report.verdict == GREEN
    facts = {"dataset": "shop", "version": 1, "is_proposed": False, "sampled": 30, "created_at": "2"}
    green = Trial(model="starter", verdict=GREEN, report=report, **facts)
    html = trial_view.verdict_html(said, green, report.recipe, is_current=True)
    assert f"/{language}/train?dataset=shop&amp;method=grpo&amp;model=starter" in html and "lu-good" in html
    assert "method=grpo" not in trial_view.verdict_html(said, green, report.recipe, is_current=False)
    shown = trial_view.figures_html(said, green, [])
    assert "reward." not in shown and shown.count('data-do="good"') == 10


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_alert_names_rule_and_reason_in_words(context, language):
    said = type(context)(language, context.desk, context.registry)
    data = {"code": "reward_missing", "values": {"rule": "judge_model_2", "why": "fault", "count": 3, "total": 8}}
    told = said.say("alerts.reward_missing", **words.alert_values(said, data))
    assert "fault" not in told and "judge_model" not in told and "3" in told and "8" in told
    other = {"code": "reward_missing", "values": {"rule": "of a later studio", "why": "new", "count": 1, "total": 2}}
    assert "of a later studio" in said.say("alerts.reward_missing", **words.alert_values(said, other))


def test_what_rules_judge_is_named_and_weighed_apart(context, proposed):
    page = Page(context, tab="reward")
    assert "How the rules add up" not in page.shown("reward"), "one rule needs no sum"
    page.press("reward", "add", {"grader": "length_penalty"})
    page.press("reward", "rule", {"rule.weight": "0.5", "rule.dimension": "brevity"}, place=1)
    page.press("reward", "sum", {"dimension.correctness": "1", "dimension.brevity": "0.4", "missing": "rule"})
    document = page.state("reward")["reward"]
    assert document["dimensions"] == {"brevity": 0.4} and document["missing"] == "rule"
    shown = page.shown("reward")
    assert "0.5 × 0.4 = 0.2" in shown and "takes off: -0.2 to 0" in shown and "between -0.2 and 1" in shown
    page.press("reward", "name", {"name": "labels, <short>"})
    assert 'value="labels, &lt;short&gt;"' in page.shown("reward")
    page.press("reward", "try", {"model": "", "name": "labels, <short>"})
    assert "not the ones that were tried" not in page.shown("reward")
    with context.registry.session() as session:
        newest = jobs.list_jobs(session, kinds=("trial",))[0]
    assert newest.values["reward"]["name"] == "labels, <short>" and newest.values["reward"]["missing"] == "rule"
    page.press("reward", "remove", place=1)
    assert page.state("reward")["reward"]["dimensions"] == {}
    page.press("reward", "propose", {"model": ""})


def test_a_model_to_ask_is_chosen_by_name_with_how_often_it_is_right(context, proposed, tmp_path):
    page = Page(context, tab="reward")
    page.press("reward", "add", {"grader": "reward_model"})
    assert "train a run with the method “reward” first" in page.shown("reward")
    with context.desk._writer.begin() as session:
        facts = {"architecture": "llama", "size_bytes": 1, "content_hash": "small", "parameters": 10}
        base = models.add_model(session, name="small", source="local", path=str(tmp_path), facts=facts)
        add_checkpoint(session, tmp_path, 900, add_run(session, base, method="reward"), 40, 0.5)
    shown = page.tab("reward")
    assert "reward · 40 (#900), right on 75 % of held-out pairs" in shown
    page.press("reward", "rule", {"model": "900", "rule.weight": "1"}, place=1)
    assert page.state("reward")["reward"]["rewards"][1] == {"name": "reward_model", "model": "900", "weight": 1.0}
    assert "is not complete" not in page.shown("reward")


def test_what_is_marked_a_cheat_is_rejected_beside_the_datas_own_answer(context, proposed):
    page = Page(context, dataset="shop", tab="reward")
    assert "Mark at least one answer above" in page.shown("reward")
    report = kept.newest(context.desk.workspace, _summary(context).content_hash).report
    wrong = next(each for each in [*report.worst, *report.best] if each.kind == "wrong")
    page.press("reward", "bad", which="wrong", row=wrong.row, place=wrong.place)
    page.press("reward", "cheat", which="wrong", row=wrong.row, place=wrong.place)
    (mark,) = page.state("reward")["marks"]
    assert (mark["rating"], mark["answer"]) == ("cheat", wrong.answer)
    page.press("reward", "pairs", {"into": "cheats"})
    with context.registry.session() as session:
        made = datasets.dataset(session, "cheats")
    (row,) = read_rows(Path(made.path), start=0, count=5)
    assert made.format == "preference" and row.rejected[0]["content"] == wrong.answer
    assert row.chosen[0]["content"] == LABELS[(wrong.row - 1) % 3] and row.extra["is_cheat"] is True
    with pytest.raises(RefusedInput, match="cheats"):
        context.desk.pairs_of_marks("shop", [mark], "cheats")
    with pytest.raises(RefusedInput, match="nothing to learn from"):
        context.desk.pairs_of_marks("shop", [{**mark, "rating": "good"}], "others")


def test_a_models_answers_are_rated_by_two_and_become_pairs_with_their_agreement(context, proposed):
    place = kept.samples_place(context.desk.workspace, "m" * 64, _summary(context).content_hash, Asking())
    answers = {number: ["refund", "delivery", "delivery"] for number in range(1, 13)}
    kept.keep(place, Samples(model="small", seconds=1.0, answers=answers))
    page = Page(context, dataset="shop", tab="reward")
    page.press("reward", "rate", {"into": "said"})
    with context.registry.session() as session:
        said = datasets.dataset(session, "said")
    assert (said.rows, said.format) == (24, "messages"), "an answer given twice is rated once"
    labelling = context.desk.labelling
    current = labelling.start_round("said", "first", scale=stars(), num_annotators=2)
    rows = read_rows(Path(said.path), start=0, count=24)
    for who, good in (("Ann", "5"), ("Ben", "4")):
        for row in rows:
            rating = good if row.messages[-1]["content"] == "refund" else "1"
            tags = ["cheat"] if row.row == 1 else []
            labelling.mark_row(current, row.row, who, rating=rating, tags=tags)
    page = Page(context, dataset="said", tab="label")
    page.press("label", "view", view="results")
    assert "Make preference pairs of these ratings" in page.shown("label")
    page.press("label", "pairs", {"into": "said pairs"}, round=str(current))
    with context.registry.session() as session:
        made = datasets.dataset(session, "said pairs")
    step = made.manifest["steps"][0]["parameters"]
    assert (made.rows, made.format, made.manifest["parent"]) == (12, "preference", said.content_hash)
    assert step["round"] == "first" and step["agreement"] > 0.8 and step["cheats"] == 1
    pairs = read_rows(Path(made.path), start=0, count=24)
    assert {row.rejected[0]["content"] for row in pairs if not row.extra["is_cheat"]} == {"delivery"}
    assert next(row for row in pairs if row.extra["is_cheat"]).rejected[0]["content"] == "refund"


def test_ratings_that_agree_no_better_than_chance_are_warned_of_before_pairs_are_made(context, proposed):
    labelling = context.desk.labelling
    number = labelling.start_round("shop", "at odds", scale=good_bad(), num_annotators=2, by="random", count=12)
    with context.registry.session() as session:
        rows = labels.task_rows(session, number)
    for place, row in enumerate(rows):
        labelling.mark_row(number, row, "Ann", rating="good" if place % 2 else "bad")
        labelling.mark_row(number, row, "Ben", rating="good" if place % 4 < 2 else "bad")
    page = Page(context, dataset="shop", tab="label")
    page.press("label", "view", view="results")
    assert "agree hardly more than chance would. Pairs made of such ratings teach noise" in page.shown("label")


def _summary(context):
    with context.registry.session() as session:
        return datasets.dataset(session, "shop")
