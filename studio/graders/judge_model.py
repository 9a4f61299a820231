"""A judge model's mark, brought into a fixed range. The model itself is asked by a trainer or a serve job.

least 1, most 10   mark 7   ->  0.667
"""

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from studio.errors import RefusedInput
from studio.graders.score import Score, missing

MOST_CHARACTERS = 4000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    model: str = ""
    """Who judges: a model or checkpoint of the studio."""
    criterion: str = ""
    """What it is asked to judge, in plain words; empty: whether the answer is right, complete and clear."""
    least: Annotated[int, Meta(ge=0, le=100)] = 1
    most: Annotated[int, Meta(ge=1, le=100)] = 10


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no model is named, the marks have no range, or the criterion is too long.
    """
    if not options.model.strip():
        raise RefusedInput("reward.no_model", name="judge_model")
    if options.least >= options.most:
        raise RefusedInput("reward.no_marks", least=options.least, most=options.most)
    if len(options.criterion) > MOST_CHARACTERS:
        raise RefusedInput("reward.long_criterion", most=MOST_CHARACTERS)


def normalised(mark: float | None, options: Options) -> Score:
    """The mark from 0 to 1; missing where the judge gave none, or one beyond its scale."""
    if mark is None or not math.isfinite(mark):
        return missing("no_mark")
    if not options.least <= mark <= options.most:
        return missing("mark_beyond", f"{mark:g}")
    return Score((mark - options.least) / (options.most - options.least))
