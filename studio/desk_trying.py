"""The desk's verb that tries a run again with a change: one setting or two, so that its effect can be told."""

from collections.abc import Callable
from typing import Any

from studio.db import jobs, lineage, runs
from studio.db.engine import Writer
from studio.db.jobs import NewJob
from studio.errors import Conflict, Fault, RefusedInput, SpecRefused
from studio.params.clashes import clashes
from studio.params.table import find_fault, parameters

MOST_CHANGES = 2
"""KNOWHOW 1: change one or two at a time, or the cause cannot be found."""
_LONGEST_TITLE = 120


class TryingDesk:
    """What `Desk` can do with what an alarm proposes."""

    _writer: Writer
    _wake: Callable[[], None]

    def try_again(self, job_id: int, changes: dict[str, Any], *, request_id: str | None = None) -> int:
        """Queue a run with the values of another one but for `changes`, from its beginning; returns the new job.

        try_again(7, {"beta": 0.003})  ->  9

        Raises:
            Conflict: this is no training run, or it went on from the middle of another one.
            RefusedInput: nothing is changed, or too much.
            SpecRefused: a setting is not this method's, out of bounds, or clashes with another one.
        """
        if not 0 < len(changes) <= MOST_CHANGES:
            raise RefusedInput("run.few_changes", most=MOST_CHANGES)
        with self._writer.begin() as session:
            known = jobs.require(session, job_id)
            if known.kind != "train":
                raise Conflict("run.not_a_run", job=job_id)
            origin = lineage.origin(session, job_id)
            if origin is not None and not origin.weights_only:
                raise Conflict("run.goes_on", job=job_id)
            new = NewJob(
                kind="train",
                title=f"{known.title} · {', '.join(_told(changes))}"[:_LONGEST_TITLE],
                values=_checked(known.values, changes),
                chosen=sorted({*known.chosen, *changes}),
                needs_device=True,
                request_id=request_id,
                **{
                    name: getattr(known, name)
                    for name in ("method", "tuning", "wanted_device", "dataset_version_id", "model_id")
                },
            )
            plans, new_id = jobs.events(session, job_id, types=("plan",)), self._add(session, new)
            if not jobs.events(session, new_id, types=("plan",)):
                reasons = plans[-1].data.get("reasons", {}) if plans else {}
                kept = {name: why for name, why in reasons.items() if name not in changes}
                jobs.record_event(session, new_id, type="plan", data={"reasons": kept})
                self._begin_curve(session, new_id, jobs.require(session, new_id))
            for tag in runs.tags_of(session, [job_id]).get(job_id, ()):
                runs.add_tag(session, new_id, tag)
            lineage.copy_origin(session, job_id, new_id)
        self._wake()
        return new_id


def _told(changes: dict[str, Any]) -> list[str]:
    return [f"{name} {value}" if isinstance(value, int | float | str) else name for name, value in changes.items()]


def _checked(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    table = {parameter.name: parameter for parameter in parameters(values["method"])}
    unknown = [Fault(name, "spec.unknown") for name in changes if name not in table]
    if unknown:
        raise SpecRefused(unknown)
    if faults := [fault for name, value in changes.items() if (fault := find_fault(table[name], value))]:
        raise SpecRefused(faults)
    changed = values | changes
    if faults := clashes({name: parameter.default for name, parameter in table.items()} | changed):
        raise SpecRefused(faults)
    return changed
