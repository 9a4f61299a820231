"""What models write is read strictly, judged by votes, kept apart from the rows, and marked when it is taken."""

import json

import polars as pl
import pytest

from studio.errors import RefusedInput
from studio.paths import Workspace
from studio.workshop import reports
from studio.workshop.adding import writing, written
from studio.workshop.adding.accepting import accept
from studio.workshop.adding.writing import Draft, Parent, Refused
from studio.workshop.adding.written import Candidate, Vote, WrittenReport
from studio.workshop.clean import split
from studio.workshop.table import load
from studio.workshop.versions.reader import read_manifest, read_problems, read_rows
from tests.unit.workshop.making import chat, pair, version

PARENT = Parent(row=7, turns=[{"role": "user", "content": "Where is it?"}], question="Where is it?", answer="Here.")


def says(*answers):
    """A model that says these one after the other, and keeps what it was asked."""
    left = list(answers)

    def ask(messages):
        ask.asked.append(messages[-1]["content"])
        return left.pop(0)

    ask.asked = []
    return ask


# -- writing ---------------------------------------------------------------------------------------------------------


def test_a_base_answer_is_what_the_model_said():
    assert writing.draft("base", PARENT, [], says(" Over there.\n")) == Draft("Where is it?", "Over there.")


def test_a_question_goes_through_chinese_and_back_and_chinese_through_english():
    ask = says("它在哪里？", "“Where can it be found?”")
    assert writing.draft("backtranslate", PARENT, [], ask) == Draft("Where can it be found?", "Here.")
    assert "into Chinese" in ask.asked[0] and "它在哪里？" in ask.asked[1]
    chinese = Parent(row=1, turns=[], question="它在哪里？", answer="这里。")
    made = writing.draft("backtranslate", chinese, [], says("Where is it?", "在什么地方？"))
    assert made == Draft("在什么地方？", "这里。")


@pytest.mark.parametrize("answers", [("Where is it?",), ("它在哪里？", "它在哪里？")])
def test_a_translation_into_the_wrong_language_is_refused(answers):
    with pytest.raises(Refused, match="other_language"):
        writing.draft("backtranslate", PARENT, [], says(*answers))


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("Is it 5 or 6?", "Is it 5?", "lost_facts"),
        ("What does 'so' say here?", "What does 'thus' say here?", "lost_facts"),
        ("See https://a.example/b please", "See the page please", "lost_facts"),
        ("Where is it?", "It is a question of where on earth this thing could possibly be.", "length"),
    ],
)
def test_a_translation_that_lost_something_is_refused(before, after, code):
    with pytest.raises(Refused, match=code):
        writing.check_meaning(before, after)
    writing.check_meaning(before, before)


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ("Question: Who?\nAnswer: Me.", Draft("Who?", "Me.")),
        ("Sure!\n\n**Question:** Who?\n\n**Answer:** Me.\nAnd you.", Draft("Who?", "Me.\nAnd you.")),
        ("Question: A?\nAnswer: B.\n\nQuestion: C?\nAnswer: D.", Draft("A?", "B.")),
        ("问题：谁？\n回答：我。", Draft("谁？", "我。")),
    ],
)
def test_a_new_pair_is_read_out_of_what_the_model_wrote(said, made):
    found = writing.draft("write", PARENT, [PARENT], says(said))
    assert (found.prompt.strip("* "), found.answer.strip("* ")) == (made.prompt, made.answer)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", "empty"),
        ("I'm sorry, but I cannot help with that.", "model_refused"),
        ("Here is one: who is it?", "unreadable"),
        ("Question: ...\nAnswer: ...", "unreadable"),
        ("Question: Who?\nAnswer:   ", "unreadable"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(said, code):
    with pytest.raises(Refused, match=code):
        writing.draft("write", PARENT, [], says(said))


def test_only_rows_that_train_and_that_nobody_made_are_shown(tmp_path):
    rows = [pair(f"Q{n}?", f"A{n}") for n in range(20)]
    folder = version(tmp_path / "v1", rows, splits={n: "train" if n < 9 else "test" for n in range(1, 21)})
    found = writing.parents(folder, "write", 50, 1)
    assert sorted(each.row for each in found) == list(range(1, 9))
    assert [each.row for each in writing.parents(folder, "write", 3, 1)] == [each.row for each in found][:3]


def test_a_conversation_is_asked_up_to_its_last_answer_and_is_no_example(tmp_path):
    folder = version(tmp_path / "v1", [chat("Hi", "Hello", "And?", "So."), chat("Who?", "Me.")])
    (first, _) = sorted(writing.parents(folder, "base", 9, 1), key=lambda each: each.row)
    assert ([turn["content"] for turn in first.turns], first.answer) == (["Hi", "Hello", "And?"], "So.")
    assert [each.row for each in writing.parents(folder, "write", 9, 1)] == [2]


# -- judging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("YES", "yes"),
        ("Yes, it is. There is no doubt.", "yes"),
        ("No. Yes would be wrong.", "no"),
        ("是的。", "yes"),
        ("不是。", "no"),
        ("Nobody knows.", "unclear"),
        ("", "unclear"),
    ],
)
def test_the_first_word_of_a_judge_counts(said, verdict):
    assert writing.verdict(said) == verdict


def test_more_than_half_of_the_judges_accept():
    assert writing.is_accepted([])
    assert writing.is_accepted(["yes", "yes", "no"])
    assert not writing.is_accepted(["yes", "no"])
    assert not writing.is_accepted(["yes", "unclear"])


def test_a_judge_is_told_the_requirement_and_asked_what_fits_the_kind():
    (asked,) = writing.question_for_judge("write", PARENT, Draft("Q?", "A."), "Be brief.")
    assert all(part in asked["content"] for part in ("Be brief.", "Q?", "A.", "YES or NO"))
    (asked,) = writing.question_for_judge("backtranslate", PARENT, Draft("Where?", "Here."), "")
    assert "Where is it?" in asked["content"] and "required" not in asked["content"]


# -- reports, and what is taken out of them --------------------------------------------------------------------------


def candidate(number, parent, prompt="Q new?", code=None, **kept):
    fields = {"answer": "A new." if prompt else "", "before": "Q?", "before_answer": "A.", "accepted": code is None}
    return Candidate(number=number, parent=parent, prompt=prompt, code=code, **fields | kept)


def report(folder, *candidates, kind="write", created_at="2026-01-01T00:00:00Z"):
    made = WrittenReport(
        dataset="support",
        version=1,
        content_hash="",
        kind=kind,
        model="starter",
        judges=("starter",),
        requirement="",
        asked=len(candidates),
        candidates=sum(bool(each.prompt) for each in candidates),
        accepted=sum(each.accepted for each in candidates),
        refused={},
        judged_itself=True,
        created_at=created_at,
    )
    written.keep(folder, made, list(candidates))
    return folder


def test_a_report_is_read_sampled_and_found(tmp_path):
    place = Workspace(tmp_path / "studio").make()
    votes = (Vote(judge="starter", verdict="no", text="No."),)
    some = [candidate(1, 1), candidate(2, 1, code="voted_down", votes=votes), candidate(3, 2)]
    older = report(place.reports / "written-a", *some)
    newer = report(place.reports / "written-b", candidate(1, 1), created_at="2026-02-01T00:00:00Z")
    assert written.reports_of(place, "support") == [newer, older]
    assert written.reports_of(place, "general") == []
    assert written.read_candidates(older) == some
    assert [each.number for each in written.read_candidates(older, accepted=False)] == [2]
    assert [each.number for each in written.read_candidates(older, start=1, count=1)] == [2]
    assert written.sample(older, 9) == [1, 3] and len(written.sample(older, 1)) == 1
    assert "judges" in some[1].message() and some[0].message() == ""
    with pytest.raises(RefusedInput):
        written.read_report(tmp_path)


def test_taken_candidates_are_rows_that_train_and_say_who_wrote_them(tmp_path):
    rows = [pair("Q1?", "A1", category="a", extra={"id": 1}), pair("Q2?", "A2"), pair("Q3?", "A3")]
    first = version(tmp_path / "v1", rows, splits={1: "train", 2: "test", 3: "train"})
    found = report(tmp_path / "r", candidate(1, 1), candidate(2, 2), candidate(3, 3, code="voted_down"))
    manifest, counts = accept(first, found, None, tmp_path / "v2")
    assert (manifest.rows, counts) == (4, {"added": 1, "left_out": 1})
    new = read_rows(tmp_path / "v2", start=3, count=1)[0]
    assert (new.row, new.prompt, new.completion) == (4, "Q new?", "A new.")
    assert (new.origin, new.split, new.category, new.extra) == ("augment:written:starter:1", "train", "a", None)
    (told,) = reports.read_changes(tmp_path / "v2", start=0, count=9, step="written", action="add")
    assert told.row == 4 and "starter" in told.message() and "A new." in told.after
    assert manifest.steps[-1].parameters["judges"] == ["starter"]
    # A person may also take what the judges did not.
    assert accept(first, found, [1, 3], tmp_path / "v3")[1]["added"] == 2


def test_taken_rows_stay_in_training_when_split_again(tmp_path):
    first = version(tmp_path / "v1", [pair(f"Question {n} about {n * 7}?", f"A{n}") for n in range(1, 21)])
    some = [candidate(n, n, prompt=f"Entirely other words {n * 31}?") for n in range(1, 21)]
    accept(first, report(tmp_path / "r", *some), None, tmp_path / "v2")
    accept(tmp_path / "v2", report(tmp_path / "s", *some, kind="base"), None, tmp_path / "v3")
    for seed in range(3):
        sides = split.run(load(tmp_path / "v3"), split.Options(test=0.3, seed=seed)).rows
        assert set(sides.filter(pl.col("origin").is_not_null())["split"]) == {"train"}


def test_a_data_set_of_the_new_rows_alone_says_what_it_left(tmp_path):
    first = version(tmp_path / "v1", [chat("Hi", "Hello", "And?", "So."), chat("Who?", "Me.")])
    found = report(tmp_path / "r", candidate(1, 1, prompt="Hi"), kind="base")
    manifest, _ = accept(first, found, [1], tmp_path / "alone", only=True)
    assert (manifest.rows, manifest.excluded, read_manifest(tmp_path / "alone").rows) == (1, 2, 1)
    (row,) = read_rows(tmp_path / "alone", start=0, count=9)
    assert [turn["content"] for turn in row.messages] == ["Hi", "Hello", "And?", "A new."]
    assert row.origin == "augment:base:starter:1"
    assert {each.code for each in read_problems(tmp_path / "alone", start=0, count=9)} == {"written.left_behind"}


def test_what_cannot_be_taken_is_refused(tmp_path):
    first = version(tmp_path / "v1", [pair("Q1?", "A1"), pair("Q2?", "A2")], splits={1: "train", 2: "test"})
    found = report(tmp_path / "r", candidate(1, 2), candidate(2, 1, prompt="", code="empty"))
    for numbers in (None, [1]):
        with pytest.raises(RefusedInput) as refused:
            accept(first, found, numbers, tmp_path / "v2")
        assert refused.value.code == "data.written.nothing"
    for number in (2, 9):
        with pytest.raises(RefusedInput, match=str(number)):
            accept(first, found, [number], tmp_path / "v2")
    assert json.loads((found / "report.json").read_text())["accepted"] == 1
