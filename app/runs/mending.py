"""Beside the cause of a failed run: the numbers, and the button that tries what would help.

`draw(context, job_id) -> HTML` of a panel below the run's head, `press(context, job_id, told)` the address to go to.
"""

from html import escape

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import bytes_text, number_text, page_path
from app.markup import facts, notice
from app.runs.requests import asked, request_name
from studio.db import checkpoints, jobs
from studio.db.checkpoints import CheckpointView
from studio.db.jobs import JobView
from studio.desk_going_on import NON_FINITE, SLOWER
from studio.errors import UnknownName
from studio.jobs.shrinking import OUT_OF_MEMORY
from studio.params.changing import smaller

OTHERWISE = "job.resumed_otherwise"


def draw(context: Context, job_id: int | None) -> str:
    """What was made smaller already, and what would help; empty where nothing is to be mended."""
    if job_id is None:
        return ""
    try:
        with context.registry.session() as session:
            job = jobs.job(session, job_id)
            saved = checkpoints.list_checkpoints(session, job_id)
            shrunk = [event.data["changes"] for event in jobs.events(session, job_id, types=("smaller",))]
            plans = jobs.events(session, job_id, types=("plan",))
    except UnknownName:
        return ""
    if job.kind != "train":
        return ""
    told = "".join(notice(context.say(f"errors.job.smaller.{next(iter(each))}", **each), "info") for each in shrunk)
    if job.state != "failed":
        return told
    predicted = ((plans[-1].data.get("memory") if plans else None) or {}).get("allocated_bytes")
    return told + _memory(context, job, predicted, saved) + _slower(context, job, saved) + _anew(context, job, saved)


def _memory(context: Context, job: JobView, predicted: int | None, saved: list[CheckpointView]) -> str:
    """What was predicted and reached where memory ran out, and the next smaller setting."""
    if job.reason not in OUT_OF_MEMORY:
        return ""
    say, reached = context.say, job.figures.get("peak_memory_bytes")
    known = [("predicted", predicted), ("reached", reached)]
    numbers = facts([(say(f"runs.further.{name}"), bytes_text(size)) for name, size in known if size])
    changes = smaller(job.values, phase=job.reason_values.get("phase"), has_checkpoints=bool(saved))
    if not changes:
        return numbers + f'<p class="lu-note">{escape(say("errors.run.nothing_smaller", job=job.id))}</p>'
    what = escape(say(f"runs.further.smaller.{next(iter(changes))}", **changes))
    button = controls.button("smaller", say("runs.further.try_smaller"), kind="primary")
    return f"<p>{what}</p>" + controls.buttons(button) + numbers


def _slower(context: Context, job: JobView, saved: list[CheckpointView]) -> str:
    """The last finite checkpoint, offered with a lower rate."""
    if job.reason not in NON_FINITE or not saved:
        return ""
    rate = number_text(SLOWER * job.values["learning_rate"])
    label = context.say("runs.further.slower", step=f"{saved[-1].step:,}", rate=rate)
    request = request_name(context, "slower", job.id)
    return controls.buttons(controls.button("slower", label, kind="primary", request=request))


def _anew(context: Context, job: JobView, saved: list[CheckpointView]) -> str:
    """Where it would be another run now, that other run."""
    if job.reason != OTHERWISE or not saved:
        return ""
    note = f'<p class="lu-note">{escape(context.say("runs.further.anew.note"))}</p>'
    label = context.say("runs.further.anew.at_once", step=f"{saved[-1].step:,}")
    request = request_name(context, "anew", job.id)
    return note + controls.buttons(controls.button("anew", label, kind="primary", request=request))


def press(context: Context, job_id: int, told: Told) -> str:
    """Carry out what was pressed; gives the address to go to, empty to stay."""
    desk = context.desk
    match told.do:
        case "smaller":
            desk.try_smaller(job_id)
        case "slower":
            return page_path(context.language, "runs", run=desk.try_slower(job_id, request_id=asked(told)))
        case "anew":
            with context.registry.session() as session:
                saved = checkpoints.list_checkpoints(session, job_id)
            if saved:
                new = desk.begin_anew(saved[-1].id, request_id=asked(told))
                return page_path(context.language, "runs", run=new)
    return ""
