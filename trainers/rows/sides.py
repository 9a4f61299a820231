"""Rows to train on and rows to validate with, whatever becomes of a row in between.

    train, validation = both_sides(attempt, written, findings)

Validation rows are those of the version's own split, or a share of the others where it has none. Rows for the test are
left alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from studio.errors import JobFailed
from trainers.attempt import Attempt

if TYPE_CHECKING:
    from trainers.rows.data import Findings


def both_sides(attempt: Attempt, written: Callable[[str], Any | None], findings: "Findings") -> tuple[Any, Any | None]:
    """Data sets of both sides, the second None where nothing validates; what was left out or cut is told by number.

    Args:
        written: name of a side -> its rows as a data set, or None if there are none; notes in `findings` what it leaves
            out.

    Raises:
        JobFailed: no_usable_rows.
    """
    from trainers.rows.data import TRAIN, VALIDATION, held_out

    dataset, values = attempt.spec.dataset, attempt.spec.values
    validates = values["validation_split"] > 0
    train, validation = written(TRAIN), written(VALIDATION) if validates else None
    for code in findings.rows:
        attempt.alert(code, **findings.named(code), max_length=values["max_length"])
    if train is None:
        raise JobFailed("no_usable_rows", dataset=dataset.name, max_length=values["max_length"])
    if validation is None and validates:
        kept, chosen = held_out(len(train), values["validation_split"], seed=attempt.spec.seed)
        train, validation = train.select(kept), train.select(chosen) if chosen else None
    return train, validation
