"""The Rows tab: search, filter, page and go to a row; each as training reads it beside the source; edit, exclude."""

from html import escape
from pathlib import Path

from app import dataset_view as view
from app.context import Context
from app.data import controls, editing, following, judged, words
from app.data.panel import Pressed, State, Tab, Told
from app.markup import chip, notice
from studio.db.datasets import DatasetSummary
from studio.errors import RefusedInput
from studio.messages import has
from studio.workshop.versions.finding import NONE, Found, Wanted, categories, find_rows, place_of
from studio.workshop.versions.layout import SPLITS
from studio.workshop.versions.reader import Row, read_manifest

PAGE_ROWS = 10
SEARCH_SECONDS = 0.4
"""So long one answer looks for rows; the page asks again until the search is through, or stopped."""
FILTERS = ("search", "split", "category", "rating", "tag")


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: start, search, split, category, rating, tag, numbers (only these rows), row (go there), edit, faults,
    stopped (the search goes on no further)."""
    folder = Path(chosen.path)
    start = state.get("start", 0)
    if "row" in state:
        start = place_of(folder, state["row"])
    wanted = _wanted(context, chosen, state)
    found = find_rows(folder, wanted, start=start, count=PAGE_ROWS, seconds=SEARCH_SECONDS)
    listed = "".join(_row_html(context, chosen, each, state) for each in found.rows)
    if found.is_unfinished:
        listed += _searching(context, found, is_stopped=bool(state.get("stopped")))
    elif not found.rows:
        listed = notice(context.say("data.rows.nothing"))
    return _bar(context, chosen, state) + listed + _pager(context, found)


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    if told.do in ("save_turns", "save_json"):
        return _save(context, chosen, state, told)
    if told.do == "exclude":
        row = told.number("row")
        return Pressed(_browsing(state), job=context.desk.revise_dataset(chosen.name, exclude=[row] if row else []))
    return Pressed(_moved(chosen, state, told))


TAB = Tab("rows", draw, press)


def showing(numbers: list[int]) -> State:
    """The state that shows these rows only."""
    return {"numbers": numbers}


def _moved(chosen: DatasetSummary, state: State, told: Told) -> State:
    """The state after browsing: another page, other filters, an edit opened or shut."""
    here = _browsing(state)
    if "row" in here and told.do in ("back", "forward"):
        here["start"] = place_of(Path(chosen.path), here.pop("row"))
    start = here.get("start", 0)
    match told.do:
        case "back":
            return here | {"start": max(0, start - PAGE_ROWS)}
        case "forward":
            return here | {"start": start + PAGE_ROWS}
        case "filter" | "search":
            filters = {name: told.text(name) for name in FILTERS}
            return {name: value for name, value in filters.items() if value}
        case "go":
            number = told.text("go")
            return {"row": int(number)} if number.isascii() and number.isdecimal() and len(number) < 18 else here
        case "stop":
            return here | {"stopped": True}
        case "edit":
            return state | {"edit": told.number("row"), "faults": []}
        case "all":
            return {}
    return here


def _browsing(state: State) -> State:
    return {name: value for name, value in state.items() if name not in ("edit", "faults", "stopped")}


def _wanted(context: Context, chosen: DatasetSummary, state: State) -> Wanted:
    texts = {name: state.get(name, "") for name in ("search", "split", "category")}
    rating, tag = state.get("rating", ""), state.get("tag", "")
    if rating or tag:
        with context.registry.session() as session:
            return Wanted(**texts, numbers=judged.rows(session, chosen.name, rating=rating, tag=tag))
    return Wanted(**texts, numbers=tuple(state.get("numbers", ())))


def _save(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """Check the edited row at once; only a usable one becomes a new version."""
    number = told.number("row")
    if number is None:
        raise RefusedInput("data.no_row_chosen")
    following.refuse_while_changing(context, chosen.name)
    manifest = read_manifest(Path(chosen.path))
    raw = str(told.fields.get("raw", ""))
    if told.do == "save_turns":
        texts = {name: str(value) for name, value in told.fields.items() if name != "raw"}
        held = find_rows(Path(chosen.path), Wanted(numbers=(number,)), start=0, count=1).rows
        made = editing.with_texts(held[0], manifest, texts) if held else None
        if made is None:
            words = context.say("data.rows.only_json")
            return Pressed(state | {"edit": number, "faults": [words]})
        raw = made
    faults = editing.faults(raw, manifest)
    if faults:
        words = [fault.at(number, raw).message(context.language) for fault in faults]
        return Pressed(state | {"edit": number, "faults": words})
    job = context.desk.revise_dataset(chosen.name, edits={str(number): raw})
    return Pressed(_browsing(state), job=job)


# -- what is shown -------------------------------------------------------------------------------------------------


def _bar(context: Context, chosen: DatasetSummary, state: State) -> str:
    """Search, filters, go to a row; or that only some rows are shown."""
    say = context.say
    if state.get("numbers"):
        words = escape(say("data.rows.only_these", count=len(state["numbers"])))
        return f'<p class="lu-note">{words} {controls.button("all", say("data.rows.show_all"), kind="link")}</p>'
    label = say("data.rows.search")
    fields = [controls.text("search", label, state.get("search", ""), placeholder=label, enter="search", kind="search")]
    if chosen.manifest.get("splits"):
        sides = [(say("data.rows.every_side"), ""), *((say(f"data.side.{side}"), side) for side in SPLITS)]
        fields.append(
            controls.select(
                "split", say("data.rows.side"), sides, state.get("split", ""), change="filter", hides_label=True
            )
        )
    if chosen.manifest.get("categories"):
        every = [(f"{name} ({count:,})", name) for name, count in categories(Path(chosen.path))]
        every = [(say("data.rows.every_category"), ""), *every, (say("data.rows.no_category"), NONE)]
        fields.append(
            controls.select(
                "category",
                say("data.rows.category"),
                every,
                state.get("category", ""),
                change="filter",
                hides_label=True,
            )
        )
    fields += judged.filters(context, chosen, rating=state.get("rating", ""), tag=state.get("tag", ""))
    go = say("data.rows.go")
    fields.append(controls.text("go", go, "", placeholder=go, enter="go", kind="search"))
    fields.append(controls.button("search", say("data.rows.find")))
    return controls.form(*fields, classes="lu-bar-form")


def _row_html(context: Context, chosen: DatasetSummary, row: Row, state: State) -> str:
    if state.get("edit") == row.row:
        return _edit_html(context, chosen, row, state.get("faults", []))
    say = context.say
    marks = [
        chip(say(f"data.side.{row.split}"), "info") if row.split else "",
        chip(row.category) if row.category else "",
        chip(words.origin(context, row.origin), "info") if row.origin else "",
    ]
    acts = controls.button("edit", say("data.rows.edit"), kind="link", row=row.row)
    acts += controls.button("exclude", say("data.rows.exclude"), kind="link", row=row.row)
    return view.row_html(context, row, chosen.format, head="".join(marks) + f'<span class="lu-acts">{acts}</span>')


def _edit_html(context: Context, chosen: DatasetSummary, row: Row, faults: list[str]) -> str:
    """The row's texts, one field each; its source below a fold."""
    say = context.say
    told = "".join(notice(words, "warn") for words in faults)
    texts = "".join(
        controls.area(name, _speaker(context, role, column), text, rows=_lines(text), draft=f"{row.row}.{name}")
        for name, column, role, text in editing.texts(row, chosen.format)
    )
    save = controls.button("save_turns", say("data.rows.save"), kind="primary", row=row.row)
    drop = controls.button("cancel", say("data.rows.cancel"), settles=True)
    raw = controls.area(
        "raw", say("data.raw"), view.pretty(row.raw), rows=10, note=say("data.rows.json_note"), draft=f"{row.row}.raw"
    )
    save_json = controls.button("save_json", say("data.rows.save_json"), row=row.row)
    plain = controls.fold(
        say("data.rows.as_json"), raw + controls.buttons(save_json), key=f"json-{row.row}", is_open=not texts
    )
    title = escape(say("data.row", row=row.row))
    note = f'<p class="lu-note">{escape(say("data.rows.edit_note"))}</p>'
    buttons = controls.buttons(save if texts else "", drop)
    return (
        f'<article class="lu-data-row lu-edit" data-row="{row.row}">'
        + controls.form(f"<h3>{title}</h3>", note, told, texts, buttons, plain)
        + "</article>"
    )


def _speaker(context: Context, role: str, column: str) -> str:

    words = context.say(f"data.role.{role}") if has(f"data.role.{role}") else role
    return f"{context.say(f'data.answer.{column}')}: {words}" if column in ("chosen", "rejected") else words


def _lines(text: str) -> int:
    return min(14, max(2, text.count("\n") + len(text) // 90 + 1))


def _searching(context: Context, found: Found, *, is_stopped: bool) -> str:
    """How far a long search is; while it is not stopped, its button presses itself."""
    say, share = context.say, f"{100 * found.share:.0f}"
    if is_stopped:
        words, act = say("data.searching.stopped", share=share), controls.button("again", say("data.searching.go_on"))
    else:
        again = controls.button("again", say("data.searching.go_on"), again=150)
        words, act = (
            say("data.searching.share", share=share),
            controls.button("stop", say("data.searching.stop")),
        )
        act += f"<span hidden>{again}</span>"
    bar = f'<div class="lu-progress"><div style="width:{share}%"></div></div>'
    return f'<div class="lu-searching" role="status"><p>{escape(words)}</p>{bar}{controls.buttons(act)}</div>'


def _pager(context: Context, found: Found) -> str:
    say = context.say
    if not found.rows or (found.start == 0 and not found.has_more):
        return ""
    first, last = found.start + 1, found.start + len(found.rows)
    place = say("data.rows.place", first=first, last=last)
    if found.total is not None:
        place = say("data.rows.place_of", first=first, last=last, total=found.total)
    return controls.pager(
        say("data.back"), say("data.forward"), place, has_back=found.start > 0, has_forward=found.has_more
    )
