"""One run as its person keeps it: name, tags, note, what it holds on the disk, again, archive, delete.

`draw(context, job_id, asks) -> HTML` of a panel on the run's page, `press(context, job_id, told)` what came of a press.
"""

import re
from dataclasses import dataclass
from html import escape

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import bytes_text, page_path
from app.markup import facts, link, notice
from app.runs.listing import tag_link
from app.runs.requests import asked, request_name
from studio.db import checkpoints, jobs, runs
from studio.db.jobs import JobView
from studio.errors import UnknownName
from studio.jobs.folders import folder_bytes
from studio.jobs.lifecycle import ENDED

# The full-width and the enumeration comma are what a Chinese keyboard gives.
_BETWEEN = re.compile("[,\uff0c\u3001]")


@dataclass(frozen=True)
class Kept:
    """What came of a press."""

    asks: str = ""
    """A deletion that wants to be confirmed: free, delete."""
    goto: str = ""
    """Address to go to: the run is gone, or there is a new one."""


def draw(context: Context, job_id: int | None, asks: str = "") -> str:
    """The panel; empty where there is no such run."""
    if job_id is None:
        return ""
    try:
        with context.registry.session() as session:
            job = jobs.job(session, job_id)
            note = runs.note_of(session, job_id)
            tags = runs.tags_of(session, [job_id]).get(job_id, [])
            saved = sum(each.size_bytes for each in checkpoints.list_checkpoints(session, job_id))
    except UnknownName:
        return ""
    if job.kind != runs.TRAINING:
        return ""
    shown = "".join(f"{tag_link(context, tag)} " for tag in tags)
    said = f'<p class="lu-run-note">{escape(note)}</p>' if note else ""
    chips = f"<p>{shown}</p>" if shown else ""
    return (
        chips
        + said
        + _again(context, job)
        + controls.fold(
            context.say("runs.keep.title"),
            _fields(context, job, tags, note) + _disk(context, job, saved, asks),
            key="keep",
        )
    )


def _again(context: Context, job: JobView) -> str:
    """The same once more, or with a change."""
    changed = link(
        page_path(context.language, "train", **{"from": job.id}),
        context.say("runs.keep.with_change"),
        classes="lu-button lu-second",
    )
    return controls.buttons(
        changed,
        controls.button("again", context.say("runs.keep.again"), request=request_name(context, "again", job.id)),
    )


def _fields(context: Context, job: JobView, tags: list[str], note: str) -> str:
    say = context.say
    known = say("common.list_comma").join(tags)
    return controls.form(
        controls.text("title", say("runs.keep.name"), job.title, enter="save"),
        controls.text("tags", say("runs.keep.tags"), known, note=say("runs.keep.tags_note"), enter="save"),
        controls.area("note", say("runs.keep.note"), note, rows=3, draft=f"note-{job.id}"),
        controls.buttons(controls.button("save", say("runs.keep.save"), settles=True)),
        classes="lu-keep",
        fresh=f"{job.id}-{job.title}-{known}-{hash(note)}",
    )


def _disk(context: Context, job: JobView, saved: int, asks: str) -> str:
    """What its folder holds, and what can be put away or deleted."""
    say = context.say
    held = folder_bytes(context.desk.workspace.job(job.id))
    told = facts(
        [
            (say("runs.keep.disk"), f'<span class="lu-num">{bytes_text(held)}</span>'),
            (say("runs.keep.checkpoints"), f'<span class="lu-num">{bytes_text(saved)}</span>'),
        ]
    )
    if job.state not in ENDED:
        return told + f'<p class="lu-note">{escape(say("runs.keep.not_ended"))}</p>'
    name = f"{job.id} · {job.title}"
    if asks == "free":
        question = notice(say("runs.keep.free_ask", name=name, size=bytes_text(saved)), "warn")
        yes = controls.button("free_now", say("runs.keep.free_yes"), kind="primary")
        return told + question + controls.buttons(yes, controls.button("no", say("runs.list.keep")))
    if asks == "delete":
        question = notice(say("runs.keep.delete_ask", name=name, size=bytes_text(held)), "warn")
        return (
            told
            + question
            + controls.buttons(
                controls.button("delete_all", say("runs.list.delete_with"), kind="primary"),
                controls.button("delete_kept", say("runs.list.delete_without")),
                controls.button("no", say("runs.list.keep")),
            )
        )
    put_away = "bring_back" if job.is_archived else "archive"
    return told + controls.buttons(
        controls.button(put_away, say(f"runs.list.{put_away}")),
        controls.button("free", say("runs.keep.free")) if saved else "",
        controls.button("delete", say("runs.list.delete")),
    )


def press(context: Context, job_id: int, told: Told) -> Kept:
    """Carry out what was pressed; a deletion asks first."""
    desk, language = context.desk, context.language
    match told.do:
        case "save":
            desk.rename(job_id, told.text("title"))
            desk.tag_run(job_id, [each for each in map(str.strip, _BETWEEN.split(told.text("tags"))) if each])
            desk.note_run(job_id, str(told.fields.get("note") or ""))
        case "again":
            return Kept(goto=page_path(language, "runs", run=desk.duplicate(job_id, request_id=asked(told))))
        case "archive" | "bring_back":
            desk.archive(job_id, archived=told.do == "archive")
        case "free" | "delete":
            return Kept(asks=told.do)
        case "free_now":
            desk.free_space(job_id)
        case "delete_all" | "delete_kept":
            desk.remove(job_id, keep_files=told.do == "delete_kept")
            return Kept(goto=page_path(language, "runs"))
    return Kept()
