"""Runs: the queue, the list of all, and one run in detail at `?run=ID` (several curves at `?runs=1,2`).

`?run=ID&on=CHECKPOINT` comes with that one chosen to go on from. `?tag=`, `?state=`, `?model=`, `?dataset=` and
`?archived=1` narrow the list. Everything shown is read from the registry, so a reload or a second window changes
nothing. The buttons ask the desk.
"""

import json
from typing import Any

import gradio as gr

from app import runs_beside
from app.charts import run_chart
from app.context import Context
from app.data.panel import answered, panel, told
from app.markup import heading, notice
from app.pages.shell import bind, number_in, query_of, redraw_on_change
from app.pipelines import listed
from app.rewards.words import alert_values
from app.run_actions import ACTIONS, act, belongs, label, refusal, why_html
from app.run_view import back_link, checkpoints_html, head_html, log_html, settings_html
from app.runs import (
    alarms,
    first_batch,
    going_on,
    keeping,
    listing,
    mending,
    queue_view,
    reward_scores,
    rollouts,
    scores,
)
from studio.db import checkpoints, jobs
from studio.errors import UnknownName

_GO = "(address) => { if (address) window.location.href = address; }"


def build(context: Context) -> None:
    say = context.say
    with gr.Column(visible=False, elem_id="runs-list-view") as list_column:
        gr.HTML(heading(say("runs.title"), say("runs.note")))
        queue_box = panel("runs-queue")
        search_box = gr.Textbox(
            placeholder=say("runs.search"), show_label=False, container=False, max_lines=1, elem_id="runs-search"
        )
        bar_box, list_box = panel("runs-bar"), panel("runs-list")
    with gr.Column(visible=False, elem_id="runs-detail-view") as detail_column:
        head_box = gr.HTML(elem_id="runs-head")
        cause_box = panel("runs-cause")
        with gr.Row(elem_classes="lu-actions"):
            buttons = [_button(context, action) for action in ACTIONS]
        why_box = gr.HTML(elem_id="runs-why")
        alarms_box = panel("runs-alarms")
        keep_box = panel("runs-keep")
        run_chart(context, elem_id="runs-chart")
        answers_box = panel("runs-answers")
        checkpoints_box = gr.HTML(elem_id="runs-checkpoints")
        further_box = panel("runs-further")
        with gr.Accordion(say("runs.log"), open=True, elem_id="runs-log-fold") as log_fold:
            log_box = gr.HTML(elem_id="runs-log")
        with gr.Accordion(say("runs.settings"), open=False, elem_id="runs-settings-fold") as settings_fold:
            settings_box = gr.HTML(elem_id="runs-settings")
    state, asks, target, step = (
        gr.Textbox("", visible=False, elem_id=f"runs-{name}") for name in ("state", "asks", "target", "step")
    )
    listed = [queue_box, bar_box, list_box, state]
    detailed = [head_box, cause_box, *buttons, why_box, alarms_box, keep_box, answers_box, checkpoints_box, further_box]
    detailed += [log_fold, settings_fold, log_box, settings_box]
    outputs = [list_column, *listed, detail_column, *detailed]
    given, quiet = [search_box, state, asks, step], {"show_progress": "hidden"}
    redraw_on_change(context, draw, inputs=given, outputs=outputs)
    search_box.change(bind(search, context), [search_box, state], [list_box, state], **quiet)
    queue_box.select(bind(press_queue, context), given, listed, **quiet)
    for box in (bar_box, list_box):
        box.select(bind(press_list, context), given, listed, **quiet)
    for action, button in zip(ACTIONS, buttons, strict=True):
        button.click(bind(_ACT[action], context), given, outputs, **quiet)
    keep_box.select(bind(press_keep, context), None, [keep_box, asks, target], **quiet).success(None, [target], js=_GO)
    answers_box.select(bind(press_answers, context), [step], [answers_box, step], **quiet)
    for box, press in ((further_box, press_further), (cause_box, press_cause), (alarms_box, press_alarms)):
        box.select(bind(press, context), None, [box, target], **quiet).success(None, [target], js=_GO)


def _button(context: Context, action: str) -> gr.Button:
    return gr.Button(
        context.say(f"runs.action.{action}"), visible=False, min_width=96, scale=0, elem_id=f"runs-{action}"
    )


# -- what is shown ---------------------------------------------------------------------------------------------------


def draw(
    context: Context,
    query: dict[str, str],
    text: str | None = "",
    state: str | None = "",
    asks: str | None = "",
    step: str | None = "",
) -> list[Any]:
    """Everything on the page, for the runs that the address names or for the list."""
    if query.get("runs"):
        shown = draw_several(context, runs_beside.numbers_in(query["runs"]))
    elif (job_id := number_in(query, "run")) is not None:
        shown = draw_detail(context, job_id, asks or "", chosen=number_in(query, "on"), step=step or "")
    else:
        known = json.loads(state) if state else listing.from_query(query)
        return [gr.update(visible=True), *draw_list(context, known, text), gr.update(visible=False), *_detail("")]
    return [gr.update(visible=False), "", "", "", "", gr.update(visible=True), *shown]


def draw_list(context: Context, state: listing.State, text: str | None) -> list[str]:
    """Queue, filters, table, and the state as JSON."""
    return [
        queue_view.draw(context) + listed.draw(context),
        listing.bar(context, state),
        listing.draw(context, state, text or ""),
        json.dumps(state),
    ]


def draw_detail(
    context: Context, job_id: int, asks: str = "", *, chosen: int | None = None, step: str = ""
) -> list[Any]:
    """Head, what would help, buttons, why-not, alarms, what is kept, answers, checkpoints, going on, log and settings.

    Args:
        chosen: the checkpoint to go on from.
        step: the one whose answers are shown; empty: the newest.
    """
    try:
        with context.registry.session() as session:
            job = jobs.job(session, job_id)
            saved = checkpoints.list_checkpoints(session, job_id)
            alerts = jobs.events(session, job_id, types=("alert",))[-5:]
            plans = jobs.events(session, job_id, types=("plan",))
    except UnknownName as error:
        return _detail(back_link(context) + notice(error.message(context.language), "bad"))
    place, wait = queue_view.state_of(context, job_id) if job.state == "queued" else (None, None)
    waits = queue_view.wait_text(context, wait) if wait else ""
    said = "".join(
        notice(context.say(f"alerts.{each.data['code']}", **alert_values(context, each.data)), "warn")
        for each in alerts
    )
    buttons = [
        gr.update(
            value=label(context, job, action), visible=belongs(job, action), interactive=refusal(job, action) is None
        )
        for action in ACTIONS
    ]
    return [
        head_html(context, job, place, waits) + said,
        mending.draw(context, job_id),
        *buttons,
        why_html(context, job),
        alarms.draw(context, job_id),
        keeping.draw(context, job_id, asks),
        rollouts.draw(context, job_id, step) or first_batch.draw(context, job_id),
        checkpoints_html(context, saved, job) + scores.draw(context, job_id) + reward_scores.draw(context, job_id),
        going_on.draw(context, job_id, chosen),
        *[gr.update(visible=True)] * 2,
        log_html(context, job),
        settings_html(context, job, plans[-1].data if plans else {}),
    ]


def draw_several(context: Context, numbers: list[int]) -> list[Any]:
    """Several runs: who they are, and below their curves what was set differently."""
    with context.registry.session() as session:
        shown = jobs.by_numbers(session, numbers)
        newest = jobs.list_jobs(session, kinds=("train",), limit=runs_beside.MAX_OFFERED + len(shown))
    others = [job for job in newest if job.id not in numbers]
    return _detail(runs_beside.head_html(context, shown), below=runs_beside.below_html(context, shown, others))


def _detail(head: str, *, below: str = "") -> list[Any]:
    """The detail view where it is not about one run: no buttons, no log, no settings."""
    hidden = gr.update(visible=False)
    return [head, "", *[hidden for _ in ACTIONS], "", "", "", "", below, "", hidden, hidden, "", ""]


# -- handlers --------------------------------------------------------------------------------------------------------


def search(context: Context, text: str, state: str) -> list[str]:
    """What is typed is looked for at once, from the first page on."""
    known = {name: value for name, value in _read(state).items() if name != "start"}
    return [listing.draw(context, known, text), json.dumps(known)]


def press_queue(context: Context, event: gr.EventData, text: str, state: str, asks: str, step: str) -> list[str]:
    """Something in the queue was pressed or chosen."""
    said = told(event)
    if not listed.press(context, said):
        queue_view.press(context, said)
    queue, *rest = draw_list(context, _read(state), text)
    return [answered(queue), *rest]


def press_list(context: Context, event: gr.EventData, text: str, state: str, asks: str, step: str) -> list[str]:
    """A filter was chosen, runs were ticked, or something was done with them."""
    known, why = listing.press(context, _read(state), told(event))
    if why:
        gr.Warning(why, title=context.say("common.notice"), duration=15)
    queue, bar, listed, kept = draw_list(context, known, text)
    return [queue, answered(bar), answered(listed), kept]


def press_keep(context: Context, request: gr.Request, event: gr.EventData) -> list[str]:
    """Something in the part of name, tags, note and files was pressed."""
    job_id = _named(request)
    kept = keeping.press(context, job_id, told(event))
    return [answered(keeping.draw(context, job_id, kept.asks)), kept.asks, kept.goto]


def press_further(context: Context, request: gr.Request, event: gr.EventData) -> list[str]:
    """Something in the part about going on was pressed."""
    job_id = _named(request)
    goto = going_on.press(context, job_id, told(event))
    return [answered(going_on.draw(context, job_id, number_in(query_of(request), "on"))), goto]


def press_cause(context: Context, request: gr.Request, event: gr.EventData) -> list[str]:
    """What would help a failed run was pressed."""
    job_id = _named(request)
    goto = mending.press(context, job_id, told(event))
    return [answered(mending.draw(context, job_id)), goto]


def press_alarms(context: Context, request: gr.Request, event: gr.EventData) -> list[str]:
    """What would help against an alarm was pressed."""
    job_id = _named(request)
    goto = alarms.press(context, job_id, told(event))
    return [answered(alarms.draw(context, job_id)), goto]


def press_answers(context: Context, request: gr.Request, event: gr.EventData, step: str) -> list[str]:
    """Another step of the answers was chosen."""
    job_id = _named(request)
    chosen = rollouts.press(context, job_id, told(event), step)
    return [answered(rollouts.draw(context, job_id, chosen)), chosen]


def _act(context: Context, request: gr.Request, action: str, *given: str) -> list[Any]:
    """Carry out a button's action on the run of the address, and show how it stands then."""
    act(context, _named(request), action)
    return draw(context, query_of(request), *given)


def _named(request: gr.Request) -> int:
    job_id = number_in(query_of(request), "run")
    if job_id is None:
        raise UnknownName("job.unknown", job="–")
    return job_id


def _read(state: str | None) -> listing.State:
    return json.loads(state) if state else {}


def _action(name: str):
    def acting(context: Context, request: gr.Request, text: str, state: str, asks: str, step: str) -> list[Any]:
        return _act(context, request, name, text, state, asks, step)

    return acting


_ACT = {action: _action(action) for action in ACTIONS}
