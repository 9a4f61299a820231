"""What a grader gets and gives: a row of the data, and a score of an answer to it.

    grade(["42"], [Row(question="6 x 7?", reference="42")], options)      ->  [Score(1.0)]
    grade(["42"], [Row(question="6 x 7?")], options)                      ->  [Score(None, "no_reference")]

A score that is None is missing: the grader cannot say anything of this row. It is counted and shown, and never a 0.
"""

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the question that an answer was given to."""

    question: str = ""
    reference: str | None = None
    """The answer of the data; of a classification its label."""
    source: str | None = None
    """A text that the answer has to rest on."""
    number: int = 0
    """Of the row in the data set, from 1; 0 for one that comes from nowhere."""


class Score(msgspec.Struct, frozen=True):
    """What one answer is worth to one grader."""

    value: float | None
    """Within the range that the grader declares; None: missing."""
    why: str = ""
    """A code below `reward.why.`: why the score is missing, or not the best."""
    detail: str = ""
    """What its sentence names: a key, a word, a number."""


def missing(why: str, detail: str = "") -> Score:
    return Score(None, why, detail)


def passed(holds: bool, why: str = "", detail: str = "") -> Score:
    """1 where it holds; else 0, and why."""
    return Score(1.0) if holds else Score(0.0, why, detail)
