"""Does the answer give the right label, and no other?

labels yes, no      "Yes."              wanted "yes"   ->  1
                    "yes or no"         wanted "yes"   ->  0: it names two
                    "I think it is yes" wanted "yes"   ->  1 if it may stand among other words, else 0
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from studio.errors import RefusedInput
from studio.graders.answers import exact_match, names
from studio.graders.score import Row, Score, missing, passed


class Options(msgspec.Struct, frozen=True, kw_only=True):
    labels: tuple[str, ...] = ()
    match: Literal["whole", "named"] = "named"


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: fewer than two labels.
    """
    if len({each.strip() for each in options.labels if each.strip()}) < 2:
        raise RefusedInput("reward.few_labels")


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(answer, row, options) for answer, row in zip(answers, rows, strict=True)]


def _score(answer: str, row: Row, options: Options) -> Score:
    wanted = row.reference
    if wanted is None or not wanted.strip():
        return missing("no_reference")
    if not any(exact_match(label, wanted) for label in options.labels):
        return missing("unknown_label", wanted.strip()[:40])
    said = named(answer, options)
    if len(said) != 1:
        return Score(0.0, "several_labels" if said else "no_label", ", ".join(said)[:80])
    return passed(exact_match(said[0], wanted), "another_label", said[0])


def named(answer: str, options: Options) -> list[str]:
    """The labels that an answer gives; of labels within one another ("good", "very good") the longest."""
    if options.match == "whole":
        return [label for label in options.labels if exact_match(answer, label)][:1]
    found = [label for label in options.labels if names(answer, label)]
    return [each for each in found if not any(each != other and names(other, each) for other in found)]
