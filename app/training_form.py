"""What the train page's form says, and what the studio knows about it: the page's logic without its layout.

A form is read as the difference between what stands in the fields and what they were filled with last, so that no entry
is lost when two changes cross on their way. Nothing here draws.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from app.context import Context
from app.forms import faults_of, from_component
from app.pages.shell import number_in
from studio.db import datasets, jobs, models
from studio.db.datasets import DatasetSummary
from studio.db.jobs import JobView
from studio.db.models import ModelSummary
from studio.desk_memory import probes
from studio.errors import Fault, SpecRefused, UnknownName
from studio.jobs.lifecycle import LIVE
from studio.params.table import METHODS, Parameter, every_parameter

if TYPE_CHECKING:
    from studio.advisor.facts import Facts
    from studio.advisor.forecast import Forecast
    from studio.advisor.prefill import Filled
    from studio.advisor.preflight import Finding
    from studio.advisor.presets import Preset

NAMED = ("goal", "method", "model_name_or_path", "dataset", "run_name", "intention")
"""What only the person can say; the rest of the table is filled in."""
UNSUCCESSFUL = frozenset({"failed", "lost", "stopped", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a person has said on the page."""

    named: Mapping[str, Any]
    """{parameter of NAMED: value}"""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """Values that differ from the recommended ones, also where they have no effect now."""
    entered: Mapping[str, Any] = field(default_factory=dict)
    """What stands in the fields; empty for a page just opened."""
    preset: str = ""
    given_back: Mapping[str, Any] = field(default_factory=dict)
    """What the person had set before it was made to fit, and has not set anew."""

    def spec(self, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """What the desk is asked: nothing that was filled in, and nothing that has no effect."""
        values = {**self.entered, **self.chosen}
        left_out = set(without)
        chosen = {
            name: value
            for name, value in self.chosen.items()
            if name not in left_out and table()[name].applies_to(values)
        }
        return {name: value for name, value in self.named.items() if value not in (None, "")} | chosen


@dataclass(frozen=True)
class Plan:
    """A form completed, and what the run will take."""

    values: Mapping[str, Any]
    filled: Mapping[str, "Filled"]
    """Why each filled-in value has its value."""
    forecast: "Forecast"
    findings: tuple["Finding", ...]
    facts: "Facts"
    is_looking: bool = False
    """Something is being found out about the data set."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the studio knows about a form."""

    datasets: list[DatasetSummary]
    models: list[ModelSummary]
    base: ModelSummary | None = None
    version: DatasetSummary | None = None
    inspection: dict[str, Any] | None = None
    job: JobView | None = None
    """The job that looks at both, while there is no inspection."""
    probe: JobView | None = None
    """The newest job that measured how much memory a run of both takes."""
    unknown: tuple[UnknownName, ...] = ()
    disk_free_bytes: int | None = None
    """Where runs lie."""
    is_looking: bool = False
    """A job looks at this version's rows, or checks them."""
    known: Mapping[str, Any] = field(default_factory=dict)
    """What else the advisor is told of the model and the data set."""
    completed: Plan | None = None
    recommended: Mapping[str, "Filled | None"] = field(default_factory=dict)
    """For each changed field: what would be filled in."""
    faults: tuple[Fault, ...] = ()


def table() -> Mapping[str, Parameter]:
    """Every method's parameters by name, in the form's order."""
    return every_parameter()


def read_form(shown: str | None, preset: str | None, entered: Iterable[Any]) -> Form:
    """What a person has said: what differs from what was filled in last, and what they had changed before."""
    last = json.loads(shown or "{}")
    values = {each.name: from_component(each, value) for each, value in zip(table().values(), entered, strict=True)}
    filled, before = last.get("filled", {}), last.get("chosen", {})
    chosen = {
        name: values[name] if name in filled or name in before else None
        for name in table()
        if name not in NAMED and (name in before or (name in filled and values[name] != filled[name]))
    }
    return Form(
        named={name: values[name] for name in NAMED},
        chosen={name: value for name, value in chosen.items() if value is not None},
        entered=values,
        preset=preset or "",
        given_back={name: value for name, value in last.get("given_back", {}).items() if chosen.get(name) is None},
    )


def first_form(context: Context, query: Mapping[str, str], draft: Any) -> Form:
    """The form as the page opens: the address, an earlier run, or the draft; the only model or data set there is."""
    form = _from_draft(draft)
    run = number_in(dict(query), "from")
    if run is not None:
        form = _from_run(context, run) or form
    named = dict(form.named)
    for name, key in (("dataset", "dataset"), ("model_name_or_path", "model")):
        named[name] = query.get(key) or named.get(name)
    if query.get("method") in METHODS:
        named["method"] = query["method"]
    with context.registry.session() as session:
        only = {"dataset": datasets.list_datasets(session), "model_name_or_path": models.list_models(session)}
    for name, known in only.items():
        if not named[name] and len(known) == 1:
            named[name] = known[0].name
    defaults = {name: each.default for name, each in table().items()}
    named = {name: named.get(name) or defaults[name] for name in NAMED}
    return replace(form, named=named, entered={**defaults, **named, **form.chosen})


def _from_draft(draft: Any) -> Form:
    """A draft that the browser kept; it may be of an older version or damaged, so only what fits is taken."""
    kept = draft if isinstance(draft, dict) else {}
    named, chosen = kept.get("named"), kept.get("chosen")
    return Form(
        named={name: value for name, value in (named or {}).items() if name in NAMED and isinstance(value, str)},
        chosen={name: value for name, value in (chosen or {}).items() if name in table() and name not in NAMED},
        preset=str(kept.get("preset") or ""),
    )


def _from_run(context: Context, run: int) -> Form | None:
    """An earlier run's settings: what its person had changed, and what it was trained on."""
    with context.registry.session() as session:
        try:
            job = jobs.job(session, run)
        except UnknownName:
            return None
        current = {each.name: each.version for each in datasets.list_datasets(session)}
    if job.kind != "train":
        return None
    version = "" if current.get(job.dataset) == job.dataset_version else f"@{job.dataset_version}"
    named = {name: job.values.get(name) for name in NAMED}
    named |= {"dataset": f"{job.dataset}{version}" if job.dataset else None, "model_name_or_path": job.model}
    named["run_name"] = context.say("train.again", title=job.title)
    chosen = {name: job.values[name] for name in job.chosen if name in table() and name in job.values}
    return Form(named=named, chosen={name: value for name, value in chosen.items() if name not in NAMED})


def draft_of(form: Form) -> dict[str, Any]:
    return {"named": dict(form.named), "chosen": dict(form.chosen), "preset": form.preset}


def look(context: Context, form: Form, *, again: bool = False) -> tuple[Form, Seen]:
    """What is known about the form; starts the job that finds out the rest. The form comes back without changed
    values that are the recommended ones.

    Args:
        again: look once more where that has failed.
    """
    seen = _find(context, form)
    if seen.base is None or seen.version is None:
        return form, seen
    if seen.inspection is None:
        return form, replace(seen, job=_looking(context, seen, again=again))
    return _complete(form, seen)


def _find(context: Context, form: Form) -> Seen:
    from studio.advisor.known import known_of

    with context.registry.session() as session:
        found: dict[str, Any] = {"base": None, "version": None}
        unknown = []
        for part, name, read in (
            ("base", "model_name_or_path", models.model),
            ("version", "dataset", datasets.dataset),
        ):
            try:
                found[part] = read(session, form.named[name]) if form.named.get(name) else None
            except UnknownName as error:
                unknown.append(error)
        both = found["base"] and found["version"]
        return Seen(
            datasets=datasets.list_datasets(session),
            models=models.list_models(session),
            inspection=_inspection(session, **found) if both else None,
            unknown=tuple(unknown),
            disk_free_bytes=shutil.disk_usage(context.desk.workspace.root).free,
            is_looking=bool(both) and _is_looked_at(session, found["version"]),
            known=known_of(session, context.desk.workspace, **found) if both else {},
            probe=next(iter(probes(session, **found)), None) if both else None,
            **found,
        )


def _is_looked_at(session: Any, version: DatasetSummary) -> bool:
    waiting = jobs.list_jobs(session, kinds=("prepare",), states=LIVE | {"queued"})
    return any(job.values.get("version") == version.path for job in waiting)


def find_out(context: Context, form: Form, what: str) -> None:
    """Start what a finding's button promises: clean (what cleaning would do), checks; again needs no job."""
    if what == "clean":
        context.desk.look_dataset(form.named["dataset"])
    elif what == "checks":
        context.desk.check_dataset(form.named["dataset"])


def measure(context: Context, form: Form, seen: Seen, *, is_wanted: bool) -> None:
    """Start measuring what the form would take, or end the measurement that waits or runs.

    Raises:
        SpecRefused: the form has faults.
    """
    if is_wanted:
        context.desk.probe_memory(form.spec())
    elif seen.probe is not None and seen.probe.state in LIVE | {"queued"}:
        context.desk.stop(seen.probe.id)


def _inspection(session: Any, base: ModelSummary, version: DatasetSummary) -> dict[str, Any] | None:
    return models.inspection(session, base.content_hash, version.content_hash)


def _looking(context: Context, seen: Seen, *, again: bool) -> JobView | None:
    """The job that looks at model and data. One that failed is not started again by itself."""
    with context.registry.session() as session:
        latest = next(
            (
                job
                for job in jobs.list_jobs(session, kinds=("inspect",))
                if (job.model, job.dataset, job.dataset_version)
                == (seen.base.name, seen.version.name, seen.version.version)
            ),
            None,
        )
    if latest is not None and latest.state in UNSUCCESSFUL and not again:
        return latest
    job_id = context.desk.inspect(seen.base.name, f"{seen.version.name}@{seen.version.version}")
    if job_id is None:  # it ended between the two looks; the next one finds its answer
        return None
    with context.registry.session() as session:
        return jobs.job(session, job_id)


def _complete(form: Form, seen: Seen) -> tuple[Form, Seen]:
    """Everything filled in, as far as the faults in the form allow."""
    single = faults_of(table(), form.spec())
    faults = list(single.values())
    completed = None
    try:
        completed = ask(form, seen, without=single)
    except SpecRefused as error:
        faults += error.faults
        blamed = set(single) | {fault.field for fault in error.faults}
        if set(form.chosen) & blamed:
            try:
                completed = ask(form, seen, without=blamed)
            except SpecRefused as further:
                faults += [fault for fault in further.faults if fault not in faults]
    recommended = {} if completed is None else {name: _recommended(form, completed.facts, name) for name in form.chosen}
    faulty = {fault.field for fault in faults}
    chosen = {
        name: value
        for name, value in form.chosen.items()
        if name in faulty or recommended.get(name) is None or recommended[name].value != value
    }
    form = replace(form, chosen=chosen)
    return form, replace(seen, completed=completed, recommended=recommended, faults=tuple(faults))


def ask(form: Form, seen: Seen, *, without: Iterable[str] = ()) -> Plan:
    """The spec completed as the desk would, and what it would take; unlike there, a failed check is no refusal."""
    from studio.advisor.complete import complete
    from studio.advisor.facts import facts_about
    from studio.advisor.forecast import forecast
    from studio.advisor.preflight import preflight
    from studio.hardware import read_machine

    facts = facts_about(
        seen.version,
        seen.inspection,
        machine=read_machine(),
        disk_free_bytes=seen.disk_free_bytes,
        **seen.known,
    )
    values, filled = complete(form.spec(without=without), facts)
    expected = forecast(facts, values)
    return Plan(values, filled, expected, tuple(preflight(facts, values, expected)), facts, seen.is_looking)


def _recommended(form: Form, facts: "Facts", name: str) -> "Filled | None":
    """What would be filled in for a changed field if the person took the change back; None where that has a fault."""
    from studio.advisor.complete import complete

    try:
        return complete(form.spec(without=[name]), facts)[1].get(name)
    except SpecRefused:
        return None


def is_looking(seen: Seen) -> bool:
    has_both = seen.base is not None and seen.version is not None and seen.inspection is None
    return has_both and (seen.job is None or seen.job.state not in UNSUCCESSFUL)


def preset_named(name: str) -> "Preset | None":
    from studio.advisor.presets import presets

    return next((each for each in presets() if each.name == name), None)


def preset_values(name: str, form: Form) -> dict[str, Any]:
    """A preset's values under the parameters' names; nothing for none."""
    found = preset_named(name)
    if found is None:
        return {}
    batch = form.entered.get("per_device_train_batch_size")
    return found.resolved(
        method=form.entered.get("method") or "sft",
        tuning=form.entered.get("tuning"),
        per_device_train_batch_size=batch if isinstance(batch, int) else 1,
    )
