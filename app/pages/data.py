"""The data page: the data sets on the left, on the right one of them with its tabs, or the import of a new one.

What is open is in the address (`?dataset=NAME&tab=clean`). Each tab is a module of `app/data/`; this file lays them
out, hands what a person does to the tab that it was done in, and follows the job that may come of it.
"""

import json
import logging
from typing import Any

import gradio as gr

from app import dataset_view as view
from app.context import Context
from app.data import following, importing, overview
from app.data.adding import TAB as ADDING
from app.data.checking import TAB as CHECKS
from app.data.cleaning import TAB as CLEAN
from app.data.labelling import TAB as LABEL
from app.data.mixing import TAB as MIX
from app.data.panel import Pressed, State, Tab, answered, panel, told
from app.data.problems import TAB as PROBLEMS
from app.data.rows import TAB as ROWS
from app.data.splitting import TAB as SPLIT
from app.data.versions import TAB as VERSIONS
from app.markup import heading, notice
from app.pages.shell import bind, query_of, redraw_on_change
from app.rewards.building import TAB as REWARD
from studio.db import datasets
from studio.db.datasets import DatasetSummary
from studio.errors import StudioError

TABS: tuple[Tab, ...] = (ROWS, PROBLEMS, CLEAN, CHECKS, SPLIT, MIX, ADDING, VERSIONS, LABEL, REWARD)
_log = logging.getLogger(__name__)
_NAMED = {tab.name: tab for tab in TABS}

_REMEMBER = """() => {
    let last = null;
    const put = (name, value) => {
        const address = new URL(location);
        address.searchParams.set(name, value);
        history.replaceState(null, '', address);
    };
    new MutationObserver(() => {
        const shown = document.querySelector('#data-title [data-dataset]')?.dataset.dataset;
        if (!shown || shown === last) return;
        last = shown;
        put('dataset', shown);
    }).observe(document.body, {childList: true, subtree: true, attributeFilter: ['data-dataset']});
}"""
"""Keeps the address at what is open. It watches the page, for a script chained to a handler runs before its answer."""


def build(context: Context) -> None:
    """Lay the page out and wire it."""
    gr.HTML(heading(context.say("data.title"), context.say("data.lead")), padding=False)
    with gr.Row(equal_height=False, elem_id="data-columns"):
        with gr.Column(scale=1, min_width=240, visible=False, elem_id="data-left") as left:
            listed = panel("data-datasets")
            add_button = gr.Button(context.say("data.add"), elem_id="data-add")
        with gr.Column(scale=4, min_width=320, elem_id="data-right"):
            followed = following.parts(context)
            imported = importing.parts(context)
            shown = _dataset_parts(context)
    shown = {"left": left, "listed": listed, "import": imported["panel"], **shown}
    _wire(context, followed, imported, shown)
    add_button.click(bind(show_import, context), None, [shown["import"], shown["panel"], *importing.emptied(imported)])
    redraw_on_change(context, relist, inputs=[shown["name"]], outputs=[listed])
    gr.on(None, None, js=_REMEMBER)


# -- layout --------------------------------------------------------------------------------------------------------


def _dataset_parts(context: Context) -> dict[str, Any]:
    """What shows one data set, by name; `tab.<name>` is a tab's panel and `state.<name>` what it remembers."""
    parts: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="data-dataset-panel") as parts["panel"]:
        parts["title"] = panel("data-title")
        with gr.Tabs(elem_id="data-tabs") as parts["tabs"]:
            for tab in TABS:
                label = context.say(f"data.tab.{tab.name}")
                with gr.Tab(label, id=tab.name, elem_id=f"data-tab-{tab.name}") as parts[f"label.{tab.name}"]:
                    parts[f"tab.{tab.name}"] = panel(f"data-{tab.name}")
    for tab in TABS:
        parts[f"state.{tab.name}"] = gr.Textbox("{}", visible=False, elem_id=f"data-state-{tab.name}")
    parts["name"] = gr.Textbox("", visible=False, elem_id="data-name-open")
    parts["tab"] = gr.Textbox(ROWS.name, visible=False, elem_id="data-tab-open")
    return parts


DRAWN = ("left", "listed", "import", "panel", "name", "tab", "tabs", "title", f"label.{PROBLEMS.name}")
DRAWN += tuple(f"{kind}.{tab.name}" for tab in TABS for kind in ("tab", "state"))
"""What an answer of a handler may change, in the order in which it is given; `_values` makes such answers."""


def _values(**changed: Any) -> list[Any]:
    """Values for `DRAWN`; what is not named stays as it is."""
    return [changed.get(name.replace(".", "_"), gr.skip()) for name in DRAWN]


# -- wiring --------------------------------------------------------------------------------------------------------


def _wire(context: Context, followed: dict[str, Any], imported: dict[str, Any], shown: dict[str, Any]) -> None:
    quiet = {"show_progress": "hidden"}
    job, drawn = list(followed.values()), [shown[name] for name in DRAWN]
    states = [shown[f"state.{tab.name}"] for tab in TABS]
    for tab in TABS:
        own = [shown["name"], shown[f"state.{tab.name}"]]
        shown[f"tab.{tab.name}"].select(bind(_presser(tab), context), own, [*job, *drawn], **quiet)
        address = f"() => {{ const address = new URL(location); address.searchParams.set('tab', '{tab.name}'); "
        address += "history.replaceState(null, '', address); }"
        label = shown[f"label.{tab.name}"]
        label.select(bind(_shower(tab), context), own, [shown["tab"], shown[f"tab.{tab.name}"]], **quiet)
        label.select(None, None, None, js=address)
    given = [shown["name"], shown["tab"], *states]
    shown["title"].select(bind(press_title, context), given, drawn, **quiet)
    shown["listed"].select(bind(press_list, context), None, drawn, **quiet)
    followed["timer"].tick(bind(follow, context), [followed["job"], *given], [*job, *drawn], queue=False, **quiet)
    followed["cancel"].click(bind(following.cancel, context), [followed["job"]], None)
    importing.wire(context, imported, job)
    gr.on(None, bind(open_page, context), None, [*job, *drawn], **quiet)


def _presser(tab: Tab):
    def press(context: Context, event: gr.EventData, name: str, state: str) -> list[Any]:
        return press_tab(context, tab, told(event), name, state)

    return press


def _shower(tab: Tab):
    def show(context: Context, name: str, state: str) -> list[Any]:
        if not name:
            return [tab.name, gr.skip()]
        return [tab.name, _drawn(context, tab, _dataset(context, name), _read(state))]

    return show


# -- handlers ------------------------------------------------------------------------------------------------------


def open_page(context: Context, request: gr.Request) -> list[Any]:
    """The page as its address asks, and a job of it that is under way."""
    query = query_of(request)
    job_id = following.under_way(context)
    if query.get("sample") and not job_id and not _known(context):
        job_id = importing.sample_job(context)
    followed = following.started(context, job_id) if job_id else following.idle()
    return [*followed, *open_dataset(context, query.get("dataset"), tab=query.get("tab", ""), state=_asked(query))]


def open_dataset(context: Context, name: str | None, *, tab: str = "", state: State | None = None) -> list[Any]:
    """Values for `DRAWN` that show the data set `name` from the start, or the newest, or the empty page."""
    known = _known(context)
    if not known:
        return _values(left=gr.update(visible=False), **{"import": gr.update(visible=True)}, panel=_shut(), name="")
    chosen = next((each for each in known if each.name == name), None)
    missing = overview.unknown(context, name, known) if name and not chosen else ""
    chosen = chosen or known[0]
    current = _NAMED.get(tab, ROWS)
    fresh = {f"state_{each.name}": "{}" for each in TABS} | {f"state_{current.name}": json.dumps(state or {})}
    return _values(
        left=gr.update(visible=True),
        **{"import": _shut()},
        panel=gr.update(visible=True),
        name=chosen.name,
        tab=current.name,
        tabs=gr.Tabs(selected=current.name),
        **(fresh | _shown(context, chosen, current, state or {}, note=missing, known=known)),
    )


def press_tab(context: Context, tab: Tab, done: Any, name: str, state: str) -> list[Any]:
    """Hand what a person did to its tab, and show what came of it."""
    chosen = _dataset(context, name)
    pressed: Pressed = tab.press(context, chosen, _read(state), done)
    followed = following.started(context, pressed.job) if pressed.job else [gr.skip()] * 4
    if pressed.opens:
        return [*followed, *open_dataset(context, pressed.opens)]
    kept = {f"state_{tab.name}": json.dumps(pressed.state)}
    if pressed.goto:
        other, its_state = _NAMED[pressed.goto[0]], pressed.goto[1]
        html = _drawn(context, other, chosen, its_state)
        to = {f"state_{other.name}": json.dumps(its_state), f"tab_{other.name}": html}
        return [*followed, *_values(tab=other.name, tabs=gr.Tabs(selected=other.name), **(kept | to))]
    if pressed.reopen:
        kept |= _shown(context, _dataset(context, name), tab, pressed.state)
    else:
        kept[f"tab_{tab.name}"] = _drawn(context, tab, chosen, pressed.state)
    return [*followed, *_values(**kept)]


def press_title(context: Context, event: gr.EventData, name: str, tab: str, *states: str) -> list[Any]:
    """Undo, or redo: another version becomes the one in use."""
    version = told(event).number("version")
    if version is not None:
        following.refuse_while_changing(context, name)
        context.desk.rollback_dataset(name, version)
    return again(context, name, tab, *states)


def press_list(context: Context, event: gr.EventData) -> list[Any]:
    """Another data set was chosen on the left."""
    return open_dataset(context, told(event).data.get("name"))


def follow(context: Context, job_id: float | None, name: str, tab: str, *states: str) -> list[Any]:
    """One look at the job; when it has ended well, what it made."""
    if not job_id:
        return [*following.idle(), *_values()]
    job = following.job(context, int(job_id))
    values = following.values(context, job)
    if job.state != "succeeded":
        return [*values, *_values()]
    after = following.under_way(context)
    values = following.started(context, after) if after else values
    made = job.values.get("name") or name
    if not name or (made != name and following.makes_version(job)) or job.values.get("operation") == "import":
        return [*values, *open_dataset(context, made)]
    return [*values, *again(context, name, tab, *states)]


def again(context: Context, name: str, tab: str, *states: str) -> list[Any]:
    """The open data set drawn anew, on the tab and with the states that it has."""
    current = _NAMED.get(tab, ROWS)
    state = dict(zip(_NAMED, states, strict=True))[current.name]
    return _values(**_shown(context, _dataset(context, name), current, _read(state)))


def relist(context: Context, query: dict[str, str], name: str | None) -> str:
    """The list on the left after something changed in the registry."""
    return overview.list_html(context, _known(context), name or "")


def show_import(context: Context) -> list[Any]:
    """An empty import form in the place of the data set."""
    return [gr.update(visible=True), _shut(), *importing.empty()]


# -- what is shown -------------------------------------------------------------------------------------------------


def _shown(
    context: Context,
    chosen: DatasetSummary,
    tab: Tab,
    state: State,
    *,
    note: str = "",
    known: list[DatasetSummary] | None = None,
) -> dict[str, Any]:
    """List, title and one tab; the other tabs are drawn when they are opened."""
    label = context.say("data.tab.problems") + (f" ({chosen.problems:,})" if chosen.problems else "")
    listed = answered(overview.list_html(context, known or _known(context), chosen.name))
    shown = {"listed": listed, f"label_{PROBLEMS.name}": gr.update(label=label)}
    if view.is_damaged(chosen):
        return shown | {"title": note + overview.damaged(context, chosen)}
    return shown | {
        "title": answered(note + overview.title_html(context, chosen)),
        f"tab_{tab.name}": _drawn(context, tab, chosen, state),
    }


def _drawn(context: Context, tab: Tab, chosen: DatasetSummary, state: State) -> str:
    """A tab's HTML, or in its place why there is none: the timer that may have asked shows errors nowhere."""
    try:
        return answered(tab.draw(context, chosen, state))
    except StudioError as error:
        return notice(error.message(context.language), "bad")
    except Exception:
        _log.exception("drawing %s failed", tab.name)
        return notice(context.say("errors.server.unexpected"), "bad")


def _asked(query: dict[str, str]) -> State:
    """What the address asks of the tab that it names: `?tab=rows&row=17`."""
    row = query.get("row", "")
    return {"row": int(row)} if row.isascii() and row.isdecimal() and len(row) < 18 else {}


def _known(context: Context) -> list[DatasetSummary]:
    with context.registry.session() as session:
        return datasets.list_datasets(session)


def _dataset(context: Context, name: str) -> DatasetSummary:
    with context.registry.session() as session:
        return datasets.dataset(session, name)


def _read(state: str | None) -> State:
    return json.loads(state or "{}")


def _shut() -> Any:
    return gr.update(visible=False)
