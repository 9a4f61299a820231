"""The list of runs: found by words, narrowed by state, tag, model and data, a page at a time, several ticked at once.

`bar(context, state)` are the filters, `draw(context, state)` the table, `press(context, state, told)` what a press in
either leaves as state: {state, tag, model, dataset, archived, order, start, ticked, asks}.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import bytes_text, page_path
from app.markup import empty_page, link, notice, table
from app.run_view import run_cells, run_columns
from app.series import MAX_RUNS
from studio.db import jobs, runs
from studio.db.jobs import JobView
from studio.db.runs import Choices, Page, Wanted
from studio.errors import StudioError
from studio.jobs.lifecycle import STATES

PAGE_RUNS = 50
FILTERS = ("state", "tag", "model", "dataset")
State = dict[str, Any]


def from_query(query: dict[str, str]) -> State:
    """The state that an address asks for: `?tag=rates&state=failed&archived=1`."""
    state: State = {name: query[name] for name in FILTERS if query.get(name)}
    return state | ({"archived": True} if query.get("archived") else {})


def wanted(state: State, text: str = "") -> Wanted:
    return Wanted(
        text=text.strip(),
        is_archived=bool(state.get("archived")),
        is_largest_first=state.get("order") == "largest",
        **{name: str(state.get(name, "")) for name in FILTERS},
    )


# -- the filters -----------------------------------------------------------------------------------------------------


def bar(context: Context, state: State) -> str:
    """Drop-downs for what can be chosen between; nothing while there are no runs."""
    with context.registry.session() as session:
        known = runs.choices(session)
    if not known.num_runs and not known.num_archived:
        return ""
    fields = [_filter(context, name, offered, state) for name, offered in _offered(context, known).items()]
    orders = [(context.say(f"runs.list.order.{each}"), each) for each in ("newest", "largest")]
    label = context.say("runs.list.order.label")
    fields.append(controls.select("order", label, orders, _order(state), change="filter", hides_label=True))
    if known.num_archived or state.get("archived"):
        words = context.say("runs.list.archived", count=known.num_archived)
        fields.append(controls.checkbox("archived", words, bool(state.get("archived")), change="filter"))
    if any(state.get(name) for name in (*FILTERS, "archived")):
        fields.append(controls.button("all", context.say("runs.list.all"), kind="link"))
    return controls.form(*fields, classes="lu-runs-bar")


def _order(state: State) -> str:
    return "largest" if state.get("order") == "largest" else "newest"


def _offered(context: Context, known: Choices) -> dict[str, list[tuple[str, str]]]:
    return {
        "state": [(context.say(f"common.state.{each}"), each) for each in STATES],
        "tag": [(each, each) for each in known.tags],
        "model": [(each, each) for each in known.models],
        "dataset": [(each, each) for each in known.datasets],
    }


def _filter(context: Context, name: str, offered: list[tuple[str, str]], state: State) -> str:
    """One drop-down; none where there is nothing to choose between."""
    chosen = str(state.get(name, ""))
    if len(offered) < (1 if name == "tag" else 2) and not chosen:
        return ""
    if chosen and chosen not in [value for _, value in offered]:
        offered = [*offered, (chosen, chosen)]
    every = (context.say(f"runs.list.every.{name}"), "")
    label = context.say(f"runs.list.by.{name}")
    return controls.select(name, label, [every, *offered], chosen, change="filter", hides_label=True)


# -- the table -------------------------------------------------------------------------------------------------------


def draw(context: Context, state: State, text: str = "", *, now: datetime | None = None) -> str:
    """One page of the runs that fit."""
    asked, start = wanted(state, text), int(state.get("start", 0))
    with context.registry.session() as session:
        page = runs.find_runs(session, asked, limit=PAGE_RUNS, offset=start)
        tags = runs.tags_of(session, [job.id for job in page.runs])
    if not page.total:
        return _nothing(context, asked, state)
    rows = [_row(context, job, tags.get(job.id, []), state, now) for job in page.runs]
    listed = controls.form(table(["", *run_columns(context), context.say("runs.list.disk")], rows))
    return _chosen(context, state) + _sum(context, page, state) + listed + _pager(context, page, start)


def _nothing(context: Context, asked: Wanted, state: State) -> str:
    if replace(asked, is_largest_first=False) != Wanted():
        words = context.say("runs.none_found", text=asked.text) if asked.text else context.say("runs.list.none")
        return notice(words)
    start = link(page_path(context.language, "train"), context.say("runs.start"), classes="lu-button")
    return empty_page(context.say("runs.empty"), start)


def _row(context: Context, job: JobView, tags: Sequence[str], state: State, now: datetime | None) -> list[str]:
    """A run as cells: a box to tick, what every list of runs shows with its tags, what it holds on the disk."""
    checked = " checked" if job.id in state.get("ticked", ()) else ""
    label = escape(context.say("runs.list.tick", run=job.id))
    tick = (
        f'<input type="checkbox" name="tick-{job.id}" data-key="tick-{job.id}" data-run="{job.id}"'
        f' data-change="tick" aria-label="{label}"{checked}>'
    )
    cells = run_cells(context, job, now=now)
    cells[1] += "".join(f" {tag_link(context, tag)}" for tag in tags)
    return [tick, *cells, f'<span class="lu-num">{bytes_text(job.disk_bytes)}</span>']


def tag_link(context: Context, tag: str) -> str:
    """A tag that leads to the runs that bear it."""
    return link(page_path(context.language, "runs", tag=tag), tag, classes="lu-chip lu-soft")


def _sum(context: Context, page: Page, state: State) -> str:
    """How many fit, what they hold on the disk, and for a tag the way to see them beside each other."""
    say = context.say
    words = say("runs.list.count", count=page.total)
    if page.disk_bytes:
        words += " · " + say("runs.list.held", size=bytes_text(page.disk_bytes))
    beside = ""
    if state.get("tag") and 1 < page.total <= MAX_RUNS:
        beside = " " + _beside(context, [job.id for job in page.runs], say("runs.list.tag_beside", count=page.total))
    return f'<p class="lu-note">{escape(words)}{beside}</p>'


def _beside(context: Context, numbers: Sequence[int], words: str, classes: str = "") -> str:
    address = page_path(context.language, "runs", runs=",".join(str(number) for number in sorted(numbers)))
    return link(address, words, classes=classes)


def _chosen(context: Context, state: State) -> str:
    """What can be done with the ticked runs, or the question before files are deleted."""
    say, ticked = context.say, state.get("ticked", [])
    if not ticked:
        return ""
    named = _named(context, ticked)
    if state.get("asks"):
        held = sum(job.disk_bytes or 0 for job in named)
        names = say("common.list_comma").join(f"{job.id} · {job.title}" for job in named)
        question = say("runs.list.delete_ask", count=len(named), names=names, size=bytes_text(held))
        return notice(question, "warn") + controls.buttons(
            controls.button("delete_all", say("runs.list.delete_with"), kind="primary"),
            controls.button("delete_kept", say("runs.list.delete_without")),
            controls.button("keep", say("runs.list.keep")),
        )
    is_full = len(ticked) > MAX_RUNS
    beside = "" if is_full else _beside(context, ticked, say("runs.list.beside"), "lu-button lu-second")
    put_away = "bring_back" if state.get("archived") else "archive"
    told = f'<span class="lu-note">{escape(say("runs.list.ticked", count=len(ticked)))}</span>'
    return controls.buttons(
        told,
        beside,
        controls.button(put_away, say(f"runs.list.{put_away}")),
        controls.button("delete", say("runs.list.delete")),
        controls.button("untick", say("runs.list.untick"), kind="link"),
    )


def _named(context: Context, numbers: Sequence[int]) -> list[JobView]:
    with context.registry.session() as session:
        return jobs.by_numbers(session, numbers)


def _pager(context: Context, page: Page, start: int) -> str:
    if page.total <= PAGE_RUNS:
        return ""
    end = min(start + PAGE_RUNS, page.total)
    place = context.say("runs.list.place", first=start + 1, last=end, total=page.total)
    newer, older = context.say("runs.list.newer"), context.say("runs.list.older")
    return controls.pager(newer, older, place, has_back=start > 0, has_forward=end < page.total)


# -- presses ---------------------------------------------------------------------------------------------------------


def press(context: Context, state: State, told: Told) -> tuple[State, str]:
    """The state after a press, and what has to be said about it."""
    here = {name: value for name, value in state.items() if name != "asks"}
    ticked = list(here.get("ticked", []))
    match told.do:
        case "filter":
            kept = {name: told.text(name) for name in FILTERS if told.text(name)}
            kept |= {"order": "largest"} if told.text("order") == "largest" else {}
            return kept | ({"archived": True} if told.fields.get("archived") else {}), ""
        case "all":
            return {}, ""
        case "back" | "forward":
            start = here.get("start", 0) + (PAGE_RUNS if told.do == "forward" else -PAGE_RUNS)
            return here | {"start": max(0, start)}, ""
        case "tick" if (run := told.number("run")) is not None:
            is_on = bool(told.fields.get(f"tick-{run}"))
            return here | {"ticked": [*(each for each in ticked if each != run), *([run] if is_on else [])]}, ""
        case "delete":
            return here | {"asks": True}, ""
        case "archive" | "bring_back" | "delete_all" | "delete_kept":
            return _each(context, here, told.do)
        case "untick":
            return here | {"ticked": []}, ""
    return here, ""


def _each(context: Context, state: State, do: str) -> tuple[State, str]:
    """Do it to every ticked run that lets itself; the others stay ticked and say why."""
    left, why = [], []
    for run in state.get("ticked", []):
        try:
            if do in ("archive", "bring_back"):
                context.desk.archive(run, archived=do == "archive")
            else:
                context.desk.remove(run, keep_files=do == "delete_kept")
        except StudioError as error:
            left.append(run)
            why.append(f"{run}: {error.message(context.language)}")
    return state | {"ticked": left}, " ".join(why)
