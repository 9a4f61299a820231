"""On the page of checkpoints: take one out as files, merged or not, and make one adapter of several.

What was asked for is listed below with its state, and where its folder lies.
"""

from html import escape
from typing import Any

import gradio as gr

from app.context import Context
from app.i18n import bytes_text, page_path, path_text
from app.markup import link, state_chip, table
from app.pages.shell import bind, redraw_on_change
from studio.db import checkpoints, jobs
from studio.db.checkpoints import CheckpointView
from studio.db.jobs import JobView
from studio.errors import RefusedInput
from studio.params.tunings import TUNINGS

KINDS = ("export", "combine")
_SHOWN = 10


def build(context: Context) -> None:
    """Inside the column that lists checkpoints."""
    say = context.say
    with gr.Accordion(say("weights.take_out"), open=False, elem_id="checkpoints-take-out"):
        taken = gr.Dropdown([], label=say("weights.which"), elem_id="checkpoints-taken")
        choices = [(say("weights.as_it_is"), "no"), (say("weights.merged"), "yes")]
        merged = gr.Radio(choices, value="no", label=say("weights.how"), info=say("weights.how_help"))
        merged.elem_id = "checkpoints-merged"
        out_button = gr.Button(say("weights.take_out_now"), elem_id="checkpoints-take-out-now")
    with gr.Accordion(say("weights.combine"), open=False, elem_id="checkpoints-combine"):
        parts = gr.CheckboxGroup([], label=say("weights.parts"), info=say("weights.parts_help"))
        parts.elem_id = "checkpoints-parts"
        weights = gr.Textbox(
            label=say("weights.weights"), info=say("weights.weights_help"), elem_id="checkpoints-weights"
        )
        combine_button = gr.Button(say("weights.combine_now"), elem_id="checkpoints-combine-now")
    made = gr.HTML(elem_id="checkpoints-made")
    redraw_on_change(context, draw, outputs=[taken, parts, made])
    taken.change(bind(tell_how, context), [taken], [merged])
    out_button.click(bind(take_out, context), [taken, merged], [made])
    combine_button.click(bind(combine, context), [parts, weights], [made])


def draw(context: Context, query: dict[str, str]) -> list[Any]:
    with context.registry.session() as session:
        saved = [each for each in checkpoints.list_checkpoints(session) if each.tuning]
    every = [(_label(context, each), each.id) for each in saved]
    addable = [(_label(context, each), each.id) for each in saved if TUNINGS[each.tuning].combines]
    return [gr.update(choices=every), gr.update(choices=addable), made_html(context)]


def tell_how(context: Context, checkpoint: int | None) -> Any:
    """What can be done with that checkpoint's folder: one that no other program reads says so before it is made."""
    if checkpoint is None:
        return gr.update(info=context.say("weights.how_help"))
    with context.registry.session() as session:
        chosen = checkpoints.checkpoint(session, int(checkpoint))
    return gr.update(info=context.say("weights.ours_help" if _is_ours(chosen.tuning) else "weights.how_help"))


def take_out(context: Context, checkpoint: int | None, merged: str) -> str:
    if checkpoint is None:
        raise RefusedInput("weights.none_chosen")
    context.desk.export_checkpoint(int(checkpoint), merge=merged == "yes")
    return made_html(context)


def combine(context: Context, parts: list[int], weights: str) -> str:
    context.desk.combine_checkpoints(weights_of(parts, weights))
    return made_html(context)


def weights_of(parts: list[int], text: str) -> dict[str, float]:
    """[3, 5], "0.7, 0.3"  ->  {"3": 0.7, "5": 0.3}; left empty, all count alike and make a mean.

    Raises:
        RefusedInput: weights.combine_part, weights.as_many.
    """
    words = (text or "").replace("，", ",").replace(",", " ").split()
    if not words:
        return {str(part): 1 / len(parts) for part in parts}
    if len(words) != len(parts):
        raise RefusedInput("weights.as_many", parts=len(parts), given=len(words))
    try:
        return {str(part): float(word) for part, word in zip(parts, words, strict=True)}
    except ValueError:
        raise RefusedInput("weights.combine_part", given=text) from None


def made_html(context: Context) -> str:
    """What was asked for, newest first."""
    with context.registry.session() as session:
        asked = jobs.list_jobs(session, kinds=KINDS, limit=_SHOWN)
        saved = {each.id: checkpoints.list_checkpoints(session, each.id) for each in asked if each.kind == "combine"}
    if not asked:
        return ""
    rows = [[escape(each.title), state_chip(each.state, context.say), _where(context, each, saved)] for each in asked]
    names = [context.say(f"weights.column.{name}") for name in ("what", "state", "where")]
    return table(names, rows, caption=context.say("weights.made"))


def _where(context: Context, job: JobView, saved: dict[int, list[CheckpointView]]) -> str:
    if job.reason:
        return escape(context.say(f"errors.{job.reason}", **job.reason_values))
    if job.state != "succeeded":
        return "–"
    if job.kind == "export":
        folder = context.desk.workspace.exports / job.values["folder"]
        told = f"{path_text(folder)} · {bytes_text(job.figures.get('bytes', 0))}"
        return escape(f"{told} · {context.say('weights.ours')}" if _is_ours(job.values.get("tuning")) else told)
    made = saved.get(job.id)
    address = page_path(context.language, "checkpoints", pick=made[0].id) if made else None
    return link(address, context.say("weights.ask_it")) if address else "–"


def _is_ours(tuning: str | None) -> bool:
    return tuning in TUNINGS and TUNINGS[tuning].is_ours


def _label(context: Context, each: CheckpointView) -> str:
    return context.say("checkpoints.choice", run=each.job_id, title=each.run, step=f"{each.step:,}")
