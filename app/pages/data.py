"""The data page: bring a file in, see it as training will, mend or leave out what cannot be used, go back a version.

Reading a whole file is a `prepare` job; this page looks at its first megabyte, starts the job and follows it. What is
open is in the address (`?dataset=NAME`). The HTML is made in `app.dataset_view`.
"""

from pathlib import Path
from typing import Any

import gradio as gr

from app import dataset_view as view
from app.context import Context
from app.markup import heading, notice
from app.pages.shell import bind, redraw_on_change
from studio.db import datasets, jobs
from studio.db.datasets import DatasetSummary
from studio.db.jobs import JobView
from studio.errors import Conflict, RefusedInput, StudioError, UnknownName
from studio.jobs.lifecycle import LIVE, WAITING
from studio.paths import SAMPLES
from studio.workshop.convert import convert_text, converter
from studio.workshop.detect import Preview, preview
from studio.workshop.problems import EXCLUDED, OPEN, Problem
from studio.workshop.shapes import OPTIONAL_PARTS, REQUIRED_PARTS, SHAPES
from studio.workshop.versions import count_problems, iterate_problems, read_manifest, read_problems, read_rows

PAGE_ROWS, PAGE_PROBLEMS = 10, 20
PREVIEW_ROWS = 5
FOLLOW_SECONDS = 1.0
FILE_TYPES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".ndjson"]
PART_OF_FIELD = {
    "conversation": ("messages", "conversations"),
    "prompt": ("prompt", "instruction"),
    "answer": ("completion", "output"),
    "input": ("input",),
    "system": ("system",),
}
"""The form's column fields, and the parts of the shapes that each may name."""

_REMEMBER = """() => {
    let last = null;
    new MutationObserver(() => {
        const shown = document.querySelector('#data-title [data-dataset]')?.dataset.dataset;
        if (!shown || shown === last) return;
        last = shown;
        const address = new URL(location);
        address.searchParams.set('dataset', shown);
        history.replaceState(null, '', address);
    }).observe(document.body, {childList: true, subtree: true, attributeFilter: ['data-dataset']});
}"""
"""Keeps the address at what is open. It watches the page, for a script chained to a handler runs before its answer."""


def build(context: Context) -> None:
    """Lay the page out and wire it."""
    gr.HTML(heading(context.say("data.title"), context.say("data.lead")), padding=False)
    with gr.Row(equal_height=False, elem_id="data-columns"):
        with gr.Column(scale=1, min_width=260, visible=False) as left:
            listed = gr.Radio([], label=context.say("data.datasets"), elem_id="data-datasets")
            add_button = gr.Button(context.say("data.add"), elem_id="data-add")
        with gr.Column(scale=3, min_width=320):
            following = _following_parts(context)
            importing = _import_parts(context)
            shown = _dataset_parts(context)
    name = gr.Textbox(visible=False, elem_id="data-name-open")
    everything = [left, listed, importing["panel"], shown["panel"], name, *_drawn(shown)]
    _wire_import(context, importing, following)
    _wire_following(context, following, everything)
    _wire_rows(context, shown, name)
    _wire_problems(context, shown, following, name)
    _wire_versions(context, shown, everything, name)
    listed.input(bind(open_dataset, context), [listed], everything, show_progress="hidden")
    emptied = [importing[each] for each in ("panel", "file", "sample", "form", "preview")]
    add_button.click(bind(show_import, context), None, [*emptied, shown["panel"], listed])
    gr.on(None, bind(open_page, context), None, [*following.values(), *everything], show_progress="hidden")
    gr.on(None, None, js=_REMEMBER)
    redraw_on_change(context, relist, outputs=[listed])


# -- layout --------------------------------------------------------------------------------------------------------


def _following_parts(context: Context) -> dict[str, Any]:
    return {
        "job": gr.Number(visible=False, elem_id="data-job"),
        "timer": gr.Timer(FOLLOW_SECONDS, active=False),
        "progress": gr.HTML(visible=False, elem_id="data-progress", padding=False),
        "cancel": gr.Button(context.say("data.cancel"), size="sm", visible=False, elem_id="data-cancel"),
    }


def _import_parts(context: Context) -> dict[str, Any]:
    say = context.say
    parts: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="data-import-panel") as parts["panel"]:
        gr.HTML(f'<div class="lu-empty"><p>{say("data.teach")}</p></div>', padding=False)
        parts["sample"] = gr.Button(say("data.try_sample"), variant="primary", elem_id="data-sample")
        parts["file"] = gr.File(label=say("data.file"), file_types=FILE_TYPES, height=150, elem_id="data-file")
        with gr.Column(visible=False) as parts["form"]:
            parts["name"] = gr.Textbox(label=say("data.name"), info=say("data.name_note"), elem_id="data-name")
            shapes = [(say(f"data.shape.{shape}"), shape) for shape in SHAPES]
            parts["shape"] = gr.Dropdown(shapes, label=say("data.shape_label"), elem_id="data-shape")
            with gr.Row():
                for field in PART_OF_FIELD:
                    label = say(f"data.column.{field}")
                    parts[field] = gr.Dropdown([], label=label, visible=False, min_width=140, elem_id=f"data-{field}")
            parts["import"] = gr.Button(say("data.import"), variant="primary", elem_id="data-import")
            parts["preview"] = gr.HTML(elem_id="data-preview", padding=False)
    return parts


def _dataset_parts(context: Context) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="data-dataset-panel") as parts["panel"]:
        parts["title"] = gr.HTML(elem_id="data-title", padding=False)
        with gr.Tabs(elem_id="data-tabs"):
            with gr.Tab(context.say("data.tab.rows"), elem_id="data-tab-rows"):
                _row_parts(context, parts)
            with gr.Tab(context.say("data.tab.problems"), elem_id="data-tab-problems") as parts["problems_tab"]:
                _problem_parts(context, parts)
            with gr.Tab(context.say("data.tab.versions"), elem_id="data-tab-versions"):
                parts["versions"] = gr.HTML(elem_id="data-versions", padding=False)
                parts["version"] = gr.Dropdown([], label=context.say("data.version_label"), elem_id="data-version")
                parts["use_version"] = gr.Button(context.say("data.use_version"), elem_id="data-use-version")
    return parts


def _row_parts(context: Context, parts: dict[str, Any]) -> None:
    parts["search"] = gr.Textbox(
        show_label=False, placeholder=context.say("data.search"), max_lines=1, elem_id="data-search"
    )
    parts["start"] = gr.Number(0, visible=False)
    parts["rows"] = gr.HTML(elem_id="data-rows", padding=False)
    with gr.Row():
        parts["back"] = gr.Button(context.say("data.back"), size="sm", interactive=False, elem_id="data-back")
        parts["forward"] = gr.Button(context.say("data.forward"), size="sm", interactive=False, elem_id="data-forward")


def _problem_parts(context: Context, parts: dict[str, Any]) -> None:
    parts["problems"] = gr.HTML(elem_id="data-problems", padding=False)
    parts["problem_start"] = gr.Number(0, visible=False)
    with gr.Row():
        parts["problems_back"] = gr.Button(
            context.say("data.back"), size="sm", visible=False, elem_id="data-problems-back"
        )
        parts["problems_forward"] = gr.Button(
            context.say("data.forward"), size="sm", visible=False, elem_id="data-problems-forward"
        )
    with gr.Column(visible=False, elem_id="data-mend") as parts["mend"]:
        parts["row"] = gr.Dropdown([], label=context.say("data.mend_row"), elem_id="data-row")
        parts["raw"] = gr.Textbox(
            label=context.say("data.mend_raw"), info=context.say("data.mend_note"), lines=4, elem_id="data-raw"
        )
        parts["faults"] = gr.HTML(elem_id="data-faults", padding=False)
        with gr.Row():
            parts["save"] = gr.Button(context.say("data.save_fix"), variant="primary", elem_id="data-save-fix")
            parts["exclude"] = gr.Button(context.say("data.exclude"), elem_id="data-exclude")
            parts["exclude_all"] = gr.Button(context.say("data.exclude_all"), elem_id="data-exclude-all")


_ROWS = ("rows", "start", "back", "forward")
_PROBLEMS = ("problems", "problem_start", "problems_back", "problems_forward", "mend", "row", "raw", "faults")
_DRAWN = ("title", "search", *_ROWS, "problems_tab", *_PROBLEMS, "exclude_all", "versions", "version")


def _drawn(parts: dict[str, Any]) -> list[Any]:
    return [parts[name] for name in _DRAWN]


# -- wiring --------------------------------------------------------------------------------------------------------


def _wire_import(context: Context, parts: dict[str, Any], following: dict[str, Any]) -> None:
    columns = [parts[field] for field in PART_OF_FIELD]
    previewed = [parts["form"], parts["shape"], *columns, parts["import"], parts["preview"]]
    parts["file"].upload(bind(look, context), [parts["file"]], [parts["sample"], parts["name"], *previewed])
    parts["file"].clear(bind(forget_file, context), None, [parts["sample"], parts["form"], parts["preview"]])
    parts["shape"].input(bind(look_as, context), [parts["file"], parts["shape"]], previewed)
    for column in columns:
        column.input(bind(look_with, context), [parts["file"], parts["shape"], *columns], previewed)
    asked = [parts["file"], parts["name"], parts["shape"], *columns]
    parts["import"].click(bind(start_import, context), asked, list(following.values()))
    parts["sample"].click(bind(import_sample, context), None, list(following.values()))


def _wire_following(context: Context, parts: dict[str, Any], everything: list[Any]) -> None:
    outputs = [*parts.values(), *everything]
    parts["timer"].tick(bind(follow, context), [parts["job"]], outputs, queue=False, show_progress="hidden")
    parts["cancel"].click(bind(cancel, context), [parts["job"]], None)


def _wire_rows(context: Context, parts: dict[str, Any], name: gr.Textbox) -> None:
    given, drawn = [name, parts["search"], parts["start"]], [parts[each] for each in _ROWS]
    parts["search"].submit(bind(search_rows, context), [name, parts["search"]], drawn, show_progress="hidden")
    parts["back"].click(bind(rows_back, context), given, drawn, show_progress="hidden")
    parts["forward"].click(bind(rows_forward, context), given, drawn, show_progress="hidden")


def _wire_problems(context: Context, parts: dict[str, Any], following: dict[str, Any], name: gr.Textbox) -> None:
    given, drawn = [name, parts["problem_start"]], [parts[each] for each in _PROBLEMS]
    parts["problems_back"].click(bind(problems_back, context), given, drawn, show_progress="hidden")
    parts["problems_forward"].click(bind(problems_forward, context), given, drawn, show_progress="hidden")
    chosen = [name, parts["problem_start"], parts["row"]]
    parts["row"].input(bind(choose_row, context), chosen, [parts["raw"], parts["faults"]], show_progress="hidden")
    started = list(following.values())
    parts["save"].click(bind(save_fix, context), [name, parts["row"], parts["raw"]], [parts["faults"], *started])
    parts["exclude"].click(bind(exclude_row, context), [name, parts["row"]], started)
    parts["exclude_all"].click(bind(exclude_all, context), [name], started)


def _wire_versions(context: Context, parts: dict[str, Any], everything: list[Any], name: gr.Textbox) -> None:
    parts["use_version"].click(bind(use_version, context), [name, parts["version"]], everything)


# -- opening -------------------------------------------------------------------------------------------------------


def open_page(context: Context, request: gr.Request) -> list[Any]:
    """The page as its address asks, and an import that is under way."""
    asked = dict(request.query_params).get("dataset") if request else None
    with context.registry.session() as session:
        live = [job for job in jobs.list_jobs(session, kinds=("prepare",), states=LIVE | WAITING)]
    following = _follow_values(context, live[0].id) if live else _idle()
    return [*following, *open_dataset(context, asked)]


def open_dataset(context: Context, name: str | None) -> list[Any]:
    """Everything below the progress line for the data set `name`, or for the newest, or the empty page."""
    with context.registry.session() as session:
        known = datasets.list_datasets(session)
    if not known:
        shut, opened = gr.update(visible=False), gr.update(visible=True)
        return [shut, gr.skip(), opened, shut, "", *[gr.skip()] * len(_DRAWN)]
    chosen = next((each for each in known if each.name == name), None)
    missing = notice(_unknown(context, name, known), "warn") if name and not chosen else ""
    chosen = chosen or known[0]
    head = [
        gr.update(visible=True),
        gr.update(choices=_choices(context, known), value=chosen.name),
        gr.update(visible=False),
        gr.update(visible=True),
        chosen.name,
    ]
    return head + _draw(context, chosen, note=missing)


def relist(context: Context, query: dict[str, str]) -> Any:
    """The list on the left after something changed in the registry."""
    with context.registry.session() as session:
        known = datasets.list_datasets(session)
    return gr.update(choices=_choices(context, known))


def show_import(context: Context) -> list[Any]:
    """An empty import form in the place of the data set."""
    panel = gr.update(visible=True)
    return [panel, gr.update(value=None), *forget_file(context), gr.update(visible=False), gr.update(value=None)]


def _choices(context: Context, known: list[DatasetSummary]) -> list[tuple[str, str]]:
    return [(_label(context, each), each.name) for each in known]


def _label(context: Context, each: DatasetSummary) -> str:
    parts = [
        each.name,
        context.say("data.rows_chip", count=each.rows),
        context.say("data.version", number=each.version),
    ]
    if each.problems:
        parts.append("▲ " + context.say("data.problems_chip", count=each.problems))
    return " · ".join(parts)


def _unknown(context: Context, name: str, known: list[DatasetSummary]) -> str:
    return UnknownName("data.unknown", name=name, known=", ".join(each.name for each in known[:10])).message(
        context.language
    )


def _draw(context: Context, chosen: DatasetSummary, *, note: str = "") -> list[Any]:
    """Values for `_DRAWN`."""
    folder = Path(chosen.path)
    if not folder.exists():
        return [notice(_damaged(context, folder), "bad")] + [gr.skip()] * (len(_DRAWN) - 1)
    every = _versions(context, chosen.name)
    tab = context.say("data.tab.problems") + (f" ({chosen.problems:,})" if chosen.problems else "")
    return [
        note + view.title_html(context, chosen),
        "",
        *_rows_at(context, chosen, "", 0),
        gr.update(label=tab),
        *_problems_at(context, chosen, 0),
        gr.update(visible=chosen.problems > 1),
        view.versions_html(context, every),
        gr.update(choices=[each.version for each in every], value=chosen.version),
    ]


def _damaged(context: Context, folder: Path) -> str:
    return RefusedInput("data.version_damaged", folder=str(folder)).message(context.language)


def _versions(context: Context, name: str) -> list[DatasetSummary]:
    with context.registry.session() as session:
        return datasets.versions(session, name)


def _dataset(context: Context, name: str) -> DatasetSummary:
    with context.registry.session() as session:
        return datasets.dataset(session, name)


# -- importing -----------------------------------------------------------------------------------------------------


def look(context: Context, path: str) -> list[Any]:
    """A file has been dropped: its name, its shape, its first rows."""
    return [gr.update(visible=False), view.suggested_name(path), *_looked(context, path)]


def look_as(context: Context, path: str, shape: str) -> list[Any]:
    """The same file as another shape, its columns found again."""
    return _looked(context, path, shape=shape)


def look_with(context: Context, path: str, shape: str | None, *columns: str | None) -> list[Any]:
    """The same file with columns that a person chose."""
    shape = shape or ("chat" if columns[0] else "prompt_completion")
    return _looked(context, path, shape=shape, columns=_mapping(shape, columns))


def forget_file(context: Context) -> list[Any]:
    return [gr.update(visible=True), gr.update(visible=False), ""]


def start_import(context: Context, path: str | None, name: str, shape: str | None, *columns: str | None) -> list[Any]:
    """Queue the import; returns what follows it."""
    if not path:
        raise RefusedInput("data.no_file_chosen")
    mapping = _mapping(shape, columns) if shape else None
    job_id = context.desk.import_dataset(path, name, shape=shape, columns=mapping, original_name=Path(path).name)
    return _follow_values(context, job_id)


def import_sample(context: Context) -> list[Any]:
    """The starter questions and answers, or where they were not fetched, the sample in the page's language."""
    starter = context.desk.workspace.starter_data / "trivia.jsonl"
    source, name = starter, "trivia"
    if not starter.exists():
        source, name = SAMPLES / f"chat.{context.language}.jsonl", "support-desk"
    return _follow_values(context, context.desk.import_dataset(source, name))


def _looked(context: Context, path: str, **chosen: Any) -> list[Any]:
    """Values for the import form; a refused file or mapping shows its sentence there and closes the button."""
    try:
        seen = preview(Path(path), original_name=Path(path).name, limit=PREVIEW_ROWS, **chosen)
    except StudioError as error:
        kept = [gr.skip()] * (1 + len(PART_OF_FIELD))
        words = notice(error.message(context.language), "bad")
        return [gr.update(visible=True), *kept, gr.update(interactive=False), words]
    shape = seen.choice.shape if seen.choice else None
    fields = [_column_field(seen, field) for field in PART_OF_FIELD]
    button = gr.update(interactive=seen.choice is not None)
    return [gr.update(visible=True), gr.update(value=shape), *fields, button, view.preview_html(context, seen)]


def _column_field(seen: Preview, field: str) -> Any:
    parts = set(PART_OF_FIELD[field])
    if seen.choice is None:
        return gr.update(choices=["", *seen.all_columns], value="", visible=field not in ("input", "system"))
    shape = seen.choice.shape
    column = next((column for column, part in seen.choice.columns.items() if part in parts), "")
    is_offered = bool(parts & {*REQUIRED_PARTS[shape], *OPTIONAL_PARTS[shape]})
    known = column if column in seen.all_columns else ""
    return gr.update(choices=["", *seen.all_columns], value=known, visible=is_offered)


def _mapping(shape: str, columns: tuple[str | None, ...]) -> dict[str, str]:
    """Column -> part, from the form's fields in their order."""
    parts = {*REQUIRED_PARTS[shape], *OPTIONAL_PARTS[shape]}
    mapping = {}
    for column, names in zip(columns, PART_OF_FIELD.values(), strict=True):
        part = next((name for name in names if name in parts), None)
        if column and part:
            if column in mapping:
                raise RefusedInput("data.column_twice", column=column)
            mapping[column] = part
    return mapping


# -- following a job -----------------------------------------------------------------------------------------------


def follow(context: Context, job_id: float | None) -> list[Any]:
    """One look at the import; when it has ended, the data set it made."""
    rest = 5 + len(_DRAWN)
    if not job_id:
        return [*_idle(), *[gr.skip()] * rest]
    job = _job(context, int(job_id))
    values = _progress(context, job)
    if job.state != "succeeded":
        return [*values, *[gr.skip()] * rest]
    return [*values, *open_dataset(context, job.values["name"])]


def cancel(context: Context, job_id: float | None) -> None:
    if job_id:
        context.desk.stop(int(job_id), now=True)


def _job(context: Context, job_id: int) -> JobView:
    with context.registry.session() as session:
        return jobs.job(session, job_id)


def _follow_values(context: Context, job_id: int) -> list[Any]:
    """What follows a job just queued: the timer runs, and its looks find out how it ends."""
    started = _progress(context, _job(context, job_id))
    return [job_id, gr.Timer(active=True), *started[2:]]


def _progress(context: Context, job: JobView) -> list[Any]:
    """The following parts for one snapshot of the job."""
    is_live = job.state in LIVE | WAITING
    html = view.job_html(context, job)
    progress = gr.update(value=html, visible=bool(html))
    return [job.id if is_live else None, gr.Timer(active=is_live), progress, gr.update(visible=is_live)]


def _idle() -> list[Any]:
    shut = gr.update(visible=False)
    return [None, gr.Timer(active=False), shut, shut]


# -- rows ----------------------------------------------------------------------------------------------------------


def search_rows(context: Context, name: str, search: str) -> list[Any]:
    return _rows_at(context, _dataset(context, name), search, 0)


def rows_back(context: Context, name: str, search: str, start: float) -> list[Any]:
    return _rows_at(context, _dataset(context, name), search, int(start) - PAGE_ROWS)


def rows_forward(context: Context, name: str, search: str, start: float) -> list[Any]:
    return _rows_at(context, _dataset(context, name), search, int(start) + PAGE_ROWS)


def _rows_at(context: Context, chosen: DatasetSummary, search: str, start: int) -> list[Any]:
    """Values for `_ROWS`: a page of rows, and which ways there are more."""
    start = max(0, start)
    wanted = search.strip() or None
    rows = read_rows(Path(chosen.path), start=start, count=PAGE_ROWS + 1, search=wanted)
    html = view.rows_html(context, rows[:PAGE_ROWS])
    if not rows:
        html = notice(context.say("data.nothing_found", text=wanted or ""))
    more = gr.update(interactive=len(rows) > PAGE_ROWS)
    return [html, start, gr.update(interactive=start > 0), more]


# -- problems ------------------------------------------------------------------------------------------------------


def problems_back(context: Context, name: str, start: float) -> list[Any]:
    return _problems_at(context, _dataset(context, name), int(start) - PAGE_PROBLEMS)


def problems_forward(context: Context, name: str, start: float) -> list[Any]:
    return _problems_at(context, _dataset(context, name), int(start) + PAGE_PROBLEMS)


def choose_row(context: Context, name: str, start: float, row: int | None) -> list[Any]:
    """The source text of one row, and its reasons."""
    shown = read_problems(Path(_dataset(context, name).path), start=int(start), count=PAGE_PROBLEMS)
    return _mend_values(context, [each for each in shown if each.row == row])


def save_fix(context: Context, name: str, row: int | None, raw: str) -> list[Any]:
    """Check the mended text at once; only a usable row becomes a new version."""
    chosen = _ready_to_revise(context, name)
    if row is None:
        raise RefusedInput("data.no_row_chosen")
    known = read_manifest(Path(chosen.path))
    made, faults = convert_text(raw, converter(known.shape, known.columns))
    if made is None:
        html = view.faults_html(context, [fault.at(int(row), raw) for fault in faults])
        return [html, *[gr.skip()] * 4]
    return ["", *_follow_values(context, context.desk.revise_dataset(name, edits={str(int(row)): raw}))]


def exclude_row(context: Context, name: str, row: int | None) -> list[Any]:
    _ready_to_revise(context, name)
    if row is None:
        raise RefusedInput("data.no_row_chosen")
    return _follow_values(context, context.desk.revise_dataset(name, exclude=[int(row)]))


def exclude_all(context: Context, name: str) -> list[Any]:
    """Leave out every row that cannot be used; they stay listed, and can come back."""
    chosen = _ready_to_revise(context, name)
    rows = sorted({each.row for each in iterate_problems(Path(chosen.path)) if each.state == OPEN})
    return _follow_values(context, context.desk.revise_dataset(name, exclude=rows))


def _ready_to_revise(context: Context, name: str) -> DatasetSummary:
    """The current version; two changes at once would each start from it, and one would be lost."""
    with context.registry.session() as session:
        chosen = datasets.dataset(session, name)
        under_way = jobs.list_jobs(session, kinds=("prepare",), states=LIVE | WAITING)
    if any(job.values.get("name") == chosen.name for job in under_way):
        raise Conflict("data.being_changed", name=chosen.name)
    return chosen


def _problems_at(context: Context, chosen: DatasetSummary, start: int) -> list[Any]:
    """Values for `_PROBLEMS`: a page of faults, and the first of its rows in the edit box."""
    folder, start = Path(chosen.path), max(0, start)
    shown = read_problems(folder, start=start, count=PAGE_PROBLEMS)
    total = count_problems(folder)
    first = next((each.row for each in shown if each.state == OPEN), shown[0].row if shown else None)
    rows = {each.row: each for each in shown}
    choices = [(_row_label(context, each), number) for number, each in rows.items()]
    return [
        view.problems_html(context, shown, chosen.manifest.get("problem_codes", {})),
        start,
        gr.update(visible=start > 0),
        gr.update(visible=start + PAGE_PROBLEMS < total),
        gr.update(visible=bool(shown)),
        gr.update(choices=choices, value=first),
        *_mend_values(context, [each for each in shown if each.row == first]),
    ]


def _row_label(context: Context, problem: Problem) -> str:
    label = context.say("data.row", row=problem.row)
    return f"{label} ({context.say('data.excluded')})" if problem.state == EXCLUDED else label


def _mend_values(context: Context, problems: list[Problem]) -> list[Any]:
    return [problems[0].raw if problems else "", view.faults_html(context, problems)]


# -- versions ------------------------------------------------------------------------------------------------------


def use_version(context: Context, name: str, version: int | None) -> list[Any]:
    """Make an earlier version the current one; nothing is deleted."""
    _ready_to_revise(context, name)
    if version is None:
        raise RefusedInput("data.no_version_chosen")
    context.desk.rollback_dataset(name, int(version))
    return open_dataset(context, name)
