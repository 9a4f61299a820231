"""HTML beside the memory bar: how much of the figure was learned on this machine, and the button that measures it."""

from html import escape
from typing import TYPE_CHECKING

from app.context import Context
from app.i18n import bytes_text
from app.markup import notice
from studio.db.jobs import JobView
from studio.jobs.lifecycle import LIVE

if TYPE_CHECKING:
    from app.training_form import Plan
    from studio.memory.estimate import Estimate

RUNNING = LIVE | {"queued"}


def learned_html(context: Context, found: "Estimate") -> str:
    """What runs on this machine have said; nothing where there were none."""
    return "".join(f'<p class="lu-note lu-learned">{escape(text)}</p>' for text in learned(context, found))


def learned(context: Context, found: "Estimate") -> list[str]:
    from studio.memory.measured import Corrected

    if not isinstance(found, Corrected):
        return []
    values = {"count": found.num_runs, "predicted": bytes_text(found.predicted_bytes)}
    key = "exactly" if found.is_measured else "run" if found.num_runs == 1 else "runs" if found.num_runs else None
    told = [context.say(f"train.measured.{key}", **values)] if key else []
    return told + ([context.say("train.measured.ran_out")] if found.ran_out else [])


def probe_html(context: Context, plan: "Plan", probe: JobView | None) -> str:
    """The button that measures, or how far that is, or why it went wrong.

    Args:
        probe: the newest measurement of this model with this data.
    """
    if probe is not None and probe.state in RUNNING:
        return _running(context, probe, is_this=_is_this(plan, probe))
    told = ""
    if probe is not None and probe.state in ("failed", "lost") and _is_this(plan, probe):
        reason = context.say(f"errors.{probe.reason}", **probe.reason_values) if probe.reason else ""
        told = notice(f"{context.say('train.measured.failed')} {reason}".strip(), "bad")
    if getattr(plan.forecast.memory, "is_measured", False):
        return told
    button = f'<button type="button" class="lu-link" data-do="measure">{escape(context.say("train.measured.button"))}'
    note = f'<p class="lu-note">{escape(context.say("train.measured.note"))}</p>'
    return f'{told}<p class="lu-measure">{button}</button></p>{note}'


def _running(context: Context, probe: JobView, *, is_this: bool) -> str:
    text = "waits" if probe.state == "queued" else "measuring" if is_this else "measuring_others"
    phase = f" · {context.say(f'phases.{probe.phase}')}" if probe.phase else ""
    stop = (
        f'<button type="button" class="lu-link" data-do="unmeasure">'
        f"{escape(context.say('train.measured.stop'))}</button>"
    )
    told = f"{context.say(f'train.measured.{text}')}{phase}"
    bar = '<div class="lu-progress lu-unknown"><div></div></div>'
    return f'<div class="lu-measure" role="status">{bar}<p class="lu-note">{escape(told)} {stop}</p></div>'


def _is_this(plan: "Plan", probe: JobView) -> bool:
    """Whether it measures what the form shows: settings that take no memory may differ."""
    from studio.memory.configuration import configuration_of

    tokens = plan.facts.shapes.row_tokens
    return configuration_of("", plan.values, tokens(plan.values)) == configuration_of(
        "", probe.values, tokens(probe.values)
    )
