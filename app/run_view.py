"""One run as a person reads it: state and progress, checkpoints, log, settings with their reasons."""

import shutil
from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

from app.context import Context
from app.forms import value_text
from app.i18n import bytes_text, duration_text, number_text, page_path, seconds_between, when_text
from app.markup import facts, link, state_chip, table
from app.reasons import reason_words, source_text
from app.rewards import offered
from app.runs.reason_values import reason_values
from studio.advisor.forecast import disk_as_it_goes
from studio.db.checkpoints import CheckpointView
from studio.db.jobs import JobView
from studio.jobs.lifecycle import LIVE
from studio.jobs.logs import tail
from studio.params.table import Parameter, parameters
from studio.tokens import masked

LOG_LINES = 200


def run_columns(context: Context) -> list[str]:
    """Headings of `run_cells`."""
    names = ("state", "name", "data", "model", "method", "score", "time", "begun")
    return [context.say(f"runs.column.{name}") for name in names]


def run_cells(context: Context, job: JobView, *, now: datetime | None = None) -> list[str]:
    """A run as a row of a table: cells of HTML."""
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


def back_link(context: Context) -> str:
    return f'<p class="lu-note">{link(page_path(context.language, "runs"), context.say("runs.back"))}</p>'


def head_html(context: Context, job: JobView, place: int | None, waits: str = "") -> str:
    """Title, the state in one sentence, and how far it is; `waits` says what a waiting run waits for."""
    return (
        back_link(context)
        + f'<h1 class="lu-title">{job.id} · {escape(job.title)} {state_chip(job.state, context.say)}</h1>'
        + f"<p>{escape(f'{sentence(context, job, place)} {waits}'.strip())}</p>"
        + _progress_html(context, job)
        + f'<p class="lu-note">{escape(context.say("runs.may_close")) if job.state in LIVE else ""}</p>'
        + f'<p class="lu-note">{link(page_path(context.language, "runs", runs=job.id), context.say("runs.beside"))}</p>'
    )


def sentence(context: Context, job: JobView, place: int | None) -> str:
    """The state in one sentence: what it does, waits for, or how it ended."""
    say = context.say
    if job.state in LIVE and job.wish:
        return say(f"runs.wish.{job.wish}")
    if job.state in LIVE:
        return say("runs.now", phase=say(f"phases.{job.phase}") if job.phase else say("common.state.starting"))
    reason = say(f"errors.{job.reason}", **reason_values(context, job)) if job.reason else ""
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


def checkpoints_html(context: Context, saved: list[CheckpointView], job: JobView | None = None) -> str:
    """
    Args:
        job: a run that goes on: then what its checkpoints will take in the end is told, from those that are there.
    """
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
    listed = table([say(f"checkpoints.column.{name}") for name in names], rows)
    return title + listed + _disk_html(context, saved, job) + f"<p>{compare}</p>"


def _disk_html(context: Context, saved: list[CheckpointView], job: JobView | None) -> str:
    if job is None or job.state not in LIVE | {"paused"} or "save_steps" not in job.values:
        return ""
    sizes = [each.size_bytes for each in saved]
    found = disk_as_it_goes(job.values, steps=int(job.progress_total or 0), sizes=sizes)
    if found is None or found[0] <= len(saved):
        return ""
    free = shutil.disk_usage(context.desk.workspace.root).free
    told = context.say("runs.disk_left", number=found[0], size=bytes_text(found[1]), free=bytes_text(free))
    return f'<p class="lu-note lu-num">{escape(told)}</p>'


def log_html(context: Context, job: JobView) -> str:
    lines = tail(context.desk.workspace.attempt(job.id, job.attempt), LOG_LINES) if job.attempt else []
    text = masked(context.desk.workspace, "\n".join(lines)) or context.say("runs.no_log")
    return f'<pre class="lu-log lu-tail" tabindex="0"><span>{escape(text)}</span></pre>'


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
    return (
        offered.run_html(context, plan.get("reward")) + _overridden(context, plan) + (mine if chosen else "") + filled
    )


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
