"""Runs: the list of all, the queue, and one run in detail at `?run=ID` (several curves at `?runs=1,2`).

Everything shown is read from the registry, so a reload or a second window changes nothing. The buttons ask the desk.
"""

from datetime import datetime
from typing import Any

import gradio as gr

from app import runs_beside
from app.charts import run_chart
from app.context import Context
from app.i18n import page_path
from app.markup import empty_page, heading, link, notice, table
from app.pages.shell import bind, number_in, query_of, redraw_on_change
from app.run_actions import ACTIONS, act, belongs, refusal, why_html
from app.run_view import back_link, checkpoints_html, head_html, log_html, run_cells, run_columns, settings_html
from studio.db import checkpoints, jobs
from studio.db.jobs import JobView
from studio.errors import UnknownName


def build(context: Context) -> None:
    say = context.say
    with gr.Column(visible=False, elem_id="runs-list-view") as list_column:
        gr.HTML(heading(say("runs.title"), say("runs.note")))
        search_box = gr.Textbox(
            placeholder=say("runs.search"), show_label=False, container=False, max_lines=1, elem_id="runs-search"
        )
        list_box = gr.HTML(elem_id="runs-list")
    with gr.Column(visible=False, elem_id="runs-detail-view") as detail_column:
        head_box = gr.HTML(elem_id="runs-head")
        with gr.Row(elem_classes="lu-actions"):
            buttons = [_button(context, action) for action in ACTIONS]
        with gr.Row(visible=False) as confirm_row:
            name_box = gr.Textbox(label=say("runs.remove_confirm"), elem_id="runs-remove-name", scale=3)
            confirm_button = gr.Button(say("runs.action.remove"), variant="stop", elem_id="runs-remove-confirm")
        why_box = gr.HTML(elem_id="runs-why")
        run_chart(context, elem_id="runs-chart")
        checkpoints_box = gr.HTML(elem_id="runs-checkpoints")
        with gr.Accordion(say("runs.log"), open=True, elem_id="runs-log-fold") as log_fold:
            log_box = gr.HTML(elem_id="runs-log")
        with gr.Accordion(say("runs.settings"), open=False, elem_id="runs-settings-fold") as settings_fold:
            settings_box = gr.HTML(elem_id="runs-settings")
    outputs = [list_column, list_box, detail_column, head_box, *buttons, why_box, checkpoints_box]
    outputs += [log_fold, settings_fold, log_box, settings_box]
    redraw_on_change(context, draw, inputs=[search_box], outputs=outputs)
    search_box.change(bind(search, context), [search_box], [list_box], show_progress="hidden")
    for action, button in zip(ACTIONS, buttons, strict=True):
        if action != "remove":
            button.click(bind(_ACT[action], context), None, outputs, show_progress="hidden")
    buttons[-1].click(lambda: gr.Row(visible=True), None, confirm_row, show_progress="hidden")
    confirm_button.click(bind(remove, context), [name_box], [why_box], show_progress="hidden").success(
        None, js=f"() => {{ location.href = '{page_path(context.language, 'runs')}' }}"
    )


def _button(context: Context, action: str) -> gr.Button:
    return gr.Button(
        context.say(f"runs.action.{action}"), visible=False, min_width=96, scale=0, elem_id=f"runs-{action}"
    )


def draw(context: Context, query: dict[str, str], text: str | None = "") -> list[Any]:
    """Everything on the page, for the runs that the address names or for the list."""
    if query.get("runs"):
        shown = draw_several(context, runs_beside.numbers_in(query["runs"]))
    elif (job_id := number_in(query, "run")) is not None:
        shown = draw_detail(context, job_id)
    else:
        listed = [gr.update(visible=True), list_html(context, text or ""), gr.update(visible=False)]
        return [*listed, *_detail("", below="")]
    return [gr.update(visible=False), "", gr.update(visible=True), *shown]


def draw_detail(context: Context, job_id: int) -> list[Any]:
    """Head, buttons, why-not, checkpoints, log and settings of one run."""
    try:
        with context.registry.session() as session:
            job = jobs.job(session, job_id)
            waiting = [each.id for each in jobs.queue(session)]
            saved = checkpoints.list_checkpoints(session, job_id)
            alerts = jobs.events(session, job_id, types=("alert",))[-5:]
            plans = jobs.events(session, job_id, types=("plan",))
    except UnknownName as error:
        return _detail(back_link(context) + notice(error.message(context.language), "bad"), below="")
    place = waiting.index(job_id) + 1 if job_id in waiting else None
    told = "".join(notice(context.say(f"alerts.{each.data['code']}", **each.data["values"]), "warn") for each in alerts)
    buttons = [
        gr.update(visible=belongs(job, action, place), interactive=refusal(job, action, place) is None)
        for action in ACTIONS
    ]
    return [
        head_html(context, job, place) + told,
        *buttons,
        why_html(context, job, place),
        checkpoints_html(context, saved),
        *[gr.update(visible=True)] * 2,
        log_html(context, job),
        settings_html(context, job, plans[-1].data if plans else {}),
    ]


def draw_several(context: Context, numbers: list[int]) -> list[Any]:
    """Several runs: who they are, and below their curves what was set differently."""
    with context.registry.session() as session:
        known = {job.id: job for job in jobs.list_jobs(session, kinds=("train",))}
    shown = [known.pop(number) for number in numbers if number in known]
    return _detail(runs_beside.head_html(context, shown), below=runs_beside.below_html(context, shown, known.values()))


def _detail(head: str, *, below: str) -> list[Any]:
    """The detail view where it is not about one run: no buttons, no log, no settings."""
    hidden = gr.update(visible=False)
    return [head, *[hidden for _ in ACTIONS], "", below, hidden, hidden, "", ""]


def search(context: Context, text: str) -> str:
    return list_html(context, text)


def list_html(context: Context, text: str = "", *, now: datetime | None = None) -> str:
    """The queue, and the table of all runs."""
    with context.registry.session() as session:
        found = jobs.list_jobs(session, kinds=("train",), search=text.strip())
        queued = [job for job in jobs.queue(session) if job.kind == "train"]
    if not found and not text.strip():
        start = link(page_path(context.language, "train"), context.say("runs.start"), classes="lu-button")
        return empty_page(context.say("runs.empty"), start)
    body = table(run_columns(context), [run_cells(context, job, now=now) for job in found])
    if not found:
        body = notice(context.say("runs.none_found", text=text))
    return _queue_html(context, queued) + body


def _queue_html(context: Context, queued: list[JobView]) -> str:
    if not queued:
        return ""
    say = context.say
    rows = [[str(place), _queued(context, job)] for place, job in enumerate(queued, start=1)]
    return table([say("runs.column.place"), say("runs.column.waits")], rows, caption=say("runs.queue"))


def _queued(context: Context, job: JobView) -> str:
    return link(page_path(context.language, "runs", run=job.id), f"{job.id} · {job.title}")


def _act(context: Context, request: gr.Request, action: str) -> list[Any]:
    """Carry out a button's action on the run of the address, and show how it stands then."""
    job_id = number_in(query_of(request), "run")
    if job_id is None:
        raise UnknownName("job.unknown", job="–")
    act(context, job_id, action)
    return draw(context, query_of(request))


def remove(context: Context, request: gr.Request, name: str) -> str:
    """Delete an ended run with its files, once its number was typed."""
    job_id = number_in(query_of(request), "run")
    if job_id is None or name.strip() != str(job_id):
        raise gr.Error(
            context.say("runs.remove_mismatch", job=job_id or "–"),
            title=context.say("common.notice"),
            print_exception=False,
        )
    context.desk.remove(job_id)
    return ""


def _action(name: str):
    def acting(context: Context, request: gr.Request) -> list[Any]:
        return _act(context, request, name)

    return acting


_ACT = {action: _action(action) for action in ACTIONS if action != "remove"}
