"""The queue above the list of runs: who waits for what, in which order, and when waiting runs may start at all.

`draw(context) -> HTML` of a panel, `press(context, told)` carries out what was pressed in it.
"""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import page_path, when_text
from app.markup import link, notice, table
from app.runs.waiting_words import wait_words
from studio.db import jobs
from studio.db import queue as queue_rules
from studio.db.jobs import Waiting
from studio.db.queue import QueueRules
from studio.db.runs import TRAINING
from studio.jobs import queueing
from studio.jobs.queueing import Wait
from studio.protocol import utc_now

USUAL_TIME = "22:00"
"""What "after a time of day" begins with."""
MOST_SHOWN = 40


def draw(context: Context) -> str:
    """What waits, and the rules; with nothing waiting the rules alone, folded."""
    devices = context.desk.devices
    with context.registry.session() as session:
        rules = queue_rules.rules(session)
        waiting = [each for each in jobs.waiting(session) if each.kind == TRAINING]
        waits = queueing.look(session, devices).waits if waiting else {}
    ruled = _rules(context, rules)
    title = context.say("queue.rules")
    if not waiting:
        is_unusual = rules.holds(utc_now())
        return _held(context, rules) + controls.fold(title, ruled, key="queue-rules", is_open=is_unusual)
    rows = [_row(context, waiting, place, waits, devices) for place in range(len(waiting[:MOST_SHOWN]))]
    listed = table(_columns(context, devices), rows)
    head = f'<h2 class="lu-part">{escape(context.say("queue.title", count=len(waiting)))}</h2>'
    more = _more(context, waiting)
    fold = controls.fold(title, ruled, key="queue-rules")
    return head + _held(context, rules) + listed + more + fold


def press(context: Context, told: Told) -> None:
    """Move, cancel, choose a device, or change the rules."""
    desk, run = context.desk, told.number("run")
    match told.do:
        case "up" | "down" if run is not None:
            _shift(context, run, -1 if told.do == "up" else 1)
        case "first" if run is not None:
            desk.move(run, 1)
        case "cancel" if run is not None:
            desk.stop(run)
        case "cancel_all":
            desk.cancel_waiting()
        case "device" if run is not None:
            desk.set_device(run, told.text("device") or None)
        case "release":
            desk.rule_queue(start="now")
        case "start":
            chosen = told.text("start")
            desk.rule_queue(start=USUAL_TIME if chosen == "at" else chosen)
        case "clock" if told.text("clock"):
            desk.rule_queue(start=told.text("clock"))
        case "failure":
            desk.rule_queue(holds_after_failure=bool(told.fields.get("failure")))


def _shift(context: Context, run: int, by: int) -> None:
    """Swap a run with the run before or behind it; jobs of other kinds between them do not count."""
    with context.registry.session() as session:
        order = jobs.waiting(session)
    among = [each.id for each in order if each.kind == TRAINING]
    if run not in among or not 0 <= among.index(run) + by < len(among):
        return
    other = among[among.index(run) + by]
    context.desk.move(run, [each.id for each in order].index(other) + 1)


def wait_text(context: Context, wait: Wait) -> str:
    """Why a job does not run yet, in a sentence."""
    return wait_words(wait, context.language)


def device_text(context: Context, device: str) -> str:
    """`cuda:1` as people count: "GPU 1"."""
    return f"GPU {device.removeprefix('cuda:')}" if device.startswith("cuda:") else context.say("queue.cpu")


def device_choices(context: Context) -> list[tuple[str, str]]:
    """(words, value) of every device, any first."""
    each = [(device_text(context, name), name) for name in context.desk.devices]
    return [(context.say("queue.any_device"), ""), *each]


def _columns(context: Context, devices: Sequence[str]) -> list[str]:
    names = ["place", "run", "waits", *(["device"] if len(devices) > 1 else []), "order"]
    return [context.say(f"queue.column.{name}") for name in names]


def _row(
    context: Context, waiting: Sequence[Waiting], place: int, waits: dict[int, Wait], devices: Sequence[str]
) -> list[str]:
    say, job = context.say, waiting[place]
    name = link(page_path(context.language, "runs", run=job.id), f"{job.id} · {job.title}")
    told = wait_text(context, waits[job.id]) if job.id in waits else ""
    cells = [f'<span class="lu-num">{place + 1}</span>', name, escape(told)]
    if len(devices) > 1:
        chosen = controls.select(
            "device",
            say("queue.column.device"),
            device_choices(context),
            job.wanted_device or "",
            change="device",
            hides_label=True,
        )
        cells.append(controls.form(chosen, run=job.id))
    moves = [
        controls.button("up", say("queue.up"), kind="link", run=job.id) if place else "",
        controls.button("down", say("queue.down"), kind="link", run=job.id) if place < len(waiting) - 1 else "",
        controls.button("first", say("queue.first"), kind="link", run=job.id) if place > 1 else "",
        controls.button("cancel", say("queue.cancel"), kind="link", run=job.id),
    ]
    return [*cells, f'<span class="lu-acts">{"".join(moves)}</span>']


def _more(context: Context, waiting: Sequence[Waiting]) -> str:
    rest = len(waiting) - MOST_SHOWN
    told = f'<p class="lu-note">{escape(context.say("queue.more", count=rest))}</p>' if rest > 0 else ""
    everything = context.say("queue.cancel_all", count=len(waiting))
    return told + (controls.buttons(controls.button("cancel_all", everything, kind="link")) if len(waiting) > 1 else "")


def _held(context: Context, rules: QueueRules) -> str:
    """That the queue is held, why, and the button that lets it go."""
    say = context.say
    if not rules.holds(utc_now()):
        return ""
    if rules.failed_run is not None:
        words = say("queue.held.failure", run=rules.failed_run)
    elif rules.is_held:
        words = say("queue.held.by_hand")
    else:
        words = say("queue.held.until", time=when_text(rules.not_before, context.language))
    release = controls.button("release", say("queue.release"), kind="primary")
    return notice(words, "warn") + controls.buttons(release)


def _rules(context: Context, rules: QueueRules) -> str:
    """When waiting runs start, and what a failure does."""
    say = context.say
    is_timed = not rules.is_held and rules.holds(utc_now())
    start = "at" if is_timed else "by_hand" if rules.is_held else "now"
    choices = [(say(f"queue.start.{name}"), name) for name in ("now", "at", "by_hand")]
    parts = [controls.select("start", say("queue.start.label"), choices, start, change="start")]
    if is_timed:
        clock = datetime.fromisoformat(str(rules.not_before)).astimezone()
        note = say("queue.clock_note", time=f"{datetime.now().astimezone():%H:%M}")
        parts.append(
            controls.text("clock", say("queue.clock"), f"{clock:%H:%M}", note=note, change="clock", kind="time")
        )
    failure = controls.checkbox(
        "failure",
        say("queue.failure"),
        rules.holds_after_failure,
        note=say("queue.failure_note"),
        change="failure",
    )
    return controls.form(*parts, failure, classes="lu-queue-rules")


def state_of(context: Context, job_id: int) -> tuple[int | None, Any]:
    """A waiting run's place among the runs that wait, and what it waits for; (None, None) where it does not wait."""
    with context.registry.session() as session:
        waiting = [each.id for each in jobs.waiting(session) if each.kind == TRAINING]
        if job_id not in waiting:
            return None, None
        return waiting.index(job_id) + 1, queueing.look(session, context.desk.devices).waits.get(job_id)
