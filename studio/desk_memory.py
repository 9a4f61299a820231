"""The desk's verbs about memory: what a run would take, and a probe that measures it."""

from typing import TYPE_CHECKING, Any

from studio.db import jobs, measurements
from studio.db.datasets import DatasetSummary
from studio.db.jobs import JobView, NewJob
from studio.db.models import ModelSummary
from studio.jobs.lifecycle import LIVE

if TYPE_CHECKING:
    from studio.advisor.facts import Facts


class MemoryDesk:
    """What `Desk` can do to tell how much memory a run takes."""

    def predict(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The memory that a run of this spec would take on this machine, as `studio.memory.measured.document` has it.

        Raises:
            SpecRefused: every fault of the spec at once.
        """
        from studio.memory.measured import document

        base, version = self._named(spec)
        facts = self._facts(base, version)
        return document(_memory(facts, _values(spec, facts)))

    def probe_memory(self, spec: dict[str, Any]) -> int:
        """Queue a job that measures it: two steps on the longest batch; returns the job.

        Asked again while it waits or runs, it returns the same job.

        Raises:
            SpecRefused: every fault of the spec at once. Too large is none: the probe shall find that out.
        """
        from studio.memory.measured import document

        base, version = self._named(spec)
        facts = self._facts(base, version)
        values = _values(spec, facts)
        with self._writer.begin() as session:
            for job in probes(session, base, version, states=LIVE | {"queued"}):
                if job.values == values:
                    return job.id
            new = NewJob(
                kind=measurements.PROBE,
                method=values["method"],
                tuning=values["tuning"],
                title=base.name,
                values=values,
                needs_device=True,
                dataset_version_id=version.version_id,
                model_id=base.id,
            )
            job_id = self._add(session, new)
            plan = {"memory": document(_memory(facts, values))}
            jobs.record_event(session, job_id, type="plan", data=plan)
        self._wake()
        return job_id

    def _facts(self, base: ModelSummary, version: DatasetSummary) -> "Facts":
        from studio.advisor.facts import facts_about
        from studio.advisor.known import known_of

        inspection = self._inspection(base, version)
        with self._writer.begin() as session:
            known = known_of(session, self.workspace, base, version)
        return facts_about(version, inspection, machine=self._read_machine(), **known)


def probes(session: Any, base: ModelSummary, version: DatasetSummary, **wanted: Any) -> list[JobView]:
    """Probes of this model with this data, newest first."""
    asked = (base.name, version.name, version.version)
    found = jobs.list_jobs(session, kinds=(measurements.PROBE,), **wanted)
    return [job for job in found if (job.model, job.dataset, job.dataset_version) == asked]


def _values(spec: dict[str, Any], facts: "Facts") -> dict[str, Any]:
    from studio.advisor.complete import complete

    return complete(spec, facts)[0]


def _memory(facts: "Facts", values: dict[str, Any]) -> Any:
    from studio.advisor.forecast import memory_of

    return memory_of(facts, values)
