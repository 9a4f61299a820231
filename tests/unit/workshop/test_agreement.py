"""Agreement against published worked examples, scikit-learn, and what the measures must do at their ends."""

import random
from collections import Counter

import pytest
from sklearn.metrics import cohen_kappa_score

from studio.workshop.labelling.agreement import agreement, cohen_kappa, fleiss_kappa, krippendorff_alpha, pairs

STARS = ("1", "2", "3", "4", "5")
# Fleiss 1971, table 1 as the textbooks reprint it: 10 patients, 14 psychiatrists, 5 diagnoses.
FLEISS_TABLE = """0 0 0 0 14 | 0 2 6 4 2 | 0 0 3 5 6 | 0 3 9 2 0 | 2 2 8 1 1
 | 7 7 0 0 0 | 3 2 6 3 0 | 2 5 3 2 2 | 6 5 2 1 0 | 0 2 2 3 7"""
# Krippendorff 2011, part C: 4 observers, 12 units, missing values.
KRIPPENDORFF = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]


def krippendorff_units() -> list[list[str]]:
    return [[row[unit] for row in KRIPPENDORFF if row[unit] != "."] for unit in range(12)]


def test_cohen_on_fifty_grant_proposals():
    """20 both yes, 15 both no, 5 and 10 apart: p_o 0.7, p_e 0.5, kappa 0.4."""
    both = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohen_kappa(both) == pytest.approx(0.4)


def test_fleiss_on_its_own_example():
    counts = [dict(zip("abcde", map(int, row.split()), strict=True)) for row in FLEISS_TABLE.split("|")]
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("0100000010", "1110010000", 0.095), ("aabbdcccedda", "babbbccceddd", 0.692)],
    ids=["part A, binary", "part B, nominal"],
)
def test_alpha_for_two_observers(one, other, expected):
    assert krippendorff_alpha(list(zip(one, other, strict=True))) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("order", "expected"), [((), 0.743), (STARS, 0.815)], ids=["nominal", "ordinal"])
def test_alpha_with_missing_marks(order, expected):
    assert krippendorff_alpha(krippendorff_units(), order=order) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("seed", range(5))
def test_cohen_equals_scikit_learn(seed):
    dice = random.Random(seed)
    both = [(dice.choice(STARS), dice.choice(STARS)) for _ in range(60)]
    both += [(value, value) for value in dice.choices(STARS, k=40)]
    one, other = zip(*both, strict=True)
    assert cohen_kappa(both) == pytest.approx(cohen_kappa_score(one, other))
    assert cohen_kappa(both, order=STARS) == pytest.approx(
        cohen_kappa_score(list(map(int, one)), list(map(int, other)), weights="quadratic")
    )


def test_a_near_miss_counts_less_than_a_far_one_where_there_is_an_order():
    near = {row: {"a": value, "b": "4" if value == "5" else value} for row, value in enumerate("1555123451")}
    far = {row: {"a": value, "b": "1" if value == "5" else value} for row, value in enumerate("1555123451")}
    assert agreement(near, order=STARS).value > agreement(far, order=STARS).value + 0.5
    assert agreement(near).same == agreement(far).same == 0.6


def test_the_measure_follows_who_marked_what():
    values = "abcabcabcabc"
    two = {row: {"Ann": it, "Ben": it} for row, it in enumerate(values)}
    three = {row: {**given, "Cem": given["Ann"]} for row, given in two.items()}
    gaps = {row: given if row % 2 else {"Ann": given["Ann"], "Cem": given["Cem"]} for row, given in three.items()}
    found = [agreement(marks) for marks in (two, three, gaps)]
    assert [each.measure for each in found] == ["cohen", "fleiss", "alpha"]
    assert [each.value for each in found] == [1.0, 1.0, 1.0]
    assert {each.level for each in found} == {"reliable"}
    stars = {row: {"Ann": "1", "Ben": "2", "Cem": "5"} for row in range(3)}
    assert agreement(stars, order=STARS).measure == "alpha_ordinal"


def test_chance_alone_is_about_zero():
    dice = random.Random(1)
    marks = {row: {name: dice.choice("ab") for name in ("Ann", "Ben", "Cem")} for row in range(4000)}
    assert abs(agreement(marks).value) < 0.03
    assert abs(krippendorff_alpha([list(given.values()) for given in marks.values()])) < 0.03
    assert agreement(marks).level == "low"


def test_without_a_basis_there_is_no_figure():
    assert agreement({}).value is None
    assert agreement({1: {"Ann": "a"}}).value is None
    always = {row: {"Ann": "a", "Ben": "a"} for row in range(20)}
    assert (agreement(always).value, agreement(always).same, agreement(always).level) == (None, 1.0, "unknown")
    assert fleiss_kappa([]) is fleiss_kappa([{"a": 1}]) is fleiss_kappa([{"a": 2}, {"a": 3}]) is None
    assert agreement({1: {"Ann": "a", "Ben": "b"}, 2: {"Ann": "b", "Ben": "b"}}).level == "few"


def test_rows_with_one_mark_change_nothing():
    marks = {row: {"Ann": it, "Ben": it if row else "b"} for row, it in enumerate("aabbab")}
    assert agreement(marks | {99: {"Ann": "b"}}) == agreement(marks)


def test_pairs_show_who_disagrees():
    marks = {row: {"Ann": it, "Ben": it, "Cem": "b" if it == "a" else "a"} for row, it in enumerate("abababababab")}
    found = {(one, other): each.value for one, other, each in pairs(marks)}
    assert found == {("Ann", "Ben"): 1.0, ("Ann", "Cem"): -1.0, ("Ben", "Cem"): -1.0}
    assert pairs({1: {"Ann": "a"}, 2: {"Ben": "a"}}) == []


def test_alpha_does_not_depend_on_the_order_of_marks():
    units = krippendorff_units()
    turned = [list(reversed(unit)) for unit in reversed(units)]
    assert krippendorff_alpha(turned, order=STARS) == pytest.approx(krippendorff_alpha(units, order=STARS))
    assert Counter(map(len, units))[1] == 1
