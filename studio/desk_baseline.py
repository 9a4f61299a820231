"""The desk's verbs about the untouched model: asked before a run, its best prompt carried into the rows.

See `studio.desk_data`, whose rules hold here too.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from studio.advisor.counting import steps_of
from studio.db import jobs, metrics
from studio.db.datasets import DatasetSummary
from studio.db.jobs import NewJob
from studio.db.models import ModelSummary
from studio.desk_data import DataDesk
from studio.errors import RefusedInput
from studio.evaluation import baseline
from studio.evaluation.baseline import CONTEXT, KINDS, PLAIN, Ask, Held, rules
from studio.jobs.lifecycle import LIVE
from studio.paths import Workspace

MOST_CHARACTERS = {"system": 4_000, "context": 200_000}
MOST_ROWS, MOST_SECONDS = 1000, 86_400
PROMPTED_LOSS = "eval_loss_prompted"
"""The curve's line for the untouched model with its best prompt."""


class BaselineDesk(DataDesk):
    """What `Desk` can do before a run to learn whether it is needed."""

    _named: Callable[[dict[str, Any]], tuple[ModelSummary, DatasetSummary]]
    _inspection: Callable[..., dict[str, Any]]
    _read_machine: Callable[[], Any]

    def baseline(
        self,
        spec: dict[str, Any],
        *,
        kinds: list[str] | None = None,
        system: str = "",
        context: str = "",
        rows: int | None = None,
        seconds: float | None = None,
    ) -> int:
        """Queue a job that asks the untouched model the validation rows of the run that `spec` describes.

        Args:
            kinds: ways to ask, of `baseline.KINDS`; the plain one is always among them.
            system: a system prompt; where it is empty one is proposed from the rows.
            context: a text to answer from; it adds the kind `context`.
            rows: at most so many are compared.
            seconds: writing answers takes no longer; None: 5 % of the forecast training time.

        Raises:
            SpecRefused: a fault of the spec.
            RefusedInput: a way that there is not, or rows that hold no question and answer.
        """
        chosen = _kinds(kinds, context)
        for name, text in (("system", system), ("context", context)):
            if len(text) > MOST_CHARACTERS[name]:
                raise RefusedInput("baseline.long", name=name, most=MOST_CHARACTERS[name])
        base, version = self._named(spec)
        if version.format not in baseline.FORMATS:
            raise RefusedInput("baseline.format", name=version.name, format=version.format)
        values, forecast_seconds = self._planned(spec, base, version)
        ask = Ask(
            kinds=chosen,
            system=system,
            goal=str(values.get("goal") or ""),
            context=context,
            rows=_within("rows", rows, rules()["rows"], MOST_ROWS),
            seconds=_within("seconds", seconds, rules()["time_share"] * (forecast_seconds or 0.0), MOST_SECONDS),
            held=Held.of(values),
        )
        place = baseline.place(self.workspace, base.content_hash, version.content_hash, ask)
        return self._ask(base, version, {"ask": msgspec.to_builtins(ask), "report": str(place)})

    def carry_system_prompt(self, name: str, system: str) -> int:
        """Queue a version in which every row begins with this system prompt; returns the job."""
        text = system.strip()
        if not text:
            raise RefusedInput("baseline.no_system")
        if len(text) > MOST_CHARACTERS["system"]:
            raise RefusedInput("baseline.long", name="system", most=MOST_CHARACTERS["system"])
        if (version := self._version(name)).format not in baseline.FORMATS:
            raise RefusedInput("baseline.format", name=version.name, format=version.format)
        return self._change("system_prompt", name, {"system": text})

    def _planned(
        self, spec: dict[str, Any], base: ModelSummary, version: DatasetSummary
    ) -> tuple[dict[str, Any], float | None]:
        """The values of the run that is planned, and how long it will take."""
        from studio.advisor.complete import complete, with_preset
        from studio.advisor.facts import facts_about
        from studio.advisor.forecast import forecast
        from studio.advisor.known import known_of

        inspection = self._inspection(base, version)
        with self._writer.begin() as session:
            known = known_of(session, self.workspace, base, version)
        facts = facts_about(version, inspection, machine=self._read_machine(), **known)
        values, _ = complete(with_preset(spec, facts), facts)
        return values, forecast(facts, values).seconds

    def _ask(self, base: ModelSummary, version: DatasetSummary, values: dict[str, Any]) -> int:
        """Queue the job, unless the same one is under way."""
        with self._writer.begin() as session:
            for job in jobs.list_jobs(session, kinds=("baseline",), states=LIVE | {"queued"}):
                if job.values["report"] == values["report"]:
                    return job.id
        return self._queue(
            NewJob(
                kind="baseline",
                title=f"{base.name} · {version.name}",
                values={"operation": "baseline", "name": version.name} | values,
                needs_device=True,
                dataset_version_id=version.version_id,
                model_id=base.id,
            )
        )


def begin_curve(
    session: Session,
    workspace: Workspace,
    job_id: int,
    base: ModelSummary,
    version: DatasetSummary,
    values: Mapping[str, Any],
) -> None:
    """Let a run's curve begin where the untouched model stands, if it was asked about these very rows.

    The plain prompt's loss is the run's eval_loss at step 0; the best prompt's is a line across the chart. Packed rows
    and other validation rows, lengths or batches would make other numbers: then there is no point.
    """
    kept = baseline.newest(workspace, base.content_hash, version.content_hash)
    if kept is None:
        return
    report = kept.report
    plain, best = report.of(PLAIN), report.best_prompt
    jobs.record_event(session, job_id, type="baseline", data={"folder": str(kept.folder), "best": report.best})
    is_alike = values.get("method", "sft") == "sft" and values["validation_split"] and not values.get("packing")
    if not is_alike or report.held != Held.of(values):
        return
    points: dict[str, list[tuple[int, float]]] = {}
    if plain is not None and plain.validation_loss is not None:
        points["eval_loss"] = [(0, plain.validation_loss)]
    if best.kind != PLAIN and best.validation_loss is not None:
        steps = steps_of(values, version.training_rows, version.validation_rows)
        points[PROMPTED_LOSS] = [(0, best.validation_loss), (steps, best.validation_loss)]
    metrics.append(session, job_id, 0, points)


def _kinds(kinds: list[str] | None, context: str) -> list[str]:
    wanted = list(kinds) if kinds is not None else list(rules()["default"])
    unknown = sorted(set(wanted) - set(KINDS))
    if unknown:
        raise RefusedInput("baseline.kind", kind=", ".join(unknown), known=", ".join(KINDS))
    if context.strip():
        wanted.append(CONTEXT)
    elif CONTEXT in wanted:
        raise RefusedInput("baseline.no_context")
    return [kind for kind in KINDS if kind in wanted or kind == PLAIN]


def _within(name: str, given: Any, default: float, most: float) -> Any:
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given <= most:
        raise RefusedInput("baseline.number", name=name, value=given, low=1, high=int(most))
    return given
