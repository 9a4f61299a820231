"""Importing a file: what it is taken for and why, which column plays which part, what is at fault, then Import.

Looking reads the first megabyte and answers at once; the whole file is a job.
"""

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app import dataset_view as view
from app.context import Context
from app.data import controls, following
from app.data.panel import answered, panel, told
from app.markup import notice
from app.pages.shell import bind
from studio.errors import RefusedInput, StudioError
from studio.paths import SAMPLES
from studio.workshop.converting.detect import Preview, preview, read_sample
from studio.workshop.converting.shapes import OPTIONAL_PARTS, REQUIRED_PARTS, SHAPES
from studio.workshop.reading.opening import open_source
from studio.workshop.reading.source import RawRow

FILE_TYPES = [".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".xlsx", ".parquet", ".txt", ".md", ".zip", ".gz"]
PREVIEW_ROWS = 5
SHOWN_CELLS, CELL_CHARACTERS = 3, 80
SHOWN_AGAINST = 3
ENCODINGS = ("utf-8", "gb18030", "big5", "cp1252", "cp1251", "shift_jis", "euc-kr")
SURE_ENCODING = 0.7
"""Of what was found out with less confidence a person can say what it is."""


@dataclass(frozen=True)
class Look:
    """What a look at a file found."""

    seen: Preview
    """As it was recognised, or as the person chose where that can be."""
    samples: list[RawRow]
    encoding: str
    is_sure: bool
    """Whether there is no doubt about the encoding."""
    refusal: str = ""
    """Why the person's choice cannot be."""


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
        found = _look(context, Path(path), asked)
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


def _look(context: Context, path: Path, asked: dict[str, Any]) -> Look:
    named = {"original_name": path.name, "encoding": asked.get("encoding") or None}
    found = open_source(path, original_name=path.name)
    is_sure = found.confidence >= SURE_ENCODING and not asked.get("encoding")
    try:
        samples = read_sample(path, **named).rows
        encoding = open_source(path, **named).encoding
        told = {"shape": asked.get("shape") or None, "columns": asked.get("columns") or None}
        seen = preview(path, limit=PREVIEW_ROWS, **named, **told)
    except StudioError as error:
        if not asked:
            raise
        samples = read_sample(path, original_name=path.name).rows
        seen = preview(path, original_name=path.name, limit=PREVIEW_ROWS)
        return Look(seen, samples, found.encoding, is_sure, refusal=error.message(context.language))
    return Look(seen, samples, encoding, is_sure, refusal=_missing(context, seen))


def _missing(context: Context, seen: Preview) -> str:
    """That a shape was chosen whose columns the file does not name; empty where it has them."""
    if seen.choice is None:
        return ""
    found = {part for column, part in seen.choice.columns.items() if column in seen.all_columns}
    shape = seen.choice.shape
    parts = [_part_name(context, part, "") for part in REQUIRED_PARTS[shape] if part not in found]
    comma = context.say("common.list_comma")
    return context.say("data.parts_missing", parts=comma.join(parts)) if parts else ""


# -- what a look is shown as ---------------------------------------------------------------------------------------


def reading_html(context: Context, found: Look, wanted: dict[str, Any]) -> str:
    """What the file is, what its rows are taken for, the columns with their parts, and what is at fault."""
    say, seen = context.say, found.seen
    which = "all" if seen.is_whole else "first"
    about = say(f"data.looked_at.{which}", count=seen.sampled, size=view.bytes_text(seen.size_bytes))
    kind = say("data.file_kind", kind=_kind_name(context, seen.kind), encoding=found.encoding.upper().replace("_", "-"))
    choices = [(say(f"data.shape.{shape}"), shape) for shape in SHAPES]
    shape = wanted.get("shape", "")
    if not shape:
        choices.insert(0, (say("data.choose_shape"), ""))
    return controls.form(
        f'<p class="lu-note">{escape(seen.file)} · {escape(kind)} · {escape(about)}</p>',
        "" if found.is_sure else _encoding_html(context, wanted),
        notice(found.refusal, "warn") if found.refusal else _recognised(context, found),
        controls.select("shape", say("data.shape_label"), choices, shape, change="shape"),
        _columns_html(context, found, wanted),
        view.preview_faults(context, seen) if not found.refusal else "",
    )


def _encoding_html(context: Context, wanted: dict[str, Any]) -> str:
    """What the file's encoding is taken for, and what else it may be."""
    say, chosen = context.say, wanted.get("encoding", "")
    choices = [(say("data.encoding.found"), ""), *((name.upper(), name) for name in ENCODINGS)]
    return controls.select(
        "encoding", say("data.encoding.label"), choices, chosen, note=say("data.encoding.note"), change="encoding"
    )


def _kind_name(context: Context, kind: str) -> str:
    return {"jsonl": "JSON Lines", "text": context.say("data.kind_text")}.get(kind, kind.upper())


def _recognised(context: Context, found: Look) -> str:
    """The shape with its confidence, what it becomes, and the rows that look otherwise."""
    say, seen = context.say, found.seen
    if seen.choice is None:
        return notice(say("data.shape_unknown", columns=", ".join(seen.all_columns) or "–"), "warn")
    shape = say(f"data.shape.{seen.choice.shape}")
    percent = f"{100 * seen.choice.confidence:.0f}"
    words = (
        say("data.shape_found", shape=shape, percent=percent) + " " + say(f"data.becomes.{seen.format}", shape=shape)
    )
    return notice("\n".join([words, *_against(context, found)]), "good" if seen.choice.confidence >= 0.9 else "warn")


def _against(context: Context, found: Look) -> list[str]:
    """Counter-examples: rows that show another shape, with what they hold instead."""
    say, numbers = context.say, found.seen.choice.against if found.seen.choice else []
    rows = {each.row: each.value for each in found.samples if each.row in numbers[:SHOWN_AGAINST]}
    lines = [
        say("data.against.row", row=number, columns=", ".join(map(str, value)) or "–")
        if isinstance(value, dict)
        else say("data.against.other", row=number)
        for number, value in rows.items()
    ]
    more = len(numbers) - len(lines)
    return [*lines, say("data.against.more", count=more)] if more > 0 else lines


def _columns_html(context: Context, found: Look, wanted: dict[str, Any]) -> str:
    """The file's columns as a table: on top of each, the part that it plays; below, its first cells."""
    say, seen = context.say, found.seen
    shape = wanted.get("shape") or ""
    if not seen.all_columns or not shape:
        return ""
    offered = (*REQUIRED_PARTS[shape], *OPTIONAL_PARTS[shape])
    played = wanted.get("columns") or {}
    choices = [(say("data.no_part"), ""), *((_part_name(context, part, shape), part) for part in offered)]
    heads, roles = "", ""
    for place, column in enumerate(seen.all_columns):
        label = say("data.part_of", column=column)
        heads += f'<th scope="col">{escape(column)}</th>'
        part = controls.select(
            f"column.{place}", label, choices, played.get(column, ""), change="columns", hides_label=True
        )
        roles += f"<td>{part}</td>"
    values = [each.value for each in found.samples if isinstance(each.value, dict)][:SHOWN_CELLS]
    cells = "".join(
        "<tr>" + "".join(f"<td>{_cell(value, column)}</td>" for column in seen.all_columns) + "</tr>"
        for value in values
    )
    return (
        f'<p class="lu-note">{escape(say("data.parts_note"))}</p>'
        '<div class="lu-scroll"><table class="lu-table lu-columns">'
        f"<thead><tr>{heads}</tr></thead><tbody><tr>{roles}</tr>{cells}</tbody></table></div>"
    )


def _part_name(context: Context, part: str, shape: str) -> str:
    needed = " *" if part in REQUIRED_PARTS.get(shape, ()) else ""
    return context.say(f"data.part.{part}") + needed


def _cell(value: dict[str, Any], column: str) -> str:
    if column not in value:
        return ""
    held = value[column]
    text = held if isinstance(held, str) else json.dumps(held, ensure_ascii=False, default=str)
    return escape(text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…")
