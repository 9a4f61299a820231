"""Measured peaks in the registry: kept as the run left them, read as `studio.memory.measured` wants them.

Kept apart from the jobs, so that removing a run loses no experience. `predicted_bytes` is what the calculator of today
says; `predict_again` brings it up to date after the calculator has changed.
"""

import hashlib
import logging
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio import memory
from studio.db import models
from studio.db.tables import MemoryMeasurement
from studio.errors import StudioError
from studio.hardware import Machine
from studio.memory.configuration import Configuration, configuration_of
from studio.memory.estimate import Shapes, estimate
from studio.memory.inventory import Inventory, from_figures
from studio.memory.measured import Experience, Measurement, Place, libraries_of
from studio.memory.stack import Stack

MOST = 200
"""Older ones are not looked at."""
PROBE, OUT_OF_MEMORY = "probe_memory", "out_of_memory"
_NOWHERE = {"rows": 0, "tokens": 0}
_log = logging.getLogger(__name__)


def keep(session: Session, found: MemoryMeasurement) -> None:
    """Add a measurement; one attempt has one."""
    same = (MemoryMeasurement.job_id == found.job_id, MemoryMeasurement.attempt == found.attempt)
    session.query(MemoryMeasurement).where(*same).delete()
    _predict(session, found)
    session.add(found)


def experience(session: Session, model_hash: str) -> Experience:
    """What all runs say of runs of this model."""
    newest = select(MemoryMeasurement).order_by(MemoryMeasurement.id.desc()).limit(MOST)
    return Experience(model_hash, tuple(_measurement(each) for each in reversed(list(session.scalars(newest)))))


def predict_again(session: Session) -> int:
    """Ask today's calculator about every measurement that another one spoke of; tells how many those were."""
    old = list(session.scalars(select(MemoryMeasurement).where(MemoryMeasurement.calculator != calculator())))
    for each in old:
        _predict(session, each)
    return len(old)


@cache
def calculator() -> str:
    """A name for the arithmetic and its coefficients as they are now."""
    files = sorted(path for path in Path(memory.__file__).parent.iterdir() if path.suffix in (".py", ".yaml"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _predict(session: Session, found: MemoryMeasurement) -> None:
    known = models.any_inspection(session, found.model_hash)
    found.calculator = calculator()
    found.predicted_bytes = None
    seen = _seen(found)
    if known is None or not seen["rows"]:
        return
    try:
        found.predicted_bytes = predicted_for(from_figures(known["inventory"]), found, seen)
    except (StudioError, LookupError, TypeError, ValueError):
        # Values or an inventory of another time: what was measured still bounds what is predicted.
        _log.warning("Measurement of job %s: today's calculator cannot predict it", found.job_id, exc_info=True)


def predicted_for(inventory: Inventory, found: MemoryMeasurement, seen: Mapping[str, int]) -> int:
    """The predicted peak of the batches that a run came to, without any correction."""
    machine = Machine(1, found.device_bytes, found.device_bytes) if found.device == "cpu" else None
    stack = Stack(versions=found.libraries)
    evaluated = found.peaks["evaluated"]

    def phases(tokens: int, **sizes: int) -> dict[str, int]:
        values = {**found.values, **sizes, "max_length": tokens}
        made = estimate(inventory, values, shapes=Shapes(tokens), machine=machine, stack=stack).phases
        return {name: sum(parts.values()) for name, parts in made.items()}

    trained = phases(seen["tokens"], per_device_train_batch_size=seen["rows"])
    trained.pop("evaluation", None)
    if evaluated["rows"] and found.values.get("validation_split", 0) > 0:
        rows = {"per_device_eval_batch_size": evaluated["rows"]}
        trained["evaluation"] = phases(evaluated["tokens"], **rows).get("evaluation", 0)
    return max(trained.values())


def _measurement(found: MemoryMeasurement) -> Measurement:
    return Measurement(
        place=Place(found.device, found.device_bytes),
        libraries=libraries_of(Stack(versions=found.libraries)),
        configuration=_configuration(found),
        ran_out=found.outcome == OUT_OF_MEMORY,
        is_probe=found.kind == PROBE,
        peak_bytes=found.peaks.get("peak_bytes", 0),
        predicted_bytes=found.predicted_bytes,
    )


def _configuration(found: MemoryMeasurement) -> Configuration:
    """Of the batches that the run really came to; a longer row than the inspection knew of counts as the longest."""
    seen, evaluated = _seen(found), found.peaks.get("evaluated", _NOWHERE)
    made = configuration_of(found.model_hash, found.values, seen["tokens"])
    most = _row_tokens(found)
    return made.with_sizes(
        rows=seen["rows"],
        tokens=min(seen["tokens"], most),
        eval_rows=evaluated["rows"],
        eval_tokens=min(evaluated["tokens"], most),
    )


def _row_tokens(found: MemoryMeasurement) -> float:
    return math.inf if found.longest_row is None else Shapes(found.longest_row).row_tokens(found.values)


def _seen(found: MemoryMeasurement) -> dict[str, int]:
    """The largest batch that the measurement speaks of; rows that trl laid end to end count as the rows they hold."""
    batch = found.peaks.get("tried" if found.outcome == OUT_OF_MEMORY else "seen", _NOWHERE)
    rows, wanted = batch["rows"], found.values["per_device_train_batch_size"]
    if found.values.get("packing") and 0 < rows < wanted:
        return {"rows": wanted, "tokens": math.ceil(rows * batch["tokens"] / wanted)}
    return {"rows": rows, "tokens": batch["tokens"]}
