"""Importing a file: what it is taken for and why, which column plays which part, what is at fault, then Import.

Looking reads the first megabyte and answers at once; the whole file is a job.
"""

import json
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app import dataset_view as view
from app.context import Context
from app.data import following
from app.data.import_look import look_at, reading_html
from app.data.panel import answered, panel, told
from app.markup import notice
from app.pages.shell import bind
from studio.errors import RefusedInput, StudioError
from studio.paths import SAMPLES

FILE_TYPES = [".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".xlsx", ".parquet", ".txt", ".md", ".zip", ".gz"]


def parts(context: Context) -> dict[str, Any]:
    """The components, by name."""
    say = context.say
    made: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="data-import-panel") as made["panel"]:
        gr.HTML(f'<div class="lu-empty"><p>{escape(say("data.teach"))}</p></div>', padding=False)
        made["sample"] = gr.Button(say("data.try_sample"), variant="primary", elem_id="data-sample")
        made["file"] = gr.File(label=say("data.file"), file_types=FILE_TYPES, height=150, elem_id="data-file")
        made["refused"] = gr.HTML(elem_id="data-refused", padding=False)
        with gr.Column(visible=False, elem_id="data-import-form") as made["form"]:
            made["name"] = gr.Textbox(label=say("data.name"), info=say("data.name_note"), elem_id="data-name")
            made["reading"] = panel("data-reading")
            made["import"] = gr.Button(say("data.import"), variant="primary", elem_id="data-import")
            made["preview"] = gr.HTML(elem_id="data-preview", padding=False)
        made["chosen"] = gr.Textbox("{}", visible=False, elem_id="data-chosen")
    return made


_LOOKED = ("sample", "refused", "form", "reading", "import", "preview", "chosen")
_EMPTIED = ("file", "sample", "refused", "form", "chosen")


def wire(context: Context, made: dict[str, Any], followed: list[Any]) -> None:
    looked = [made[name] for name in _LOOKED]
    made["file"].upload(bind(look, context), [made["file"]], [made["name"], *looked])
    made["file"].clear(bind(forget, context), None, looked)
    made["reading"].select(bind(choose, context), [made["file"], made["chosen"]], looked, show_progress="hidden")
    asked = [made["file"], made["name"], made["chosen"]]
    made["import"].click(bind(start_import, context), asked, followed)
    made["sample"].click(bind(import_sample, context), None, followed)


def emptied(made: dict[str, Any]) -> list[Any]:
    return [made[name] for name in _EMPTIED]


def empty() -> list[Any]:
    """Values for `emptied`: as if no file had ever been dropped."""
    return [gr.update(value=None), gr.update(visible=True), "", gr.update(visible=False), "{}"]


# -- handlers ------------------------------------------------------------------------------------------------------


def look(context: Context, path: str | None) -> list[Any]:
    """A file has been dropped: its name, its shape, its columns, its first rows."""
    if not path:
        return [gr.skip(), *forget(context)]
    return [view.suggested_name(path), *_looked(context, path, {})]


def forget(context: Context) -> list[Any]:
    """The file was taken away again."""
    return [gr.update(visible=True), "", gr.update(visible=False), "", gr.skip(), "", "{}"]


def choose(context: Context, event: gr.EventData, path: str | None, chosen: str) -> list[Any]:
    """The same file as another shape, or with other columns."""
    done = told(event)
    if not path:
        raise RefusedInput("data.no_file_chosen")
    shape, encoding = done.text("shape"), done.text("encoding")
    named = {"encoding": encoding} if encoding else {}
    if done.do == "encoding":
        return _looked(context, path, named)
    if done.do == "shape":
        return _looked(context, path, named | {"shape": shape})
    names = json.loads(chosen).get("names", [])
    columns = {
        names[int(place)]: part
        for name, part in done.fields.items()
        if name.startswith("column.") and part and (place := name.removeprefix("column.")).isdecimal()
        if int(place) < len(names)
    }
    return _looked(context, path, named | {"shape": shape, "columns": columns})


def start_import(context: Context, path: str | None, name: str, chosen: str) -> list[Any]:
    """Queue the import; returns what follows it."""
    if not path:
        raise RefusedInput("data.no_file_chosen")
    asked = json.loads(chosen or "{}")
    job_id = context.desk.import_dataset(
        path,
        name.strip(),
        shape=asked.get("shape") or None,
        columns=asked.get("columns") or None,
        encoding=asked.get("encoding") or None,
        original_name=Path(path).name,
    )
    return following.started(context, job_id)


def import_sample(context: Context) -> list[Any]:
    return following.started(context, sample_job(context))


def sample_job(context: Context) -> int:
    """Queue the starter questions and answers, or where they were not fetched, the sample in the page's language."""
    starter = context.desk.workspace.starter_data / "trivia.jsonl"
    source, name = starter, "trivia"
    if not starter.exists():
        source, name = SAMPLES / f"chat.{context.language}.jsonl", "support-desk"
    return context.desk.import_dataset(source, name)


# -- looking -------------------------------------------------------------------------------------------------------


def _looked(context: Context, path: str, asked: dict[str, Any]) -> list[Any]:
    """Values for `_LOOKED`; a refused file shows its sentence, a refused choice stands beside its columns."""
    try:
        found = look_at(context, Path(path), asked)
    except StudioError as error:
        words = notice(error.message(context.language), "bad")
        return [gr.update(visible=True), words, gr.update(visible=False), "", gr.skip(), "", "{}"]
    choice, names = found.seen.choice, found.seen.all_columns
    held = {column: part for column, part in choice.columns.items() if column in names} if choice else {}
    taken = {"shape": choice.shape, "columns": held} if choice else {}
    wanted = asked if found.refusal else taken | asked
    kept = wanted | {"names": names}
    is_ready = choice is not None and not found.refusal
    rows = view.rows_html(context, found.seen.rows, found.seen.format or "") if is_ready else ""
    shown = f'<h2 class="lu-part">{escape(context.say("data.become_title"))}</h2>{rows}' if rows else ""
    return [
        gr.update(visible=False),
        "",
        gr.update(visible=True),
        answered(reading_html(context, found, wanted)),
        gr.update(interactive=is_ready),
        shown,
        json.dumps(kept),
    ]
