"""Rows that were made here from other rows: each beside the one that it was made from, and the way to take it back.

new_rows_html(...)      Row 1001 · other words · from row 17     before: Where is it?   after: Where is it, please?
"""

from html import escape
from pathlib import Path

from app import dataset_view as view
from app.context import Context
from app.data import controls, words
from app.data.panel import State
from app.markup import chip, notice
from studio.db.datasets import DatasetSummary
from studio.workshop.versions.finding import Wanted, added, find_rows
from studio.workshop.versions.layout import spoken
from studio.workshop.versions.reader import Row

PAGE_ROWS = 10
OPERATIONS = ("augment", "written")
"""Of the steps that add such rows."""
LIST = "new"


def new_rows_html(context: Context, chosen: DatasetSummary, state: State) -> str:
    """The rows added so far, page by page; nothing where there are none."""
    made = added(Path(chosen.path))
    if not made:
        return ""
    say = context.say
    start = state.get("start", 0) if state.get("start", 0) < len(made) else 0
    shown = made[start : start + PAGE_ROWS]
    numbers = {number for row, origin in shown for number in (row, parent_of(origin)) if number}
    held = find_rows(Path(chosen.path), Wanted(numbers=tuple(sorted(numbers))), start=0, count=len(numbers)).rows
    known = {row.row: row for row in held}
    lines = "".join(_line(context, chosen, known, row, origin) for row, origin in shown)
    place = say("data.rows.place_of", first=start + 1, last=start + len(shown), total=len(made))
    turn = controls.pager(
        say("data.back"), say("data.forward"), place, has_back=start > 0, has_forward=start + PAGE_ROWS < len(made)
    )
    listed = controls.form(lines, turn if len(made) > PAGE_ROWS else "", list_=LIST)
    title = f'<h2 class="lu-part">{escape(context.say("data.adding.new", count=len(made)))}</h2>'
    return title + _just_added(context, chosen) + listed + _all_back(context, chosen, len(made))


def parent_of(origin: str) -> int | None:
    """`augment:synonyms:17` -> 17"""
    number = origin.rpartition(":")[2]
    return int(number) if number.isdecimal() else None


def was_just_added(chosen: DatasetSummary) -> bool:
    """Whether this version is the one that adding made, so that going back takes nothing else along."""
    steps = chosen.manifest.get("steps", [])
    return bool(steps) and steps[-1]["operation"] in OPERATIONS and chosen.parent is not None


def _just_added(context: Context, chosen: DatasetSummary) -> str:
    if not was_just_added(chosen):
        return ""
    step = chosen.manifest["steps"][-1]
    count = step["rows_out"] - step["rows_in"]
    return notice("✓ " + context.say("data.adding.done", count=count), "good")


def _all_back(context: Context, chosen: DatasetSummary, count: int) -> str:
    """Undo, or where something was done since, leaving the new rows out."""
    say = context.say
    if was_just_added(chosen):
        undo = controls.button("undo", say("data.undo", number=chosen.parent), version=chosen.parent)
        return controls.buttons(undo)
    return controls.buttons(controls.button("take_all_back", say("data.adding.take_all_back", count=count)))


def _line(context: Context, chosen: DatasetSummary, known: dict[int, Row], row: int, origin: str) -> str:
    say, parent = context.say, known.get(parent_of(origin) or 0)
    names = controls.button("row", say("data.row", row=row), kind="link", row=row)
    names += " " + chip(words.origin(context, origin), "info")
    if parent:
        source = controls.button("row", say("data.row", row=parent.row), kind="link", row=parent.row)
        names += f" ← {source}"
    back = controls.button("take_back", say("data.adding.take_back"), kind="link", row=row)
    names += f' <span class="lu-acts">{back}</span>'
    return f'<div class="lu-line" data-row="{row}"><p>{names}</p>{_texts(context, chosen, known[row], parent)}</div>'


def _texts(context: Context, chosen: DatasetSummary, row: Row, parent: Row | None) -> str:
    """What differs from the row that it was made from; the whole text where that one is gone."""
    new = _text(row, chosen.format)
    if parent is None:
        return f'<div class="lu-change">{escape(view.short(new, 500))}</div>'
    return view.change_html(context, _text(parent, chosen.format), new)


def _text(row: Row, format: str) -> str:
    return " → ".join(turn.get("content") or "" for _, turns in spoken(row, format) for turn in turns)
