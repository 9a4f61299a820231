"""Models: what can be trained, and adding the folder of another one."""

from html import escape

import gradio as gr

from app.context import Context
from app.i18n import bytes_text, page_path, path_text
from app.markup import chip, empty_page, facts, heading, link, notice
from app.pages.shell import bind, redraw_on_change
from studio.db import models
from studio.db.models import ModelSummary


def build(context: Context) -> None:
    say = context.say
    gr.HTML(heading(say("models.title"), say("models.note")))
    list_html = gr.HTML(elem_id="models-list")
    with gr.Accordion(say("models.add"), open=False, elem_id="models-add-fold"):
        folder_box = gr.Textbox(label=say("models.folder"), info=say("models.folder_help"), elem_id="models-folder")
        name_box = gr.Textbox(label=say("models.name"), info=say("models.name_help"), elem_id="models-name")
        add_button = gr.Button(say("models.add_button"), variant="primary", elem_id="models-add")
        added_html = gr.HTML(elem_id="models-added")
    redraw_on_change(context, draw, outputs=[list_html])
    add_button.click(bind(add, context), [folder_box, name_box], [added_html, list_html])


def draw(context: Context, query: dict[str, str]) -> str:
    """The models as cards."""
    with context.registry.session() as session:
        known = models.list_models(session)
    if not known:
        return empty_page(context.say("models.empty"), "")
    return f'<div class="lu-cards">{"".join(_card(context, model) for model in known)}</div>'


def add(context: Context, folder: str, name: str) -> tuple[str, str]:
    """Register a folder; the desk says in a sentence what is wrong with it."""
    chosen = context.desk.add_model(folder.strip(), name=name.strip() or None)
    return notice(context.say("models.added", name=chosen), "good"), draw(context, {})


def _card(context: Context, model: ModelSummary) -> str:
    say = context.say
    known = [
        (say("models.fact.size"), bytes_text(model.size_bytes)),
        (say("models.fact.license"), escape(model.license or say("models.unknown"))),
        (say("models.fact.architecture"), escape(model.architecture)),
        (say("models.fact.folder"), f"<code>{escape(path_text(model.path))}</code>"),
    ]
    train = link(page_path(context.language, "train", model=model.name), say("models.train"))
    source = chip(say(f"models.source.{model.source}"))
    return f'<article class="lu-card"><h3>{escape(model.name)} {source}</h3>{facts(known)}<p>{train}</p></article>'
