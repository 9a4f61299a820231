"""What a run's loss and its steps are besides the method's own: classes mixed in before the library's trainer.

    mixins({"method": "pretrain", "label_smoothing_factor": 0.1, ...})  ->  (SmoothsLabels,)

What is not asked for is not there, so it costs nothing. What stands first changes what those after it made: the
weight of a row counts for its smoothed loss.
"""

from collections.abc import Mapping
from typing import Any

from studio.params import adversarial
from studio.params.curriculum import follows_difficulty
from studio.params.schedules import MUON, STABLE
from studio.params.terms import TERMS
from studio.params.weights import weighs_rows


def mixins(values: Mapping[str, Any]) -> tuple[type, ...]:
    """The classes that these values ask for, outermost first. Specs may be older than any of the settings."""
    found: list[type] = []
    if adversarial.steps(values):
        from trainers.losses.adversarial import PerturbsEmbeddings

        found.append(PerturbsEmbeddings)
    if values.get("task_shares"):
        from trainers.losses.tasks import TellsTasks

        found.append(TellsTasks)
    if weighs_rows(values):
        from trainers.losses.weights import WeighsRows

        found.append(WeighsRows)
    if values.get("label_smoothing_factor"):
        from trainers.losses.smoothing import SmoothsLabels

        found.append(SmoothsLabels)
    found += _terms(values)
    if values["method"] == "sft":
        from trainers.losses.answers import ScoresAnswersOnly

        found.append(ScoresAnswersOnly)
    return (*found, *_of_the_step(values))


def _terms(values: Mapping[str, Any]) -> list[type]:
    """What is added to the loss besides; settings end in `_weight`."""
    asked = [name for name in TERMS if values.get(f"{name}_weight")]
    if not asked:
        return []
    from trainers.losses.diversity import RewardsDiversity
    from trainers.losses.emphasis import KeepsFormat, KeepsToSource
    from trainers.losses.words import AvoidsRepetition, CoversReference

    kinds = {
        "diversity": RewardsDiversity,
        "repetition": AvoidsRepetition,
        "format": KeepsFormat,
        "source": KeepsToSource,
        "rouge": CoversReference,
    }
    return [kinds[name] for name in asked]


def _of_the_step(values: Mapping[str, Any]) -> list[type]:
    """What belongs to the optimizer, its rate, and the rows that it gets."""
    found: list[type] = []
    if values["optim"] == MUON:
        from trainers.training.optimizers import UsesMuon

        found.append(UsesMuon)
    if follows_difficulty(values):
        from trainers.rows.curricula import FollowsCurriculum

        found.append(FollowsCurriculum)
    if values["lr_scheduler_type"] == STABLE:
        from trainers.training.schedules import Decays

        found.append(Decays)
    return found
