"""Trying a reward: each fault that a reward can have is found, and a sound one is green."""

import json
import re
from random import Random

import pytest

from studio.graders.score import Row, Score
from studio.messages import has
from studio.paths import PROJECT_ROOT
from studio.rewards.answers_to_try import KINDS, SAMPLED, TRIVIAL, WRONG, answers_to_try
from studio.rewards.proposing import proposed
from studio.rewards.recipe import digest, parse
from studio.rewards.report import GREEN, NOT_YET, Mark
from studio.rewards.trial import trial

CAPITALS = [
    "Oslo",
    "Rome",
    "Paris",
    "Lima",
    "Cairo",
    "Quito",
    "Bern",
    "Accra",
    "Delhi",
    "Hanoi",
    "Kyiv",
    "Riga",
    "Sofia",
    "Tunis",
    "Vienna",
    "Warsaw",
    "Zagreb",
    "Doha",
]
CAPITALS += ["Baku", "Dakar", "Havana", "Lagos", "Manila", "Nairobi", "Ottawa", "Prague"]
ROWS = [
    Row(question=f"What is the capital of country {number}?", reference=name, number=number)
    for number, name in enumerate(CAPITALS, 1)
]
HALF_RIGHT = {row.number: [row.reference if row.number % 2 else "I do not know.", "Well."] for row in ROWS}
EXACT = ["exact_match"]


def tried(recipe, rows=ROWS, sampled=HALF_RIGHT, **more):
    return trial(parse(recipe), rows, answers_to_try(rows, sampled), **more)


def codes(report, *, stops=True):
    return [reason.code for reason in report.reasons if reason.stops == stops]


def test_a_sound_reward_is_green():
    report = tried(EXACT)
    assert (report.verdict, report.reasons) == (GREEN, [])
    assert report.wins == 1 and report.scoring == 0.5 and report.threshold == 0.5
    assert report.trivial == {"empty": 0, "constant": 1 / 26, "long": 0, "everything": 0, "question": 0}
    assert report.hash == digest(parse(EXACT)) and report.recipe["rewards"][0]["name"] == "exact_match"
    assert [each.kind for each in report.kinds] == list(KINDS)
    own, wrong = report.kinds[0], report.kinds[1]
    assert (own.answers, own.mean, own.counts[-1]) == (26, 1, 26) and (wrong.mean, wrong.counts[0]) == (0, 26)


def test_every_answer_to_try_is_what_it_says():
    answers = answers_to_try(ROWS, HALF_RIGHT)
    assert answers == answers_to_try(ROWS, HALF_RIGHT)  # the same every time
    by_kind = {kind: [each for each in answers if each.kind == kind] for kind in KINDS}
    known = {row.number: row.reference for row in ROWS}
    assert all(each.text in CAPITALS and each.text != known[each.row] for each in by_kind[WRONG])
    assert [each.place for each in by_kind[SAMPLED][:4]] == [0, 1, 0, 1]
    assert len({each.text for each in by_kind["constant"]}) == 1
    assert all(len(each.text) > 2500 for each in by_kind["long"])
    assert all(each.text.count("\n") > 20 for each in by_kind["everything"])


def test_without_a_model_it_cannot_be_green():
    report = tried(EXACT, sampled={})
    assert (report.verdict, codes(report), report.scoring) == (NOT_YET, ["not_sampled"], None)


@pytest.mark.parametrize(("right", "green"), [(5, False), (6, True)])
def test_a_model_that_scores_on_under_a_fifth_of_the_questions_is_advised_against(right, green):
    sampled = {row.number: ["no", row.reference if row.number <= right else "no"] for row in ROWS}
    report = tried(EXACT, sampled=sampled)
    assert report.scoring == right / 26
    assert (report.verdict == GREEN) == green and ("never_scores" in codes(report)) != green


def test_a_reward_of_form_alone_is_blind_and_cheated():
    report = tried([{"name": "length", "min": 1, "max": 60}])
    assert report.verdict == NOT_YET
    assert {"constant", "blind"} & set(codes(report))
    report = tried([{"name": "length", "min": 1, "max": 2}])
    assert {"blind", "hacked_constant"} <= set(codes(report)) and report.trivial["constant"] == 1


def test_a_constant_reward():
    report = tried([{"name": "contains", "texts": ["zebra"]}])
    assert codes(report)[0] == "constant" and codes(report, stops=False) == ["never_fires"]


def test_a_rule_that_says_the_same_of_everything():
    report = tried([*EXACT, {"name": "pattern", "pattern": "(?s).*"}])
    assert [reason.values["rule"] for reason in report.reasons if reason.code == "always_same"] == ["pattern"]


def test_paying_the_frequent_class_is_found():
    """KNOWHOW 5: all answers collapse to the easy class."""
    labels = ["spam" if number % 10 else "ham" for number in range(60)]
    rows = [Row(question=f"Mail {n}", reference=label, number=n) for n, label in enumerate(labels, 1)]
    sampled = {row.number: [row.reference] for row in rows}
    report = tried([{"name": "label", "labels": ["spam", "ham"]}], rows, sampled)
    assert codes(report) == ["hacked_constant"] and report.trivial["constant"] == 0.9
    assert report.trivial["everything"] == 0  # who names both labels gets nothing


def test_naming_every_answer_is_found():
    few = [Row(question=f"Yes or no {n}?", reference=("yes", "no")[n % 2], number=n) for n in range(1, 41)]
    report = tried([{"name": "exact_match", "match": "named"}], few, {row.number: ["yes"] for row in few})
    assert "hacked_everything" in codes(report)
    assert "hacked_everything" not in codes(tried([{"name": "exact_match"}], few, {row.number: ["yes"] for row in few}))
    assert "hacked_everything" in codes(tried([{"name": "exact_match", "match": "named"}]))  # all fit into its 40 words


def test_saying_nothing_where_only_penalties_count_is_found():
    report = tried([{"name": "repetition"}, {"name": "length_penalty", "max": 20, "buffer": 5}])
    assert "only_penalties" in codes(report, stops=False)
    assert {"constant", "hacked_empty"} & set(codes(report))


def test_rows_without_an_answer_are_counted_as_missing():
    rows = [*ROWS, *(Row(question="Who?", number=100 + n) for n in range(5))]
    report = tried(EXACT, rows, HALF_RIGHT | {100 + n: ["a", "b"] for n in range(5)})
    found = next(reason for reason in report.reasons if reason.code == "missing")
    assert found.stops and found.values["rules"] == "exact_match"
    assert report.rules[0].missing["no_reference"] >= 10


def test_prompts_without_any_answer_are_judged_by_what_the_model_says():
    rows = [Row(question=f"Write a line about {name}.", number=n) for n, name in enumerate(CAPITALS, 1)]
    sampled = {row.number: ["A town by a river.", "A town"] for row in rows}
    report = tried([{"name": "python_checks", "checks": ["single_line", "ends_with_stop"]}], rows, sampled)
    assert report.wins is None and report.scoring == 1
    assert report.trivial["long"] == 1 and "hacked_long" in codes(report)


def test_agreement_with_a_persons_marks():
    own = [Mark(kind="own", row=row.number, rating="good") for row in ROWS]
    wrong = [Mark(kind="wrong", row=row.number, rating="bad") for row in ROWS]
    report = tried(EXACT, marks=own + wrong)
    assert (report.agreement.value, report.agreement.rows, report.verdict) == (1, 52, GREEN)
    random = Random(3)
    at_random = [Mark(kind=mark.kind, row=mark.row, rating=random.choice(("good", "bad"))) for mark in own + wrong]
    report = tried(EXACT, marks=at_random)
    assert report.agreement.level == "low" and codes(report) == ["disagreement"]
    few = tried(EXACT, marks=own[:2] + wrong[:2])
    assert few.verdict == GREEN and codes(few, stops=False) == ["few_marks"]


def test_marks_of_equal_rewards_are_not_told_apart():
    """A constant reward agrees with nobody, however many answers the person called good."""
    marks = [Mark(kind="own", row=row.number, rating=("good", "bad")[row.number % 2]) for row in ROWS]
    report = tried([{"name": "length", "max": 60}], marks=marks)
    assert not report.agreement.value


def test_many_rules_and_few_rows_are_advised_against():
    six = [
        *EXACT,
        "length",
        "repetition",
        "length_penalty",
        {"name": "python_checks"},
        {"name": "language", "language": "en"},
    ]
    rows = ROWS[:5]
    report = tried({"rewards": six, "missing": "rule"}, rows, {row.number: [row.reference] for row in rows})
    assert {"many_rules", "few_rows"} <= set(codes(report, stops=False))
    assert "many_rules" not in codes(tried({"rewards": six[:5]}), stops=False)


def test_a_rule_that_asks_a_model_is_left_out_and_said():
    recipe = [*EXACT, {"name": "judge_model", "model": "m"}]
    report = tried(recipe)
    assert codes(report) == ["elsewhere"] and report.range == (0, 1)
    answers = answers_to_try(ROWS, HALF_RIGHT)
    report = tried(recipe, given={"judge_model": [Score(0.5)] * len(answers)})
    assert codes(report) == [] and report.range == (0, 2)
    two = [*recipe, {"name": "judge_model", "model": "n"}]
    report = tried(two, given={"judge_model_2": [Score(0.5)] * len(answers)})
    assert report.reasons[0].values == {"rules": "judge_model, judge_model_2"} and report.range == (0, 1)


def test_best_and_worst_are_shown_with_every_rules_value():
    report = tried([*EXACT, "repetition"])
    assert [each.total for each in report.best] == [1] * 5 and [each.total for each in report.worst] == [0] * 5
    assert report.worst[0].values["exact_match"].why == "another_answer"
    assert {each.kind for each in report.worst} == {SAMPLED}  # of equal ones, what the model says tells most
    high = tried([*EXACT, "repetition"], sampled={row.number: [f"{row.reference}!"] for row in ROWS})
    assert {each.kind for each in high.best} == {SAMPLED}
    assert not {each.kind for each in report.best + report.worst} & set(TRIVIAL)


@pytest.mark.parametrize(
    "answers",
    [
        [f"{name}" for name in CAPITALS],
        [f"{number * 17 + 3}" for number in range(30)],
        [json.dumps({"name": name, "size": place}) for place, name in enumerate(CAPITALS)],
        [f"{name} lies on a river, and the station is north of the old town hall." for name in CAPITALS],
        [f"{name} 是一座城市，车站在老市政厅的北面。" for name in CAPITALS],
        [("refund", "delivery", "other", "praise")[n % 4] for n in range(40)],
    ],
    ids=["short", "numbers", "json", "free", "chinese", "labels"],
)
def test_a_proposed_reward_is_green_for_a_model_that_can_do_it(answers):
    rows = [Row(question=f"Question {n}?", reference=text, number=n) for n, text in enumerate(answers, 1)]
    report = trial(proposed(answers), rows, answers_to_try(rows, {row.number: [row.reference] for row in rows}))
    assert codes(report) == []


def test_every_reason_has_words():
    text = (PROJECT_ROOT / "studio" / "rewards" / "reasons.py").read_text("utf-8")
    found = set(re.findall(r'^ +\*?\(+"([a-z_]+)",', text, re.MULTILINE))
    found |= {f"{how}_{kind}" for how in ("hacked", "nearly") for kind in TRIVIAL}
    assert len(found) > 15 and [code for code in sorted(found) if not has(f"reward.reason.{code}")] == []
