"""Runs: the list of all, the queue, and one run in detail at `?run=ID` (several curves at `?runs=1,2`).

Everything shown is read from the registry, so a reload or a second window changes nothing. The buttons ask the desk.
"""

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

import gradio as gr

from app.charts import run_chart
from app.context import Context
from app.forms import value_text
from app.i18n import bytes_text, duration_text, number_text, page_path, seconds_between, when_text
from app.markup import empty_page, facts, heading, link, notice, state_chip, table
from app.pages.shell import bind, number_in, query_of, redraw_on_change
from app.reasons import reason_words, source_text
from studio.db import checkpoints, jobs
from studio.db.checkpoints import CheckpointView
from studio.db.jobs import JobView
from studio.errors import UnknownName
from studio.jobs.lifecycle import ENDED, LIVE, RESUMABLE
from studio.jobs.logs import tail
from studio.params.table import Parameter, parameters

LOG_LINES = 200
ACTIONS = ("stop", "stop_now", "pause", "resume", "save", "sooner", "remove")


def build(context: Context) -> None:
    say = context.say
    with gr.Column(visible=False, elem_id="runs-list-view") as list_column:
        gr.HTML(heading(say("runs.title"), say("runs.note")))
        search_box = gr.Textbox(
            placeholder=say("runs.search"), show_label=False, container=False, max_lines=1, elem_id="runs-search"
        )
        list_html = gr.HTML(elem_id="runs-list")
    with gr.Column(visible=False, elem_id="runs-detail-view") as detail_column:
        head_html = gr.HTML(elem_id="runs-head")
        with gr.Row(elem_classes="lu-actions"):
            buttons = [_button(context, action) for action in ACTIONS]
        with gr.Row(visible=False) as confirm_row:
            name_box = gr.Textbox(label=say("runs.remove_confirm"), elem_id="runs-remove-name", scale=3)
            confirm_button = gr.Button(say("runs.action.remove"), variant="stop", elem_id="runs-remove-confirm")
        why_html = gr.HTML(elem_id="runs-why")
        run_chart(context, elem_id="runs-chart")
        checkpoints_html = gr.HTML(elem_id="runs-checkpoints")
        with gr.Accordion(say("runs.log"), open=True, elem_id="runs-log-fold"):
            log_html = gr.HTML(elem_id="runs-log")
        with gr.Accordion(say("runs.settings"), open=False, elem_id="runs-settings-fold"):
            settings_html = gr.HTML(elem_id="runs-settings")
    outputs = [list_column, list_html, detail_column, head_html, *buttons, why_html, checkpoints_html]
    outputs += [log_html, settings_html]
    redraw_on_change(context, draw, inputs=[search_box], outputs=outputs)
    search_box.change(bind(search, context), [search_box], [list_html], show_progress="hidden")
    for action, button in zip(ACTIONS, buttons, strict=True):
        if action != "remove":
            button.click(bind(_ACT[action], context), None, outputs, show_progress="hidden")
    buttons[-1].click(lambda: gr.Row(visible=True), None, confirm_row, show_progress="hidden")
    confirm_button.click(bind(remove, context), [name_box], [why_html], show_progress="hidden").success(
        None, js=f"() => {{ location.href = '{page_path(context.language, 'runs')}' }}"
    )


def _button(context: Context, action: str) -> gr.Button:
    return gr.Button(
        context.say(f"runs.action.{action}"), visible=False, min_width=96, scale=0, elem_id=f"runs-{action}"
    )


def draw(context: Context, query: dict[str, str], text: str | None = "") -> list[Any]:
    """Everything on the page, for the run that the address names or for the list."""
    job_id = number_in(query, "run")
    if job_id is None and not query.get("runs"):
        hidden = [gr.update(visible=False) for _ in ACTIONS]
        return [
            gr.update(visible=True),
            list_html(context, text or ""),
            gr.update(visible=False),
            "",
            *hidden,
            *[""] * 4,
        ]
    return [gr.update(visible=False), "", gr.update(visible=True), *draw_detail(context, job_id)]


def draw_detail(context: Context, job_id: int | None) -> list[Any]:
    """Head, buttons, why-not, checkpoints, log and settings of one run."""
    if job_id is None:  # several curves: only the chart
        title = heading(context.say("runs.several"))
        return [back_link(context) + title, *[gr.update(visible=False) for _ in ACTIONS], *[""] * 4]
    try:
        with context.registry.session() as session:
            job = jobs.job(session, job_id)
            waiting = [each.id for each in jobs.queue(session)]
            saved = checkpoints.list_checkpoints(session, job_id)
            alerts = jobs.events(session, job_id, types=("alert",))[-5:]
            plans = jobs.events(session, job_id, types=("plan",))
    except UnknownName as error:
        gone = back_link(context) + notice(error.message(context.language), "bad")
        return [gone, *[gr.update(visible=False) for _ in ACTIONS], *[""] * 4]
    place = waiting.index(job_id) + 1 if job_id in waiting else None
    told = "".join(notice(context.say(f"alerts.{each.data['code']}", **each.data["values"]), "warn") for each in alerts)
    return [
        head_html(context, job, place) + told,
        *[
            gr.update(visible=belongs(job, action, place), interactive=refusal(job, action, place) is None)
            for action in ACTIONS
        ],
        why_html(context, job, place),
        checkpoints_html(context, saved),
        log_html(context, job),
        settings_html(context, job, plans[-1].data if plans else {}),
    ]


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
    names = ("state", "name", "data", "model", "method", "score", "time", "begun")
    headings = [context.say(f"runs.column.{name}") for name in names]
    body = table(headings, [_row(context, job, now) for job in found])
    if not found:
        body = notice(context.say("runs.none_found", text=text))
    return _queue_html(context, queued) + body


def _row(context: Context, job: JobView, now: datetime | None) -> list[str]:
    language = context.language
    name = link(page_path(language, "runs", run=job.id), f"{job.id} · {job.title}")
    method = " · ".join(part.upper() for part in (job.method, job.tuning) if part)
    time = duration_text(seconds_between(job.started_at, job.finished_at, now=now), language)
    shown = [job.dataset or "–", job.model or "–", method, score_text(context, job), time]
    return [
        state_chip(job.state, context.say),
        name,
        *[escape(text) for text in shown],
        escape(when_text(job.created_at, language)),
    ]


def score_text(context: Context, job: JobView) -> str:
    """The held-out loss if there is one, else the training loss."""
    values = job.last_metrics | job.figures
    for name in ("eval_loss", "loss", "train_loss"):
        if isinstance(values.get(name), int | float):
            return context.say(f"runs.score.{name}", value=number_text(values[name]))
    return "–"


def _queue_html(context: Context, queued: list[JobView]) -> str:
    if not queued:
        return ""
    say = context.say
    rows = [[str(place), _queued(context, job)] for place, job in enumerate(queued, start=1)]
    return table([say("runs.column.place"), say("runs.column.waits")], rows, caption=say("runs.queue"))


def _queued(context: Context, job: JobView) -> str:
    return link(page_path(context.language, "runs", run=job.id), f"{job.id} · {job.title}")


def back_link(context: Context) -> str:
    return f'<p class="lu-note">{link(page_path(context.language, "runs"), context.say("runs.back"))}</p>'


def head_html(context: Context, job: JobView, place: int | None) -> str:
    """Title, the state in one sentence, and how far it is."""
    return (
        back_link(context)
        + f'<h1 class="lu-title">{job.id} · {escape(job.title)} {state_chip(job.state, context.say)}</h1>'
        + f"<p>{escape(sentence(context, job, place))}</p>"
        + _progress_html(context, job)
        + f'<p class="lu-note">{escape(context.say("runs.may_close")) if job.state in LIVE else ""}</p>'
    )


def sentence(context: Context, job: JobView, place: int | None) -> str:
    """The state in one sentence: what it does, waits for, or how it ended."""
    say = context.say
    if job.state in LIVE and job.wish:
        return say(f"runs.wish.{job.wish}")
    if job.state in LIVE:
        return say("runs.now", phase=say(f"phases.{job.phase}") if job.phase else say("common.state.starting"))
    reason = say(f"errors.{job.reason}", **job.reason_values) if job.reason else ""
    if job.state == "queued":
        return f"{reason} {say('runs.waits', place=place or 1)}".strip()
    time = duration_text(seconds_between(job.started_at, job.finished_at), context.language)
    return f"{say(f'runs.ended.{job.state}', time=time)} {reason}".strip()


def _progress_html(context: Context, job: JobView) -> str:
    done, total = job.progress_done or 0, job.progress_total
    if not total or job.state not in LIVE | {"paused"}:
        return ""
    share = min(100.0, 100 * done / total)
    left = duration_text(job.seconds_left, context.language) if job.seconds_left is not None else None
    text = f"{int(done):,} / {int(total):,}" + (f" · {context.say('common.left', time=left)}" if left else "")
    return (
        f'<div class="lu-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share:.0f}"'
        f' aria-label="{escape(context.say("runs.progress"))}"><div style="width:{share:.1f}%"></div></div>'
        f'<p class="lu-note lu-num">{escape(text)}</p>'
    )


def belongs(job: JobView, action: str, place: int | None) -> bool:
    """Whether a button is shown: in the states where it can be meant, greyed or not."""
    if action == "remove":
        return job.state in ENDED
    if action == "resume":
        return job.state in RESUMABLE
    if action == "sooner":
        return place is not None and place > 1
    return job.state in LIVE or (action == "stop" and job.state in ("queued", "paused"))


def refusal(job: JobView, action: str, place: int | None) -> str | None:
    """Why an action is not possible now: a key below `runs.why.`; None if it is possible."""
    if action in ("stop", "stop_now"):
        if job.state in ("queued", "paused"):
            return None if action == "stop" else "not_running"
        if action == "stop_now" and job.wish in ("stop", "pause"):
            return None  # saving may take long; a person may lose patience
        return _live_refusal(job)
    if action in ("pause", "save"):
        return _live_refusal(job)
    if action == "resume":
        return None if job.state in RESUMABLE else "not_resumable"
    if action == "sooner":
        return None if place is not None and place > 1 else "not_behind"
    return "still_there" if job.state in LIVE | {"queued", "paused"} else None


def _live_refusal(job: JobView) -> str | None:
    if job.state not in LIVE:
        return "not_running"
    return "asked_already" if job.wish in ("stop", "stop_now", "pause") else None


def why_html(context: Context, job: JobView, place: int | None) -> str:
    """Below the buttons: why each greyed one is grey."""
    by_reason: dict[str, list[str]] = {}
    for action in ACTIONS:
        reason = refusal(job, action, place) if belongs(job, action, place) else None
        if reason:
            by_reason.setdefault(reason, []).append(context.say(f"runs.action.{action}"))
    lines = [
        f"{context.say('common.list_comma').join(actions)}: {context.say(f'runs.why.{reason}')}"
        for reason, actions in by_reason.items()
    ]
    return "".join(f'<p class="lu-note">{escape(line)}</p>' for line in lines)


def checkpoints_html(context: Context, saved: list[CheckpointView]) -> str:
    say, language = context.say, context.language
    title = f'<h2 class="lu-part">{escape(say("runs.checkpoints"))}</h2>'
    if not saved:
        return f'{title}<p class="lu-note">{escape(say("runs.no_checkpoints"))}</p>'
    names = ("step", "epoch", "loss", "eval_loss", "size", "saved")
    rows = [
        [
            link(page_path(language, "checkpoints", chat=each.id), f"{each.step:,}"),
            number_text(each.epoch),
            number_text(each.metrics.get("loss")),
            number_text(each.metrics.get("eval_loss")),
            bytes_text(each.size_bytes),
            escape(when_text(each.created_at, language)),
        ]
        for each in saved
    ]
    picked = ",".join(str(each.id) for each in (saved[:1] + saved[-1:] if len(saved) > 1 else saved))
    compare = link(page_path(language, "checkpoints", pick=picked), say("runs.compare"), classes="lu-button lu-second")
    return title + table([say(f"checkpoints.column.{name}") for name in names], rows) + f"<p>{compare}</p>"


def log_html(context: Context, job: JobView) -> str:
    lines = tail(context.desk.workspace.attempt(job.id, job.attempt), LOG_LINES) if job.attempt else []
    text = "\n".join(lines) or context.say("runs.no_log")
    return f'<pre class="lu-log" tabindex="0">{escape(text)}</pre>'


def settings_html(context: Context, job: JobView, plan: Mapping[str, Any]) -> str:
    """What the run was given: what a person chose first, marked; the rest below, each with why it was filled in so.

    Args:
        plan: the job's event `plan`: reasons by name, and the warnings that it was started in spite of.
    """
    known = {parameter.name: parameter for parameter in parameters(job.method)} if job.method else {}
    names = sorted(job.values, key=lambda name: (name not in job.chosen, name))
    reasons = plan.get("reasons", {})
    lines = {name: _setting(context, known.get(name), name, job.values[name], reasons.get(name)) for name in names}
    own = [*(["goal"] if job.values.get("goal") else []), *(name for name in names if name in job.chosen)]
    chosen = [lines[name] for name in own]
    rest = [lines[name] for name in names if name not in own and name != "goal"]
    mine = f'<h2 class="lu-part">{escape(context.say("runs.chosen"))}</h2><div class="lu-changed">{facts(chosen)}</div>'
    filled = f'<h2 class="lu-part">{escape(context.say("runs.filled"))}</h2>{facts(rest)}'
    return _overridden(context, plan) + (mine if chosen else "") + filled


def _overridden(context: Context, plan: Mapping[str, Any]) -> str:
    """The warnings that stood when the run was started, by why they matter."""
    codes = plan.get("overridden", ())
    lines = "".join(f"<li>{escape(context.say(f'preflight.why.{code}'))}</li>" for code in codes)
    return f"<p>▲ {escape(context.say('preflight.overridden'))}</p><ul>{lines}</ul>" if lines else ""


def _setting(
    context: Context, parameter: Parameter | None, name: str, value: object, why: Mapping[str, Any] | None
) -> tuple[str, str]:
    """Label and value in words, with the reason; the name itself where the method has no such parameter any more."""
    if parameter is None:
        return name, escape("–" if value is None else str(value))
    told = ""
    if why:
        source = source_text(context, why["source"] or parameter.source)
        words = [reason_words(context, why["reason"], why["values"]), context.say("train.source", source=source)]
        told = f'<br><span class="lu-note">{escape(" · ".join(words))}</span>'
    return parameter.label(context.language), escape(value_text(parameter, value, context)) + told


def _act(context: Context, request: gr.Request, action: str) -> list[Any]:
    """Carry out a button's action on the run of the address, and show how it stands then."""
    job_id = number_in(query_of(request), "run")
    if job_id is None:
        raise UnknownName("job.unknown", job="–")
    act(context, job_id, action)
    return draw(context, query_of(request))


def act(context: Context, job_id: int, action: str) -> None:
    """One button's verb."""
    desk = context.desk
    if action in ("stop", "stop_now"):
        desk.stop(job_id, now=action == "stop_now")
    elif action == "pause":
        desk.pause(job_id)
    elif action == "resume":
        desk.resume(job_id)
    elif action == "save":
        desk.save_now(job_id)
    else:
        with context.registry.session() as session:
            waiting = [job.id for job in jobs.queue(session)]
        if job_id in waiting:
            desk.move(job_id, waiting.index(job_id))  # one place nearer: counted from 1


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
