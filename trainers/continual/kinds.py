"""How a run keeps what its model learned before: classes mixed in before the library's trainer, and how they begin.

    mixins({"continual": "ewc", ...})  ->  (ScoresOld, HoldsWeights)

A run that asks for nothing gets nothing. `begin` is called once the trainer has the weights that the run begins with.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.attempt import Attempt
from trainers.continual.old_rows import Old

HOLDING = ("ewc", "si")


def mixins(values: Mapping[str, Any]) -> tuple[type, ...]:
    """The classes that these values ask for, outermost first."""
    from trainers.continual.anchors import HoldsWeights
    from trainers.continual.path_integral import CountsPath
    from trainers.continual.scores import ScoresOld

    kind = values.get("continual", "none")
    found = (ScoresOld,) if kind != "none" else ()
    found += (HoldsWeights,) if kind in HOLDING else ()
    return found + ((CountsPath,) if counts_path(values) else ())


def counts_path(values: Mapping[str, Any]) -> bool:
    """Whether the run counts what its weights did; one that holds weights by SI does, for the one after it."""
    return values.get("continual") == "si" or bool(values.get("track_importance"))


def begin(attempt: Attempt, trainer: Any, old: Old | None, resume_from: Path | None) -> None:
    """Note what is to be kept. A run that goes on reads it from its checkpoint instead.

    Raises:
        JobFailed: nothing_counted.
    """
    values = attempt.spec.values
    if counts_path(values):
        trainer.count_path()
    if old is not None:
        trainer.old_rows = old.validation
    if resume_from is not None:
        return
    if values.get("continual") in HOLDING:
        trainer.hold(_firmness(attempt, trainer, old))
    if old is not None:
        attempt.phase("evaluating")
        trainer.score_beginning()


def _firmness(attempt: Attempt, trainer: Any, old: Old | None) -> Any:
    from trainers.continual.anchors import held_before, weights_now
    from trainers.continual.fisher import fisher
    from trainers.continual.path_integral import importance_of

    values, device = attempt.spec.values, trainer.args.device
    begun = Path(attempt.spec.weights_from.path) if attempt.spec.weights_from else None
    if values["continual"] == "ewc":
        attempt.phase("weighing_old")

        def told(done: int, total: int) -> None:
            attempt.events.write("progress", done=done, total=total, unit="rows", seconds_left=None)

        found, factor = fisher(trainer, old.train, told=told), values["ewc_lambda"]
    else:
        found, factor = importance_of(begun, weights_now(trainer.model), device), 2 * values["si_c"]
    earlier = held_before(begun, device)
    return {name: factor * each + earlier.get(name, 0.0) for name, each in found.items()}
