"""The train page's fold "Try the untouched model first": how to ask it, how far that is, and what came of it.

It draws from the registry and kept reports alone; asking is a job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from app.baseline_report_view import report_html
from app.context import Context
from app.data import controls
from app.data.panel import Told, answered, told
from app.i18n import duration_text, page_path
from app.markup import link, notice
from app.pages.shell import bind, redraw_on_change
from app.training_form import read_form
from studio.db import datasets, jobs, models
from studio.db.datasets import DatasetSummary
from studio.db.jobs import JobView
from studio.db.models import ModelSummary
from studio.errors import UnknownName
from studio.evaluation import baseline
from studio.evaluation.baseline import EXAMPLES, RETRIEVED, SYSTEM, Kept, rules
from studio.jobs.lifecycle import LIVE

CHOSEN_KINDS = (SYSTEM, EXAMPLES, RETRIEVED)
"""Those with a box; the plain way is always asked, a pasted text is a way by being there."""
MINUTES = (2, 10, 60)
_DISTURBED = frozenset({"failed", "lost"})


@dataclass(frozen=True)
class Known:
    """What there is to show for a model and a data set."""

    base: ModelSummary
    version: DatasetSummary
    kept: Kept | None = None
    asking: JobView | None = None
    """The newest job that asks this model these rows."""
    carrying: JobView | None = None
    """A job that puts a system prompt into the rows, while it lives."""


def wire(context: Context, shown: gr.HTML, *, dataset: Any, model: Any, given: Sequence[Any], timer: gr.Timer) -> None:
    """Have the panel `shown` follow the form and the registry.

    Args:
        dataset: component of the field `dataset`; `model` likewise.
        given: what `read_form` reads, behind the draft: shown, draft, preset, then every field.
        timer: the page's own.
    """
    quiet = {"show_progress": "hidden"}
    redraw_on_change(context, redraw, inputs=[dataset, model], outputs=[shown], timer=timer)
    gr.on([dataset.change, model.change], bind(draw, context), [dataset, model], [shown], **quiet)
    shown.select(bind(press, context), list(given), [shown], **quiet)


# -- handlers --------------------------------------------------------------------------------------------------------


def redraw(context: Context, query: dict[str, str], dataset: Any, model: Any) -> str:
    return draw(context, dataset, model)


def draw(context: Context, dataset: Any, model: Any) -> str:
    """The fold as it stands now; nothing while model or data are not chosen, or hold nothing to ask."""
    known = find(context, dataset, model)
    if known is None or known.version.format not in baseline.FORMATS:
        return ""
    parts = [
        f'<p class="lu-note">{escape(context.say("baseline.note"))}</p>',
        _carried(context, known),
        _state(context, known),
        report_html(context, known.kept, is_pairs=known.version.format != "messages") if known.kept else "",
        _form(context, known),
    ]
    is_open = known.kept is not None or known.asking is not None
    title = context.say("baseline.title")
    return answered(controls.fold(title, "".join(parts), key="baseline", is_open=is_open))


def press(
    context: Context, event: gr.EventData, shown: str | None, draft: Any, preset: str | None, *entered: Any
) -> str:
    """A button of the fold: ask, cancel, or carry a system prompt into the rows."""
    form, said = read_form(shown, preset, entered), told(event)
    dataset, model = form.named["dataset"], form.named["model_name_or_path"]
    if said.do == "ask":
        context.desk.baseline(form.spec(), **_asked(said))
    elif said.do == "cancel" and (job := said.number("job")) is not None:
        context.desk.stop(job, now=True)
    elif said.do == "carry":
        known = find(context, dataset, model)
        prompt = known and known.kept and known.kept.report.of(SYSTEM)
        if prompt:
            context.desk.carry_system_prompt(known.version.name, prompt.system)
    return draw(context, dataset, model)


def _asked(said: Told) -> dict[str, Any]:
    kinds = [kind for kind in CHOSEN_KINDS if said.fields.get(kind)]
    minutes = said.text("time")
    seconds = {"seconds": 60 * int(minutes)} if minutes in map(str, MINUTES) else {}
    return {"kinds": kinds, "system": said.text("system_text"), "context": said.text("context_text"), **seconds}


def find(context: Context, dataset: Any, model: Any) -> Known | None:
    """What is known about them; None where one is not chosen or not there any more."""
    if not (isinstance(dataset, str) and dataset and isinstance(model, str) and model):
        return None
    with context.registry.session() as session:
        try:
            base, version = models.model(session, model), datasets.dataset(session, dataset)
        except UnknownName:
            return None
        asking = next(
            (job for job in jobs.list_jobs(session, kinds=("baseline",)) if _is_about(job, base, version)), None
        )
        writing = jobs.list_jobs(session, kinds=("prepare",), states=LIVE | {"queued"})
    carrying = next((job for job in writing if _carries(job, version)), None)
    kept = baseline.newest(context.desk.workspace, base.content_hash, version.content_hash)
    return Known(base, version, kept, asking, carrying)


def _is_about(job: JobView, base: ModelSummary, version: DatasetSummary) -> bool:
    return (job.model, job.dataset, job.dataset_version) == (base.name, version.name, version.version)


def _carries(job: JobView, version: DatasetSummary) -> bool:
    return job.values.get("operation") == "system_prompt" and job.values.get("name") == version.name


# -- parts -----------------------------------------------------------------------------------------------------------


def _carried(context: Context, known: Known) -> str:
    """That the rows begin with a system prompt already, and where to take that back."""
    steps = known.version.manifest.get("steps", ())
    if not steps or steps[-1]["operation"] != "system_prompt":
        return ""
    words = context.say("baseline.carried", system=steps[-1]["parameters"]["system"])
    address = page_path(context.language, "data", dataset=known.version.name, tab="versions")
    return f'<p class="lu-good">✓ {escape(words)} {link(address, context.say("baseline.undo"))}</p>'


def _state(context: Context, known: Known) -> str:
    """The job that runs, with Cancel; or why the last one left nothing."""
    say, job = context.say, known.asking
    if known.carrying is not None:
        return f'<p class="lu-note" role="status">{escape(say("baseline.carrying"))}…</p>'
    if job is None:
        return ""
    if job.state in LIVE | {"queued"}:
        return _running(context, job)
    if job.state in _DISTURBED:
        reason = say(f"errors.{job.reason}", **job.reason_values) if job.reason else ""
        return notice(f"{say('baseline.failed')} {reason}".strip(), "bad")
    return notice(say("baseline.stopped")) if job.state == "stopped" and known.kept is None else ""


def _running(context: Context, job: JobView) -> str:
    say = context.say
    phase = say(f"phases.{job.phase}") if job.phase else say("baseline.waits")
    if job.seconds_left is not None:
        phase += " · " + say("common.left", time=duration_text(job.seconds_left, context.language))
    if job.progress_total:
        share = min(100.0, 100 * (job.progress_done or 0) / job.progress_total)
        bar = (
            f'<div class="lu-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
            f'aria-valuenow="{share:.0f}" aria-label="{escape(say("baseline.running"))}">'
            f'<div style="width:{share:.1f}%"></div></div>'
        )
    else:
        bar = '<div class="lu-progress lu-unknown"><div></div></div>'
    told = f"<p><b>{escape(say('baseline.running'))}</b></p>{bar}"
    note = f'<p class="lu-note">{escape(phase)} · {escape(say("baseline.may_close"))}</p>'
    stop = controls.buttons(controls.button("cancel", say("baseline.cancel"), job=job.id))
    return f'<div class="lu-looking" role="status">{told}{note}{stop}</div>'


def _form(context: Context, known: Known) -> str:
    """Which ways to ask, the person's own texts, the time; not while a job is under way."""
    say = context.say
    if known.asking is not None and known.asking.state in LIVE | {"queued"}:
        return ""
    boxes = "".join(
        controls.checkbox(
            kind, say(f"baseline.choose.{kind}"), kind in rules()["default"], note=say(f"baseline.help.{kind}")
        )
        for kind in CHOSEN_KINDS
    )
    times = [(say("baseline.time_share"), "")]
    times += [(say("baseline.time_minutes", minutes=minutes), str(minutes)) for minutes in MINUTES]
    fields = (
        controls.labelled_group(say("baseline.kinds"), boxes),
        controls.area(
            "system_text", say("baseline.system"), "", note=say("baseline.system_note"), rows=2, draft="system"
        ),
        controls.area(
            "context_text", say("baseline.context"), "", note=say("baseline.context_note"), rows=3, draft="context"
        ),
        controls.select("time", say("baseline.time"), times),
    )
    label = say("baseline.again" if known.kept else "baseline.ask")
    kind = "" if known.kept else "primary"
    made = controls.form(*fields, controls.buttons(controls.button("ask", label, kind=kind)))
    return controls.fold(label, made, key="baseline-again") if known.kept else made
