"""Pipelines above the list of runs: each with its stages in a row, where they stand, and what can be done.

`draw(context) -> HTML` of a part of a panel, `press(context, told)` carries out what was pressed and tells whether it
was its own.
"""

from html import escape

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import number_text, page_path
from app.markup import chip, link, state_chip
from app.pipelines.words import method_words
from studio.db import pipelines
from studio.db.pipelines import GONE, WAITING, PipelineView, StageView
from studio.jobs.lifecycle import LIVE

SHOWN = 5
"""Newest ones; finished ones only while they are among these."""
STUCK = ("failed", "stopped", "paused", "lost", "cancelled")


def draw(context: Context) -> str:
    """Nothing where there are no pipelines."""
    with context.registry.session() as session:
        found = pipelines.list_pipelines(session, limit=SHOWN)
    if not found:
        return ""
    title = f'<h2 class="lu-part">{escape(context.say("pipeline.title"))}</h2>'
    return title + "".join(_pipeline(context, each) for each in found)


def press(context: Context, told: Told) -> bool:
    """
    Raises:
        Conflict: what was pressed cannot be done any more.
    """
    number = told.number("pipeline")
    verbs = {
        "pipeline_stop": context.desk.stop_pipeline,
        "pipeline_resume": context.desk.resume_pipeline,
        "pipeline_next": context.desk.next_stage,
    }
    if told.do not in verbs or number is None:
        return False
    verbs[told.do](number)
    return True


def _pipeline(context: Context, found: PipelineView) -> str:
    stages = "".join(f"<li>{_stage(context, each)}</li>" for each in found.stages)
    head = f"<p><b>{escape(f'{found.id} · {found.title}')}</b> {_state(context, found.state)}</p>"
    return (
        f'<div class="lu-card" id="pipeline-{found.id}">{head}<ol class="lu-stages">{stages}</ol>'
        f"{_note(context, found)}{_buttons(context, found)}</div>"
    )


def _stage(context: Context, stage: StageView) -> str:
    say = context.say
    words = f"{method_words(stage.method, context.language)} · {stage.dataset}"
    name = link(page_path(context.language, "runs", run=stage.job), words) if stage.job else escape(words)
    score = say("runs.score.eval_loss", value=number_text(stage.score)) if stage.score is not None else ""
    return f"{name} {_state(context, stage.state)} {escape(score)}".strip()


def _state(context: Context, state: str) -> str:
    if state in (WAITING, GONE):
        return chip(context.say(f"pipeline.state.{state}"))
    return state_chip(state, context.say)


def _note(context: Context, found: PipelineView) -> str:
    """What happens next, where that is not plain: a stage failed, or its run was deleted."""
    current = found.current
    has_more = any(stage.state == WAITING for stage in found.stages)
    if current is None or found.state == "succeeded" or not (current.state in STUCK or current.state == GONE):
        return ""
    can_begin = has_more and current.best is not None
    key = "gone" if current.state == GONE else "stuck" if can_begin else "stuck_last"
    told = context.say(f"pipeline.note.{key}", stage=current.place + 1)
    return f'<p class="lu-note">▲ {escape(told)}</p>'


def _buttons(context: Context, found: PipelineView) -> str:
    say, current = context.say, found.current
    made = []
    runs = current is not None and current.state in LIVE | {"queued", "paused"}
    has_more = any(stage.state == WAITING for stage in found.stages)
    if runs:
        made.append(controls.button("pipeline_stop", say("pipeline.stop"), pipeline=found.id))
    if current is not None and current.state != GONE and not runs and found.state != "succeeded":
        made.append(controls.button("pipeline_resume", say("pipeline.resume"), pipeline=found.id))
    if current is not None and current.state in STUCK and has_more and current.best is not None:
        made.append(controls.button("pipeline_next", say("pipeline.next"), pipeline=found.id))
    return controls.buttons(*made) if made else ""
