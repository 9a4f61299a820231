"""HTML of the train page's right side: what a run will take, and what to know before it starts."""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from app.context import Context
from app.findings_view import checks_html
from app.i18n import bytes_text, duration_text
from app.markup import chip, facts, notice
from studio.db.jobs import JobView

if TYPE_CHECKING:
    from app.training_form import Plan
    from studio.advisor.forecast import Forecast
    from studio.memory.estimate import Estimate

_TONES = {"fits": "good", "tight": "warn", "too_large": "bad"}
_ICONS = {"fits": "✓", "tight": "▲", "too_large": "✕"}
PLAN_SCRIPT = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button) trigger('select', { do: button.dataset.do, code: button.dataset.code || '' });
});
"""
"""The plan's buttons: `do` is mend (with a finding's `code`) or look."""


def plan_html(context: Context, plan: "Plan", faults: Sequence[str] = (), *, changed: Collection[str] = ()) -> str:
    """What a run takes and what to know of it; `changed` are the fields that going back could mend."""
    told = "".join(notice(f"✕ {sentence}", "bad") for sentence in faults)
    memory = plan.forecast.memory
    return (
        (_title(context, "memory") + memory_html(context, memory) if memory else "")
        + _title(context, "work")
        + work_html(context, plan.forecast)
        + _title(context, "checks")
        + told
        + checks_html(context, plan.findings, changed=changed, is_clean=not faults)
    )


def memory_html(context: Context, estimate: "Estimate") -> str:
    """One bar against the machine's memory, its parts named below it."""
    parts = sorted(estimate.terms.items(), key=lambda part: -part[1])
    budget = estimate.available_bytes or 0
    whole = max(budget, estimate.allocated_bytes, 1)
    colour = {name: place % 8 for place, (name, _) in enumerate(parts)}
    pieces = "".join(
        f'<i class="lu-part-{colour[name]}" style="width:{100 * size / whole:.2f}%"></i>' for name, size in parts
    )
    legend = "".join(
        f'<li><i class="lu-part-{colour[name]}"></i><span>{escape(context.say(f"memory.terms.{name}"))}</span>'
        f'<span class="lu-num">{bytes_text(size)}</span></li>'
        for name, size in parts
    )
    sentence = memory_sentence(context, estimate)
    # What goes beyond the machine's memory lies right of this mark.
    limit = f'<b style="left:{100 * budget / whole:.2f}%"></b>' if budget else ""
    when = context.say("train.plan.peak", phase=context.say(f"memory.phases.{estimate.peak_phase}"))
    return (
        f'<p>{_verdict(context, estimate.verdict)} <span class="lu-num">{escape(sentence)}</span></p>'
        f'<div class="lu-memory" role="img" aria-label="{escape(sentence)}">{pieces}{limit}</div>'
        # Always open: a redrawn fold would shut itself.
        f'<div class="lu-memory-parts"><p class="lu-note">{escape(when)}</p><ul>{legend}</ul></div>'
    )


def memory_sentence(context: Context, estimate: "Estimate") -> str:
    """`About 2.1 GiB of the 11.4 GiB that are free`."""
    return context.say(
        f"train.plan.memory_{estimate.device}",
        needed=bytes_text(estimate.allocated_bytes),
        budget=bytes_text(estimate.available_bytes),
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
    rows = "".join(
        f'<div class="lu-sample">{"".join(_segment(text, is_trained) for text, is_trained in row)}</div>'
        for row in samples
    )
    return f'<p class="lu-note">{escape(context.say("train.samples_note"))}</p>{rows}'


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


def _verdict(context: Context, verdict: str) -> str:
    text = f"{_ICONS.get(verdict, '')} {context.say(f'train.verdict.{verdict}')}".strip()
    return chip(text, _TONES.get(verdict, "soft"))


def _segment(text: str, is_trained: bool) -> str:
    return f'<span class="lu-{"trained" if is_trained else "untrained"}">{escape(text)}</span>'


def data_note(context: Context, version: Any | None, tokens: Mapping[str, Any] | None) -> str:
    """What the chosen data set holds, below its drop-down."""
    if version is None:
        return ""
    parts = [context.say("train.data_rows", count=f"{version.rows:,}")]
    if version.problems:
        parts.append(context.say("train.data_problems", count=f"{version.problems:,}"))
    if tokens:
        lengths = tokens["lengths"]
        parts.append(context.say("train.data_lengths", half=lengths["p50"], longest=lengths["max"]))
    return f'<p class="lu-note">{escape(" · ".join(parts))}</p>'
