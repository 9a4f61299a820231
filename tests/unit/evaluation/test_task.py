"""What kind of answer rows want, what counts as right, and what has the wanted form."""

import json

import pytest

from studio.evaluation.task import scores, task_of
from studio.workshop.clean.task_schema import Options
from tests.starter import whole_starter

LABELS = ["good", "very good", "bad"] * 20
PEOPLE = [json.dumps({"name": name, "age": age}) for name, age in (("Ann", 3), ("Bob", 4), ("Cy", 5))] * 10


def rights(answers, pairs):
    task = task_of(answers)
    return task.kind, [(each.right, each.follows) for each in scores(task, *zip(*pairs, strict=True))]


def test_a_label_is_right_if_no_other_is_named():
    said = ("Good.", "very good", "It is very good", "good or bad", "", "The answer is bad")
    wanted = ("good", "very good", "good", "good", "bad", "bad")
    kind, found = rights(LABELS, list(zip(said, wanted, strict=True)))
    assert kind == "labels"
    expected = [(True, False), (True, True), (False, False), (False, False), (False, False), (True, False)]
    assert found == expected


def test_json_is_right_by_value_and_follows_by_schema():
    pairs = [('{"age": 3, "name": "Ann"}', PEOPLE[0]), ('```json\n{"name": "Ann", "age": 3}\n```', PEOPLE[0])]
    pairs += [('{"name": "Ann", "age": "3"}', PEOPLE[0]), ("Ann is 3.", PEOPLE[0])]
    assert rights(PEOPLE, pairs) == ("json", [(True, True), (True, False), (False, False), (False, False)])


def test_real_questions_have_short_answers():
    rows = map(json.loads, (whole_starter().starter_data / "trivia.jsonl").read_text("utf-8").splitlines())
    kind, found = rights([row["completion"] for row in rows], [("It was Nixon.", "Nixon"), ("Kennedy", "Nixon")])
    assert kind == "short" and [right for right, _ in found] == [True, False]


def test_of_free_text_no_rule_knows_what_is_right_but_length_and_opening_are_seen():
    letters = [f"Dear customer, thank you for letter {number}, which we have read with care." for number in range(30)]
    kind, found = rights(letters, [(letters[0], letters[0]), ("Thank you.", letters[0]), (letters[0] * 9, letters[0])])
    assert kind == "free" and found == [(None, True), (None, False), (None, False)]


def test_a_persons_schema_goes_before_what_the_answers_have_in_common():
    task = task_of(LABELS, Options(kind="pattern", pattern="[a-z]+"))
    assert task.kind == "short"
    assert [each.follows for each in scores(task, ["good", "very good"], ["good", "good"])] == [True, False]


@pytest.mark.parametrize("answers", [[], [""]])
def test_no_answers_are_free_text(answers):
    assert not task_of(answers).is_decidable
