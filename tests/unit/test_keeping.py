"""Rejection sampling's choice: by threshold, best of each question, none twice; and how varied texts are."""

import pytest

from studio.errors import RefusedInput
from studio.rewards.keeping import BELOW, NO_REWARD, NOT_BEST, TWICE, Options, choose, options, threshold_of, variety
from studio.rewards.recipe import parse

REWARD = parse([{"name": "exact_match"}, {"name": "length_penalty", "max": 20, "buffer": 5, "weight": 0.5}])


def test_the_best_of_each_question_are_kept_and_the_others_say_why_not():
    answers = {7: ["five", "4 is it", "4", "4.", ""], 9: ["no", "never"]}
    rewards = {7: [0.0, 1.0, 1.0, 1.0, None], 9: [0.2, 0.7]}
    found = choose(answers, rewards, threshold=0.8, best=2)
    assert [(each.row, each.text, each.code) for each in found] == [
        (7, "4", ""),
        (7, "4.", TWICE),
        (7, "4 is it", ""),
        (7, "five", BELOW),
        (7, "", NO_REWARD),
        (9, "never", BELOW),
        (9, "no", BELOW),
    ]
    assert [each.text for each in choose(answers, rewards, threshold=0.8, best=1) if not each.code] == ["4"]
    assert choose(answers, rewards, threshold=0.8, best=1)[2].code == NOT_BEST


def test_the_threshold_is_four_fifths_of_the_way_and_never_out_of_reach():
    assert REWARD.range == (-0.5, 1.0)
    assert threshold_of(REWARD, Options()) == pytest.approx(0.7)
    assert threshold_of(REWARD, Options(threshold=-0.1)) == -0.1
    with pytest.raises(RefusedInput) as refused:
        threshold_of(REWARD, Options(threshold=1.5))
    assert refused.value.code == "reward.choosing.threshold"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"rowz": 3}, "reward.unknown_key"),
        ({"rows": 0}, "reward.choosing.option"),
        ({"temperature": 0}, "reward.choosing.option"),
        ({"best": "many"}, "reward.choosing.option"),
        ({"rows": 1000, "samples": 8}, "reward.choosing.many_answers"),
    ],
)
def test_what_cannot_be_is_refused(given, code):
    with pytest.raises(RefusedInput) as refused:
        options(given)
    assert refused.value.code == code


def test_variety_falls_when_answers_say_the_same():
    assert variety(["the cat sat", "a dog ran off", "今天下雨"]) == 1.0
    assert variety(["the cat sat down"] * 4) == pytest.approx(3 / 12)
    assert variety(["one", ""]) is None
