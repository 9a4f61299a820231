"""Below a run that has ended: where it came from, and the two ways to go on from a checkpoint of it.

`draw(context, job_id, chosen) -> HTML` of a panel on the run's page; `press(context, job_id, told)` gives the address
to go to.
"""

from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import page_path
from app.markup import link
from app.runs.requests import asked, request_name
from studio.db import checkpoints, datasets, jobs, lineage
from studio.db.checkpoints import CheckpointView
from studio.db.jobs import JobView
from studio.errors import RefusedInput, UnknownName
from studio.jobs.lifecycle import ENDED

USUAL_EPOCHS = 1.0
NUMBERS = ("per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "seed")
"""Of a run that begins anew, beside how long it lasts."""


def draw(context: Context, job_id: int | None, chosen: int | None = None) -> str:
    """The panel; `chosen` is the checkpoint that the address names."""
    if job_id is None:
        return ""
    try:
        with context.registry.session() as session:
            job, origin = jobs.job(session, job_id), lineage.origin(session, job_id)
            saved = checkpoints.list_checkpoints(session, job_id)
            rows = [each.name for each in datasets.list_datasets(session)]
    except UnknownName:
        return ""
    if job.kind != "train":
        return ""
    came_from = _origin(context, origin) if origin else ""
    if not saved or job.state not in ENDED:
        return came_from
    return came_from + _further(context, job, saved, chosen) + _anew(context, job, saved, chosen, rows)


def _origin(context: Context, origin: lineage.Origin) -> str:
    name = link(page_path(context.language, "runs", run=origin.run), f"{origin.run} · {origin.title}")
    words = "runs.further.anew.origin" if origin.weights_only else "runs.further.origin"
    return f'<p class="lu-note">{escape(context.say(words, step=f"{origin.step:,}"))} {name}</p>'


def _further(context: Context, job: JobView, saved: list[CheckpointView], chosen: int | None) -> str:
    """A form: which checkpoint, how many epochs more, which rate."""
    say = context.say
    known = {each.id for each in saved}
    picked = chosen if chosen in known else saved[-1].id
    at_end = job.state == "succeeded" and picked == saved[-1].id
    queue = controls.button(
        "further", say("runs.further.queue"), settles=True, request=request_name(context, "further", job.id)
    )
    form = controls.form(
        _checkpoint(context, saved, picked),
        controls.number(
            "epochs",
            say("runs.further.epochs"),
            USUAL_EPOCHS if at_end else 0.0,
            note=say("runs.further.epochs_note"),
            least=0,
        ),
        controls.number(
            "rate", say("runs.further.rate"), job.values["learning_rate"], note=say("runs.further.rate_note"), least=0
        ),
        controls.buttons(queue),
        classes="lu-keep",
        fresh=f"{job.id}-{picked}",
    )
    note = f'<p class="lu-note">{escape(say("runs.further.note"))}</p>'
    return controls.fold(say("runs.further.title"), note + form, key="further", is_open=chosen in known)


def _anew(
    context: Context, job: JobView, saved: list[CheckpointView], chosen: int | None, datasets_here: list[str]
) -> str:
    """A form: the weights of which checkpoint, which rows, how long, which numbers."""
    say = context.say
    picked = chosen if chosen in {each.id for each in saved} else saved[-1].id
    same = say("runs.further.anew.same", name=f"{job.dataset or '–'}@{job.dataset_version or '–'}")
    rows = [(same, ""), *((name, name) for name in datasets_here)]
    lasts = "max_steps" if job.values.get("max_steps", -1) > 0 else "num_train_epochs"
    fields = [
        controls.number(name, say(f"runs.further.anew.{name}"), job.values.get(name), least=0)
        for name in (lasts, *NUMBERS)
        if name in job.values
    ]
    queue = controls.button(
        "anew", say("runs.further.queue"), settles=True, request=request_name(context, "anew", job.id)
    )
    form = controls.form(
        _checkpoint(context, saved, picked),
        controls.select("dataset", say("runs.further.anew.dataset"), rows, ""),
        *_keeping(context, job),
        *fields,
        controls.buttons(queue),
        classes="lu-keep",
        fresh=f"anew-{job.id}-{picked}",
    )
    note = f'<p class="lu-note">{escape(say("runs.further.anew.note"))}</p>'
    return controls.fold(say("runs.further.anew.title"), note + form, key="anew")


def _keeping(context: Context, job: JobView) -> list[str]:
    """How the new run keeps what this one learned; SI only where this run kept count for it."""
    from studio.params.table import parameters

    known = {each.name: each for each in parameters(job.method)} if job.method else {}
    if "continual" not in known:
        return []
    counts = job.values.get("track_importance") or job.values.get("continual") == "si"
    choices = [
        (each.label(context.language), each.value)
        for each in known["continual"].choices
        if each.value != "si" or counts
    ]
    label, note = known["continual"].label(context.language), context.say("runs.further.anew.continual_note")
    return [controls.select("continual", label, choices, "none", note=note)]


def _checkpoint(context: Context, saved: list[CheckpointView], picked: int) -> str:
    say = context.say
    choices = [(say("runs.further.choice", step=f"{each.step:,}"), str(each.id)) for each in reversed(saved)]
    return controls.select("checkpoint", say("runs.further.checkpoint"), choices, str(picked))


def press(context: Context, job_id: int, told: Told) -> str:
    """Carry out what was pressed; gives the address to go to, empty to stay.

    Raises:
        RefusedInput: a field holds no number.
    """
    desk = context.desk
    match told.do:
        case "further":
            new = desk.go_on(
                int(told.text("checkpoint")),
                epochs=_number(told, "epochs"),
                learning_rate=_number(told, "rate"),
                request_id=asked(told),
            )
        case "anew":
            with context.registry.session() as session:
                before = jobs.job(session, job_id).values
            new = desk.begin_anew(
                int(told.text("checkpoint")),
                dataset=told.text("dataset") or None,
                changes=_changes(told, before),
                request_id=asked(told),
            )
        case _:
            return ""
    return page_path(context.language, "runs", run=new)


def _changes(told: Told, before: dict[str, Any]) -> dict[str, Any]:
    """Settings whose field holds another number than the run had."""
    kept = told.text("continual")
    found: dict[str, Any] = {"continual": kept} if kept and kept != before.get("continual", "none") else {}
    for name in ("max_steps", "num_train_epochs", *NUMBERS):
        if not told.text(name) or name not in before:
            continue
        given, old = _number(told, name), before[name]
        if given != old:
            found[name] = int(given) if isinstance(old, int) and given.is_integer() else given
    return found


def _number(told: Told, name: str) -> float:
    try:
        return float(told.text(name) or "0")
    except ValueError:
        raise RefusedInput("run.no_number", given=told.text(name)) from None
