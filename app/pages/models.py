"""Models: what can be trained, and adding another one, from a folder or by its id on the hub."""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.context import Context
from app.i18n import bytes_text, page_path, path_text
from app.markup import chip, empty_page, facts, heading, link, notice
from app.memory import not_owned
from app.memory_badge import LOOK_SCRIPT, badge_html, badge_of, unseen_html
from app.pages.shell import bind, redraw_on_change
from studio.db import jobs, models
from studio.db.jobs import JobView
from studio.db.measurements import experience
from studio.db.models import ModelSummary
from studio.desk import is_hub_id
from studio.jobs.lifecycle import LIVE
from studio.memory.measured import Experience
from studio.models.folder import packed_file
from studio.paths import written_path


def build(context: Context) -> None:
    say = context.say
    gr.HTML(heading(say("models.title"), say("models.note")))
    list_html = gr.HTML(elem_id="models-list", js_on_load=LOOK_SCRIPT)
    with gr.Accordion(say("models.add"), open=False, elem_id="models-add-fold"):
        folder_box = gr.Textbox(label=say("models.folder"), info=say("models.folder_help"), elem_id="models-folder")
        name_box = gr.Textbox(label=say("models.name"), info=say("models.name_help"), elem_id="models-name")
        add_button = gr.Button(say("models.add_button"), variant="primary", elem_id="models-add")
        added_html = gr.HTML(elem_id="models-added")
    not_owned.build(context)
    redraw_on_change(context, draw, outputs=[list_html])
    list_html.select(bind(look, context), outputs=[list_html], show_progress="hidden")
    add_button.click(bind(add, context), [folder_box, name_box], [added_html, list_html])


def draw(context: Context, query: dict[str, str]) -> str:
    """The models as cards."""
    with context.registry.session() as session:
        known = models.list_models(session)
        inspected = {model.id: models.any_inspection(session, model.content_hash) for model in known}
        learned = {model.id: experience(session, model.content_hash) for model in known}
        looks = jobs.list_jobs(session, kinds=("inspect",))
        coming = jobs.list_jobs(session, kinds=("fetch", "unpack"), limit=20)
        fetching = [job for job in coming if job.state != "succeeded"]
    told = "".join(_fetch_notice(context, job) for job in fetching[:3])
    if not known:
        return told + empty_page(context.say("models.empty"), "")
    cards = "".join(
        _card(context, model, _fit(context, model, inspected[model.id], learned[model.id], looks)) for model in known
    )
    return f'{told}<div class="lu-cards">{cards}</div>'


def look(context: Context, event: gr.EventData) -> str:
    """Have a model looked at, so that its card can say whether it fits."""
    context.desk.inspect(event._data["model"])
    return draw(context, {})


def add(context: Context, place: str, name: str) -> tuple[str, str]:
    """Register a folder, unpack a GGUF file, or ask for a model of the hub; the desk says what is wrong with it."""
    place, wanted = place.strip(), name.strip() or None
    if is_hub_id(place) and not Path(place).expanduser().exists():
        context.desk.fetch_model(place, name=wanted)
        return "", draw(context, {})
    folder = written_path(place)
    if folder is not None and folder.exists() and packed_file(folder):
        context.desk.unpack_model(place, name=wanted)
        return "", draw(context, {})
    chosen = context.desk.add_model(place, name=wanted)
    return notice(context.say("models.added", name=chosen), "good"), draw(context, {})


def _fetch_notice(context: Context, job: JobView) -> str:
    """A model that is on its way, or the last word of one that did not come."""
    say, is_packed = context.say, job.kind == "unpack"
    if job.state in LIVE | {"queued"} and is_packed:
        return notice(say("models.unpacking", model=job.title), "info")
    if job.state in LIVE | {"queued"}:
        done, total = job.progress_done or 0, job.progress_total
        far = context.say("models.fetched_of", done=bytes_text(done), total=bytes_text(total)) if total else ""
        return notice(f"{context.say('models.fetching', model=job.title)} {far}".strip(), "info")
    reason = context.say(f"errors.{job.reason}", **job.reason_values) if job.reason else ""
    what = "models.not_unpacked" if is_packed else "models.not_fetched"
    return notice(f"{say(what, model=job.title)} {reason}".strip(), "bad")


def _fit(
    context: Context,
    model: ModelSummary,
    inspected: dict[str, Any] | None,
    learned: Experience,
    looks: list[JobView],
) -> str:
    from studio.hardware import read_machine

    if inspected is not None:
        return badge_html(context, badge_of(inspected, read_machine(), learned))
    latest = next((job for job in looks if job.model == model.name), None)
    return unseen_html(context, model.name, latest)


def _card(context: Context, model: ModelSummary, fit: str) -> str:
    say = context.say
    known = [
        (say("models.fit.title"), fit),
        (say("models.fact.size"), bytes_text(model.size_bytes)),
        (say("models.fact.license"), escape(model.license or say("models.unknown"))),
        (say("models.fact.architecture"), escape(model.architecture)),
        (say("models.fact.folder"), f"<code>{escape(path_text(model.path))}</code>"),
    ]
    train = link(page_path(context.language, "train", model=model.name), say("models.train"))
    source = chip(say(f"models.source.{model.source}"))
    return f'<article class="lu-card"><h3>{escape(model.name)} {source}</h3>{facts(known)}<p>{train}</p></article>'
