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
    """A checkpoint that was trained as a reward model."""
    mean: float = 0.0
    spread: Annotated[float, Meta(gt=0)] = 1.0
    """Mean and standard deviation of its scores, stored when it was trained."""


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no model is named, or the statistics are no numbers.
    """
    if not options.model.strip():
        raise RefusedInput("reward.no_model", name="reward_model")
    if not (math.isfinite(options.mean) and math.isfinite(options.spread)):
        raise RefusedInput("reward.no_statistics")


def normalised(raw: float | None, options: Options) -> Score:
    """The model's score from -1 to 1; missing where it is no number."""
    if raw is None or not math.isfinite(raw):
        return missing("not_finite")
    standard = (raw - options.mean) / options.spread
    return Score(max(-CUT, min(CUT, standard)) / CUT)
