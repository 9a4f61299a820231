"""A trained reward model's score, brought into a fixed range. The model itself is run by a trainer.

mean 2.0, spread 1.5 (of the model's scores on held-out answers)
raw 3.5   ->  (3.5 - 2.0) / 1.5 = 1, then cut at ±3 and divided by 3   ->  0.333
"""

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from studio.errors import RefusedInput
from studio.graders.score import Score, missing

CUT = 3.0
"""Standard deviations beyond which a score counts no more: one odd answer must not rule a batch."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    model: str = ""
    """A checkpoint that was trained as a reward model: its number, or run:12 for the best one of a run."""
    mean: float | None = None
    spread: Annotated[float, Meta(gt=0)] | None = None
    """Mean and standard deviation of its scores; left out: those that were stored when it was trained."""


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no model is named, or the statistics are no numbers, or one of them stands alone.
    """
    if not options.model.strip():
        raise RefusedInput("reward.no_model", name="reward_model")
    given = [each for each in (options.mean, options.spread) if each is not None]
    if len(given) == 1 or not all(map(math.isfinite, given)):
        raise RefusedInput("reward.no_statistics")


def normalised(raw: float | None, options: Options) -> Score:
    """The model's score from -1 to 1; missing where it is no number. Mean and spread are known by now."""
    if raw is None or not math.isfinite(raw):
        return missing("not_finite")
    assert options.mean is not None and options.spread is not None
    standard = (raw - options.mean) / options.spread
    return Score(max(-CUT, min(CUT, standard)) / CUT)
