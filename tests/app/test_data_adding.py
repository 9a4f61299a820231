"""The tab "Add rows" with real jobs: questions in other words, what a model wrote, and the way back from both."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.context import Context
from studio.db import datasets
from studio.db.datasets import DatasetSummary
from studio.db.tables import Job
from studio.errors import RefusedInput
from studio.messages import catalogue, say
from studio.opening import open_studio
from studio.paths import Workspace
from studio.workshop import recipe as recipes
from studio.workshop.adding import written
from studio.workshop.adding.augmenting import AUGMENT
from studio.workshop.adding.written import NO, YES, Candidate, Vote, WrittenReport
from studio.workshop.versions.finding import added
from tests.app.data_page import Page, imported, studio_with
from tests.app.seeding import add_checkpoint, add_run

QUESTIONS = {
    "Where is the cemetery?": "Behind the church.",
    "What is the capital of France?": "Paris.",
    "How do I reset my password?": "Press the button below the field.",
}
OPTIONS = {"synonyms": True, "rephrase": True, "per_row": "1", "share": "1", "similarity": "0.95", "seed": "42"}


@pytest.fixture(scope="module", name="context")
def fixture_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One studio for all tests here, with one data set that each of them finds at its first version."""
    rows = [{"prompt": prompt, "completion": answer} for prompt, answer in QUESTIONS.items()]
    with studio_with(tmp_path_factory.mktemp("studio"), rows) as context:
        yield context


@pytest.fixture
def shop(context: Context) -> Page:
    context.desk.rollback_dataset("shop", 1)
    return Page(context, dataset="shop", tab="adding")


def dataset(context: Context, name: str = "shop") -> DatasetSummary:
    with context.registry.session() as session:
        return datasets.dataset(session, name)


def new_rows(context: Context) -> list[int]:
    return [row for row, _ in added(Path(dataset(context).path))]


def test_new_wordings_are_shown_beside_their_rows_and_taken_back(context: Context, shop: Page):
    assert "Add new wordings" in shop.shown("adding") and "New rows (" not in shop.shown("adding")
    shop.press("adding", "augment", OPTIONS)
    shown = shop.shown("adding")
    assert "6 rows" in shop["title"] and "3 rows in other words added" in shop["title"]
    assert "New rows (3)" in shown and shown.count("<del>") == shown.count("<ins>") == 3 and "New: " not in shown
    assert new_rows(context) == [4, 5, 6] and "✓ 3 new rows." in shown

    shop.press("adding", "take_back", row=5)
    assert new_rows(context) == [4, 6] and "1 row excluded" in shop["title"]
    assert "Take all back (2)" in shop.shown("adding") and "Row 5<" not in shop.shown("adding")
    shop.press("adding", "row", row=4)
    assert shop["tab"] == "rows" and 'data-row="4"' in shop.shown("rows")
    assert re.search(r'lu-info">new: (?:synonyms|other words)<', shop.shown("rows"))
    shop.press("adding", "take_all_back")
    assert new_rows(context) == [] and "3 rows" in shop["title"]


def test_undo_stands_beside_what_was_just_added(context: Context, shop: Page):
    shop.press("adding", "augment", OPTIONS | {"synonyms": False})
    assert all("rephrase" in origin for _, origin in added(Path(dataset(context).path)))
    shop.press("adding", "undo", version=1)
    assert "3 rows" in shop["title"] and "New rows (" not in shop.shown("adding")
    assert 'name="synonyms" data-key' in shop.shown("adding"), "the options stay as they were set"
    with pytest.raises(RefusedInput):
        shop.press("adding", "augment", OPTIONS | {"per_row": "many"})


def test_a_large_data_set_is_told_why_not(context: Context, tmp_path: Path):
    path = tmp_path / "large.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"What is {n}?", "completion": "It."}) for n in range(1000)))
    page = imported(context, path, "large")
    shown = page.tab("adding")
    assert "offered under 1,000 rows, and these are 1,000" in shown and 'data-do="augment"' not in shown


def test_without_a_model_nobody_can_write(context: Context, shop: Page):
    shown = shop.tab("adding")
    assert "The guides disagree" in shown and "No model is added yet" in shown
    assert '<details class="lu-fold" data-key="written">' in shown, "folded until a person opens it"


def judged(number: int, parent: int, prompt: str, *verdicts: str, code: str | None = None) -> Candidate:
    asked, said = list(QUESTIONS.items())[parent - 1]
    votes = tuple(Vote(judge=f"judge {n}", verdict=each, text=f"I say {each}.") for n, each in enumerate(verdicts))
    answer = "" if code == "empty" else "An answer."
    return Candidate(
        number=number,
        parent=parent,
        prompt=prompt,
        answer=answer,
        before=asked,
        before_answer=said,
        accepted=code is None,
        code=code,
        votes=votes,
    )


@pytest.fixture
def report(context: Context) -> Path:
    """What the job of `write_rows` leaves."""
    found = [
        judged(1, 1, "Where is the <b>library</b>?", YES, YES),
        judged(2, 2, "What is the capital of Spain?", YES, NO, code="voted_down"),
        judged(3, 3, "How do I change my name?", YES, YES),
        judged(4, 3, "", code="empty"),
    ]
    version = dataset(context)
    folder = context.desk.workspace.reports / "written-1"
    told = {"model": "starter", "judges": ("judge 0", "judge 1"), "requirement": "", "judged_itself": False}
    made = WrittenReport(
        dataset="shop",
        version=version.version,
        content_hash=version.content_hash,
        kind=written.WRITE,
        asked=3,
        candidates=4,
        accepted=2,
        refused={"voted_down": 1, "empty": 1},
        created_at="2026-01-01T00:00:00.000000Z",
        **told,
    )
    written.keep(folder, made, found)
    return folder


def test_candidates_are_looked_at_ticked_and_taken(context: Context, shop: Page, report: Path):
    shown = shop.tab("adding")
    assert "starter: 4 candidates (rows asked about: 3), 2 accepted." in shown and "accepted (2)" in shown
    assert "&lt;b&gt;library" in shown and "capital of Spain" not in shown and "judge 1: yes" in shown
    assert "Tick at least one first." in shown
    shop.press("adding", "view", {"view": "refused"})
    assert "capital of Spain" in shop.shown("adding") and "not more than half of the judges" in shop.shown("adding")
    assert 'name="take:4"' not in shop.shown("adding"), "what has no text cannot be taken"
    shop.press("adding", "tick", {"take:2": True})
    shop.press("adding", "view", {"view": "accepted"})
    shop.press("adding", "tick", {"take:1": True, "take:3": False})
    assert shop.state("adding")["ticked"] == [1, 2] and "Take the ticked ones (2)" in shop.shown("adding")
    with pytest.raises(RefusedInput):
        shop.press("adding", "accept", {"into": "no/name"})
    shop.press("adding", "accept", {"into": ""})
    assert "5 rows" in shop["title"] and "2 rows that a model wrote added" in shop["title"]
    assert "written by starter" in shop.shown("adding") and "New rows (2)" in shop.shown("adding")
    with pytest.raises(RefusedInput):
        shop.press("adding", "accept", {"into": ""})
    shop.press("adding", "tick_all")
    shop.press("adding", "accept", {"into": "alone"})
    assert shop["name"] == "alone" and "2 rows" in shop["title"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_option_and_kind_has_words(language: str):
    words = catalogue(language)
    for info in recipes.options_of("augment", AUGMENT):
        assert f"data.augment.option.{info.name}.label" in words
    for kind in written.KINDS:
        assert {f"data.written.kind.{kind}", f"data.written.short.{kind}"} <= words.keys()


@pytest.mark.slow
def test_a_model_writes_candidates_from_the_page(workspace_with_starter: Workspace, tmp_path: Path):
    opened = open_studio(workspace_with_starter)
    try:
        context = Context("zh", opened.desk, opened.registry)
        opened.desk.add_model(str(workspace_with_starter.starter_model))
        path = tmp_path / "shop.jsonl"
        path.write_text(json.dumps({"prompt": "What is the capital of France?", "completion": "Paris."}), "utf-8")
        page = imported(context, path)
        shown = page.tab("adding")
        model = re.search(r'value="(model:[^"]+)"', shown)[1]
        ask = {"kind": "write", "model": model, "count": "1", "max_new_tokens": "24", "requirement": ""}
        with pytest.raises(RefusedInput):
            page.press("adding", "write", ask)
        page.press("adding", "write", ask | {"kind": "base", f"judge:{model}": True})
        assert say("data.written.candidates", "zh") in page.shown("adding")
        assert say("data.written.judged_itself", "zh") in page.shown("adding")
    finally:
        opened.close()


@pytest.fixture
def chosen_report(context: Context) -> Path:
    """What the job of `choose_answers` leaves: a second round, with answers that are much alike."""
    version, folder = dataset(context), context.desk.workspace.reports / "written-2"
    asked = list(QUESTIONS)
    found = [
        Candidate(
            number=number,
            parent=parent,
            prompt=asked[parent - 1],
            answer=text,
            before=asked[parent - 1],
            before_answer=QUESTIONS[asked[parent - 1]],
            accepted=code is None,
            code=code,
            reward=reward,
        )
        for number, (parent, text, reward, code) in enumerate(
            [
                (1, "Over <b>there</b>.", 1.0, None),
                (1, "Somewhere.", 0.2, "below_threshold"),
                (2, "", None, "no_reward"),
            ],
            1,
        )
    ]
    rollout = written.Rollout(
        checkpoint=1,
        base="starter",
        reward={"rewards": [{"name": "length"}]},
        threshold=0.8,
        mean=0.6,
        questions_kept=1,
        variety=0.3,
        variety_before=0.9,
        rounds=1,
    )
    made = WrittenReport(
        dataset="shop",
        version=version.version,
        content_hash=version.content_hash,
        kind=written.REJECTION_SAMPLING,
        model="first try · 30",
        judges=(),
        requirement="",
        asked=10,
        candidates=3,
        accepted=1,
        refused={"below_threshold": 1, "no_reward": 1},
        judged_itself=False,
        created_at="2026-01-02T00:00:00.000000Z",
        rollout=rollout,
    )
    written.keep(folder, made, found)
    return folder


def test_chosen_answers_are_shown_with_their_reward_and_a_second_round_is_warned_of(
    context: Context, shop: Page, chosen_report: Path
):
    shown = shop.tab("adding")
    assert "3 answers to 10 questions, 1 kept" in shown and "kept from 0.8 up" in shown
    assert "Over &lt;b&gt;there" in shown and "reward 1" in shown and "Somewhere" not in shown
    assert "30% of their word pairs" in shown and "90%" in shown
    for warning in ("chosen this way already (1 before)", "much more alike", "Of only 1 of 10 questions"):
        assert warning in shown
    assert 'value="shop chosen"' in shown and "Then train starter on it" in shown
    shop.press("adding", "view", {"view": "refused"})
    assert "the reward is below the threshold" in shop.shown("adding")


def test_only_runs_that_learned_from_a_reward_are_offered(context: Context, shop: Page):
    assert "There is no checkpoint of a run with GRPO, RLOO or PPO yet" in shop.tab("adding")
    with context.desk._writer.begin() as session:
        for title, method in (("by examples", "sft"), ("by reward", "grpo")):
            run = add_run(session, title=title, state="succeeded")
            session.get_one(Job, run).method = method
            saved = add_checkpoint(session, run, 30)
    form = re.search(r'<select name="who".*?</select>', shop.tab("adding"))[0]
    assert "by reward" in form and f'value="checkpoint:{saved}"' in form and "by examples" not in form
    with pytest.raises(RefusedInput, match="Questions"):
        shop.press("adding", "choose_answers", {"who": f"checkpoint:{saved}", "rows": "many"})
