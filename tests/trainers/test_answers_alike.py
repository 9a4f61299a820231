"""Answers to different questions that say the same are told from those that differ, and from right ones."""

import hashlib

import pytest

from trainers.rewards.answers_alike import MOST_ANSWERS, alike

LONG = "The studio keeps every answer beside the score that it was given."


@pytest.mark.parametrize(
    ("answers", "questions", "references", "share"),
    [
        (["It is 4.", "it is  4"], ["a", "b"], ["4", "6"], 1.0),
        (["It is 4.", "It is 12, I think."], ["a", "b"], ["4", "6"], 0.0),
        (["yes", "yes", "no"], ["a", "b", "c"], [None] * 3, 2 / 3),
        (["yes", "yes"], ["a", "a"], [None] * 2, None),
        (["positive", "positive"], ["a", "b"], ["positive"] * 2, None),
        ([LONG, LONG + " Yes.", "Something else entirely is said here."], ["a", "b", "c"], [None] * 3, 2 / 3),
        (["", ""], ["a", "b"], [None] * 2, 1.0),
        (["天空是蓝色的。", "天空是蓝色的", "海水是咸的"], ["甲", "乙", "丙"], [None] * 3, 2 / 3),
        ([], [], [], None),
    ],
)
def test_share_of_answers_that_say_the_same_elsewhere(answers, questions, references, share):
    assert alike(answers, questions, references) == (None if share is None else pytest.approx(share))


def test_of_many_answers_evenly_spaced_ones_are_looked_at():
    count = 4 * MOST_ANSWERS
    questions = [str(place // 8) for place in range(count)]
    answers = [hashlib.sha256(str(place).encode()).hexdigest() for place in range(count)]
    assert alike(answers, questions, [None] * count) == 0.0
    assert alike([LONG] * count, questions, [None] * count) == 1.0
