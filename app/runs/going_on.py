"""Below a run: where it came from, what was made smaller, and how to go on once it has ended.

`draw(context, job_id, chosen) -> HTML` of a panel on the run's page; `press(context, job_id, told)` gives the address
to go to.
"""

from html import escape

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import bytes_text, number_text, page_path
from app.markup import facts, link, notice
from studio.db import checkpoints, jobs, lineage
from studio.db.checkpoints import CheckpointView
from studio.db.jobs import JobView
from studio.desk_going_on import NON_FINITE, SLOWER
from studio.errors import RefusedInput, UnknownName
from studio.jobs.lifecycle import ENDED
from studio.jobs.shrinking import OUT_OF_MEMORY
from studio.params.changing import smaller

USUAL_EPOCHS = 1.0


def draw(context: Context, job_id: int | None, chosen: int | None = None) -> str:
    """The panel; `chosen` is the checkpoint that the address names."""
    if job_id is None:
        return ""
    try:
        with context.registry.session() as session:
            job, origin = jobs.job(session, job_id), lineage.origin(session, job_id)
            saved = checkpoints.list_checkpoints(session, job_id)
            shrunk = [event.data["changes"] for event in jobs.events(session, job_id, types=("smaller",))]
            plans = jobs.events(session, job_id, types=("plan",))
    except UnknownName:
        return ""
    if job.kind != "train":
        return ""
    predicted = ((plans[-1].data.get("memory") if plans else None) or {}).get("allocated_bytes")
    return (
        (_origin(context, origin) if origin else "")
        + "".join(notice(context.say(f"errors.job.smaller.{next(iter(each))}", **each), "info") for each in shrunk)
        + _memory(context, job, predicted, saved)
        + _slower(context, job, saved)
        + (_further(context, job, saved, chosen) if saved and job.state in ENDED else "")
    )


def _origin(context: Context, origin: lineage.Origin) -> str:
    name = link(page_path(context.language, "runs", run=origin.run), f"{origin.run} · {origin.title}")
    words = escape(context.say("runs.further.origin", step=f"{origin.step:,}"))
    return f'<p class="lu-note">{words} {name}</p>'


def _memory(context: Context, job: JobView, predicted: int | None, saved: list[CheckpointView]) -> str:
    """What was predicted and reached where memory ran out, and the next smaller setting."""
    if job.state != "failed" or job.reason not in OUT_OF_MEMORY:
        return ""
    say, reached = context.say, job.figures.get("peak_memory_bytes")
    known = [("predicted", predicted), ("reached", reached)]
    numbers = facts([(say(f"runs.further.{name}"), bytes_text(size)) for name, size in known if size])
    changes = smaller(job.values, phase=job.reason_values.get("phase"), has_checkpoints=bool(saved))
    if not changes:
        return numbers + f'<p class="lu-note">{escape(say("errors.run.nothing_smaller", job=job.id))}</p>'
    what = escape(say(f"runs.further.smaller.{next(iter(changes))}", **changes))
    return numbers + f"<p>{what}</p>" + controls.buttons(controls.button("smaller", say("runs.further.try_smaller")))


def _slower(context: Context, job: JobView, saved: list[CheckpointView]) -> str:
    """The last finite checkpoint, offered with a lower rate."""
    if job.state != "failed" or job.reason not in NON_FINITE or not saved:
        return ""
    rate = number_text(SLOWER * job.values["learning_rate"])
    label = context.say("runs.further.slower", step=f"{saved[-1].step:,}", rate=rate)
    return controls.buttons(controls.button("slower", label))


def _further(context: Context, job: JobView, saved: list[CheckpointView], chosen: int | None) -> str:
    """A form: which checkpoint, how many epochs more, which rate."""
    say = context.say
    known = {each.id for each in saved}
    picked = chosen if chosen in known else saved[-1].id
    choices = [(say("runs.further.choice", step=f"{each.step:,}"), str(each.id)) for each in reversed(saved)]
    at_end = job.state == "succeeded" and picked == saved[-1].id
    form = controls.form(
        controls.select("checkpoint", say("runs.further.checkpoint"), choices, str(picked)),
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
        controls.buttons(controls.button("further", say("runs.further.queue"), settles=True)),
        classes="lu-keep",
        fresh=f"{job.id}-{picked}",
    )
    note = f'<p class="lu-note">{escape(say("runs.further.note"))}</p>'
    return controls.fold(say("runs.further.title"), note + form, key="further", is_open=chosen in known)


def press(context: Context, job_id: int, told: Told) -> str:
    """Carry out what was pressed; gives the address to go to, empty to stay.

    Raises:
        RefusedInput: a field holds no number.
    """
    desk, runs_page = context.desk, "runs"
    match told.do:
        case "smaller":
            desk.try_smaller(job_id)
        case "slower":
            return page_path(context.language, runs_page, run=desk.try_slower(job_id))
        case "further":
            new = desk.go_on(
                int(told.text("checkpoint")),
                epochs=_number(told, "epochs"),
                learning_rate=_number(told, "rate"),
            )
            return page_path(context.language, runs_page, run=new)
    return ""


def _number(told: Told, name: str) -> float:
    try:
        return float(told.text(name) or "0")
    except ValueError:
        raise RefusedInput("run.no_number", given=told.text(name)) from None
