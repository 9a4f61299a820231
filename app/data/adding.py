"""The tab "Add rows": questions in other words for small data sets; below, folded, rows that a model writes.

Both are off until a person presses the button. The new rows are shown beside those that they were made from, and can
be taken back one by one or all together.
"""

from html import escape
from pathlib import Path

from app.context import Context
from app.data import candidates, controls, following, new_rows, options
from app.data.panel import Pressed, State, Tab, Told
from app.data.rows import showing
from app.markup import notice
from studio.db.datasets import DatasetSummary
from studio.workshop import recipe as recipes
from studio.workshop.adding.augmenting import AUGMENT, MOST_ROWS, STEP
from studio.workshop.versions.finding import added

FIRST_OPTIONS = ("synonyms", "rephrase", "per_row")
"""Shown at once; the others are folded."""


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: options (of the new wordings), start (of the new rows), and what `candidates` keeps."""
    return (
        _wordings_html(context, chosen, state)
        + new_rows.new_rows_html(context, chosen, state)
        + candidates.written_html(context, chosen, state)
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    name = chosen.name
    match told.do:
        case "augment":
            wanted = options.entered(recipes.options_of(STEP, AUGMENT), told.fields)
            job = context.desk.augment_dataset(name, wanted)
            return Pressed({**state, "options": wanted, "start": 0}, job=job)
        case "take_back":
            row = told.number("row")
            return Pressed(state, job=context.desk.revise_dataset(name, exclude=[row] if row else []))
        case "take_all_back":
            rows = [row for row, _ in added(Path(chosen.path))]
            return Pressed(state, job=context.desk.revise_dataset(name, exclude=rows))
        case "undo":
            following.refuse_while_changing(context, name)
            context.desk.rollback_dataset(name, told.number("version") or chosen.version)
            return Pressed(state, reopen=True)
        case "row":
            return Pressed(state, goto=("rows", showing([told.number("row") or 0])))
        case "back" | "forward" if told.data.get("list") == new_rows.LIST:
            turn = new_rows.PAGE_ROWS * (-1 if told.do == "back" else 1)
            return Pressed({**state, "start": max(0, state.get("start", 0) + turn)})
    return candidates.press(context, chosen, state, told)


TAB = Tab("adding", draw, press)


def _wordings_html(context: Context, chosen: DatasetSummary, state: State) -> str:
    """The card of new wordings: its options and the button, or why it is not offered."""
    say = context.say
    title = f"<h3>{escape(say('data.augment.title'))}</h3>"
    if chosen.rows > MOST_ROWS:
        why = say("errors.data.augment.too_many", rows=f"{chosen.rows:,}", most=f"{MOST_ROWS + 1:,}")
        return f'<section class="lu-card lu-step">{title}{notice(why)}</section>'
    infos, values = recipes.options_of(STEP, AUGMENT), state.get("options", {})
    shown = [
        options.fields_html(context, "augment.option", [each for each in infos if is_first(each)], values, change="")
        for is_first in (lambda info: info.name in FIRST_OPTIONS, lambda info: info.name not in FIRST_OPTIONS)
    ]
    first, more = (f'<div class="lu-form lu-options">{fields}</div>' for fields in shown)
    form = controls.form(
        first,
        controls.fold(say("data.clean.options"), more, key="augment-options"),
        controls.buttons(controls.button("augment", say("data.augment.button"), kind="primary")),
    )
    note = f'<p class="lu-note">{escape(say("data.augment.help"))}</p>'
    return f'<section class="lu-card lu-step" data-step="{STEP}">{title}{note}{form}</section>'
