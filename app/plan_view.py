"""HTML of the train page's right side: what a run will take, and what to know before it starts."""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from app.context import Context
from app.findings_view import checks_html
from app.i18n import bytes_text, duration_text
from app.markup import facts, notice
from studio.db.jobs import JobView

if TYPE_CHECKING:
    from app.training_form import Plan
    from studio.advisor.forecast import Forecast

PLAN_SCRIPT = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button) trigger('select', { do: button.dataset.do, code: button.dataset.code || '' });
});
"""
"""The plan's buttons: `do` is mend (with a finding's `code`), look, fit, unfit, measure or unmeasure."""


def plan_html(
    context: Context, plan: "Plan", faults: Sequence[str] = (), *, memory: str, changed: Collection[str] = ()
) -> str:
    """What a run takes and what to know of it.

    Args:
        memory: HTML of `memory_view`; empty where it is not known.
        changed: the fields that going back could mend.
    """
    told = "".join(notice(f"✕ {sentence}", "bad") for sentence in faults)
    return (
        (_title(context, "memory") + memory if memory else "")
        + _title(context, "work")
        + work_html(context, plan.forecast)
        + _title(context, "checks")
        + told
        + checks_html(context, plan, changed=changed, is_clean=not faults)
    )


def work_html(context: Context, forecast: "Forecast") -> str:
    """Steps, about how long, what it leaves on the disk."""
    say = context.say
    time, disk = say("train.plan.unknown"), say("train.plan.unknown")
    if forecast.seconds is not None:
        time = say("train.plan.about", value=duration_text(forecast.seconds, context.language))
    if forecast.disk_bytes is not None:
        size = bytes_text(forecast.disk_bytes)
        disk = say("train.plan.disk_value", size=size, count=forecast.num_checkpoints)
    steps = f"{forecast.steps:,}" if forecast.steps is not None else say("train.plan.unknown")
    shown = {"steps": steps, "time": time, "disk": disk}
    return facts(
        (say(f"train.plan.{name}"), f'<span class="lu-num">{escape(text)}</span>') for name, text in shown.items()
    )


def samples_html(context: Context, samples: Sequence[Sequence[Sequence[Any]]]) -> str:
    """The first rows as the model will read them; what it is not taught stands grey."""
    rows = "".join(map(segments_html, samples))
    return f'<p class="lu-note">{escape(context.say("train.samples_note"))}</p>{rows}'


def segments_html(row: Sequence[Sequence[Any]]) -> str:
    """One row in pieces, each with whether the model is taught to write it."""
    return f'<div class="lu-sample">{"".join(_segment(text, is_trained) for text, is_trained in row)}</div>'


def looking_html(context: Context, job: JobView | None) -> str:
    """That the model and the data are being looked at, how far it is, or why that failed."""
    say = context.say
    if job is not None and job.state in ("failed", "lost", "stopped", "cancelled"):
        reason = say(f"errors.{job.reason}", **job.reason_values) if job.reason else ""
        again = f'<button type="button" class="lu-link" data-do="look">{escape(say("train.look_again"))}</button>'
        return notice(f"{say('train.look_failed')} {reason}".strip(), "bad") + f"<p>{again}</p>"
    begins = say("train.look_waits" if job and job.state == "queued" else "train.look_starts")
    phase = say(f"phases.{job.phase}") if job and job.phase else begins
    return (
        f'<div class="lu-looking" role="status"><p><b>{escape(say("train.looking"))}</b></p>'
        f'{_progress(context, job)}<p class="lu-note">{escape(phase)} · {escape(say("train.look_note"))}</p></div>'
    )


def _progress(context: Context, job: JobView | None) -> str:
    if job is None or not job.progress_total:
        return '<div class="lu-progress lu-unknown"><div></div></div>'
    share = min(100.0, 100 * (job.progress_done or 0) / job.progress_total)
    return (
        f'<div class="lu-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share:.0f}"'
        f' aria-label="{escape(context.say("train.looking"))}"><div style="width:{share:.1f}%"></div></div>'
    )


def _title(context: Context, name: str) -> str:
    return f'<h3 class="lu-plan-part">{escape(context.say(f"train.plan.{name}"))}</h3>'


def _segment(text: str, is_trained: bool) -> str:
    return f'<span class="lu-{"trained" if is_trained else "untrained"}">{escape(text)}</span>'


def data_note(context: Context, version: Any | None, tokens: Mapping[str, Any] | None) -> str:
    """What the chosen data set holds, below its drop-down."""
    if version is None:
        return ""
    parts = [context.say("train.data_rows", count=version.rows)]
    if version.problems:
        parts.append(context.say("train.data_problems", count=version.problems))
    if tokens:
        lengths = tokens["lengths"]
        parts.append(context.say("train.data_lengths", half=lengths["p50"], longest=lengths["max"]))
    return f'<p class="lu-note">{escape(" · ".join(parts))}</p>'
