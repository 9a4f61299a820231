"""A reward read, checked, written, told apart, and summed up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import RefusedInput, UnknownName
from studio.graders.score import Row, Score
from studio.rewards.proposing import proposed
from studio.rewards.recipe import digest, needs, parse, parse_yaml, to_document, to_yaml
from studio.rewards.scoring import part_of, score

WHOLE = """
rewards:
  - {name: json, match: values, keys: {name: text}, weight: 1.0}
  - {name: contains, texts: [sorry], penalty: true, weight: 0.4, dimension: tone}
  - {name: contains, texts: [please], weight: 0.5}
  - length_penalty
dimensions: {correctness: 2.0, tone: 0.5}
missing: rule
"""


def test_a_reward_is_written_as_it_was_read():
    recipe = parse_yaml(WHOLE, file="reward.yaml")
    assert recipe.keys == ("json", "contains", "contains_2", "length_penalty")
    assert recipe.weights == (2.0, 0.2, 0.5, 1.0)
    assert recipe.range == pytest.approx((-1.2, 2.5))
    assert [rule.judges for rule in recipe.rules] == ["correctness", "tone", "style", "cheating"]
    assert parse(to_document(recipe)) == parse_yaml(to_yaml(recipe), file="x.yaml") == recipe
    assert needs(recipe) == {"json": ("reference",)}


def test_the_specs_own_example_is_a_reward():
    recipe = parse([{"name": "length", "min": 5, "max": 60, "weight": 1.0}])
    assert score(recipe, ["word " * 7, "word"], [Row()] * 2).totals == [1.0, 0.0]


@pytest.mark.parametrize(
    ("document", "code", "hint"),
    [
        ([{"name": "exact_mach"}], "reward.unknown_grader", "exact_match"),
        ([{"name": "length", "mx": 3}], "reward.unknown_option", "max"),
        ({"rewards": ["length"], "mising": "row"}, "reward.unknown_key", "missing"),
        ({"rewards": ["length"], "missing": "rows"}, "reward.unknown_missing", "row"),
        ([{"name": "length", "part": "answr"}], "reward.unknown_part", "answer"),
        ({"rewards": ["length"], "dimensions": {"formt": 1}}, "reward.unknown_dimension", "format"),
    ],
)
def test_what_there_is_not_is_refused_with_the_closest(document, code, hint):
    with pytest.raises(UnknownName) as refused:
        parse(document)
    assert (refused.value.code, refused.value.values["hint"]) == (code, hint)
    assert hint in refused.value.message() and hint in refused.value.message("zh")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("length", "reward.shape"),
        ({"rules": []}, "reward.shape"),
        ([[]], "reward.shape"),
        ([], "reward.no_rules"),
        (["length"] * 21, "reward.many_rules"),
        ([{"name": "length", "weight": 0}], "reward.bad_weight"),
        ([{"name": "length", "weight": -1}], "reward.bad_weight"),
        ([{"name": "length", "weight": True}], "reward.bad_weight"),
        ([{"name": "length", "weight": float("nan")}], "reward.bad_weight"),
        ([{"name": "length", "max": "many"}], "reward.bad_option"),
        ([{"name": "length", "penalty": 1}], "reward.bad_flag"),
        ([{"name": "repetition", "penalty": True}], "reward.is_penalty"),
        ([{"name": "length", "dimension": "x" * 41}], "reward.bad_dimension"),
        ([{"name": "pattern", "pattern": "("}], "reward.bad_pattern"),
    ],
)
def test_a_reward_that_cannot_be_is_refused_in_words(document, code):
    with pytest.raises(RefusedInput) as refused:
        parse(document)
    assert refused.value.code == code
    assert all(not refused.value.message(language).startswith("errors.") for language in ("en", "zh"))


def test_no_yaml_is_refused():
    with pytest.raises(RefusedInput):
        parse_yaml("rewards: [", file="r.yaml")


def test_rewards_are_told_apart_by_what_they_do():
    plain = parse([{"name": "length"}])
    assert digest(plain) == digest(parse([{"name": "length", "min": 1, "weight": 1}]))
    assert digest(plain) == digest(parse({"rewards": ["length"], "dimensions": {"format": 1.0}}))
    others = [
        [{"name": "length", "max": 201}],
        [{"name": "length", "weight": 2}],
        [{"name": "length", "part": "answer"}],
        [{"name": "length", "penalty": True}],
        {"rewards": ["length"], "missing": "rule"},
        ["length", "repetition"],
        ["repetition", "length"],
    ]
    assert len({digest(parse(each)) for each in [["length"], *others]}) == 8


ROWS = [Row(question="6 x 7?", reference="42"), Row(question="Who?", reference=None)]
RULES = [{"name": "exact_match"}, {"name": "contains", "texts": ["sorry"], "penalty": True, "weight": 0.5}]


def test_the_sum_keeps_every_rules_value():
    scored = score(parse(RULES), ["42", "42, sorry"], [ROWS[0]] * 2)
    assert scored.totals == [1.0, -0.5]
    assert [each.value for each in scored.values["contains"]] == [0.0, -1.0]
    assert scored.values["exact_match"][1] == Score(0.0, "another_answer")


def test_a_missing_score_is_counted_and_never_a_zero():
    by_row = score(parse(RULES), ["sorry", "sorry"], ROWS)
    assert by_row.totals == [-0.5, None]
    assert by_row.missing() == {"exact_match": {"no_reference": 1}}
    by_rule = score(parse({"rewards": RULES, "missing": "rule"}), ["sorry", "sorry"], ROWS)
    assert by_rule.totals == [-0.5, -0.5] and by_rule.missing() == by_row.missing()
    alone = parse({"rewards": RULES[:1], "missing": "rule"})
    assert score(alone, ["42"], ROWS[1:]).totals == [None]


def test_a_models_scores_come_from_outside():
    recipe = parse([{"name": "judge_model", "model": "m"}, "length"])
    assert score(recipe, ["a"], [Row()]).totals == [None]
    assert score(recipe, ["a"], [Row()], given={"judge_model": [Score(0.5)]}).totals == [1.5]


@pytest.mark.parametrize(
    ("part", "seen"),
    [("whole", "<think>a</think><answer>b</answer>\n c \n"), ("answer", "b"), ("last_line", "c")],
)
def test_a_rule_looks_at_its_part(part, seen):
    assert part_of("<think>a</think><answer>b</answer>\n c \n", part) == seen


def test_a_part_that_is_not_there_is_empty():
    assert part_of("just text", "answer") == "" and part_of("a</think> b", "after_think") == "b"
    assert part_of("", "last_line") == ""


@given(st.lists(st.text(max_size=30), max_size=6), st.floats(0.01, 50), st.floats(0.01, 50))
def test_a_total_lies_within_the_range(answers, first, second):
    recipe = parse(
        [{"name": "length", "max": 3, "slack": 2, "weight": first}, {"name": "repetition", "weight": second}]
    )
    low, high = recipe.range
    totals = score(recipe, answers, [Row()] * len(answers)).totals
    assert all(low - 1e-9 <= total <= high + 1e-9 for total in totals)


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        (["yes", "no", "no", "yes"] * 5, ["label"]),
        (["yes", "no", "no", "yes"] * 5 + ["perhaps", "never"], ["label"]),
        (["8", "12", "9"] * 8, ["numeric_match", "length_penalty"]),  # few different numbers are numbers still
        (['{"name": "Ann", "age": 3}', '{"name": "Ben", "age": 4}'] * 5, ["json"]),
        ([str(number) for number in range(100, 140)], ["numeric_match", "length_penalty"]),
        (["$1,234", "5 km", "二十五", "17"] * 1 + [f"{n} kg" for n in range(20)], ["numeric_match", "length_penalty"]),
        ([f"AB-{n}" for n in range(100, 130)], ["exact_match", "length_penalty"]),
        (["Paris", "Richard Nixon", "The Nile", "Oslo", "Rome"], ["exact_match", "length_penalty"]),
        ([f"select name from t{n} where id = {n}" for n in range(9)], ["sql", "similarity"]),
        (
            [f"Take the wheel out, look at part {n} and put it back with care." for n in range(9)],
            ["similarity", "repetition", "length_penalty"],
        ),
        (
            [f"<think>{n}+1</think><answer>{n + 1}</answer>" for n in range(9)],
            ["numeric_match", "length_penalty", "format_tags"],
        ),
    ],
)
def test_a_reward_proposed_from_the_data_gives_its_answers_full_marks(answers, names):
    recipe = proposed(answers)
    assert [rule.name for rule in recipe.rules] == names
    assert len(recipe.rules) < 6
    rows = [Row(question="What is wanted here?", reference=answer) for answer in answers]
    if names[-1] == "format_tags":
        assert {rule.part for rule in recipe.rules[:-1]} == {"answer"}
    totals = score(recipe, answers, rows).totals
    assert sum(totals) / len(totals) >= 0.9 * recipe.range[1]


def test_nothing_known_is_still_a_reward():
    assert [rule.name for rule in proposed([]).rules] == ["similarity", "repetition", "length_penalty"]
