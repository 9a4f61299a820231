"""The Split tab: how many rows to hold out and by what, and what each side holds."""

from html import escape
from pathlib import Path

from app.context import Context
from app.data import controls, options
from app.data.panel import Pressed, State, Tab, Told
from app.markup import notice, table
from studio.db.datasets import DatasetSummary
from studio.workshop import recipe as recipes
from studio.workshop.versions.finding import split_counts
from studio.workshop.versions.layout import SPLITS

STEP = "split"
SHOWN_CATEGORIES = 20


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: options, those that differ from the usual ones."""
    say = context.say
    infos = recipes.options_of(STEP)
    fields = options.fields_html(context, "split.option", infos, state.get("options", {}), change="options")
    is_split = bool(chosen.manifest.get("splits"))
    press = controls.button("split", say("data.split.again" if is_split else "data.split.do"), kind="primary")
    by = say("data.split.by_category" if chosen.manifest.get("categories") else "data.split.no_category")
    sides, spread = _result_html(context, chosen)
    return (
        _warnings_html(context, chosen)
        + sides
        + f'<p>{escape(say("data.split.lead"))}</p><p class="lu-note">{escape(by)}</p>'
        + f'<div data-form class="lu-form lu-options">{fields}</div>'
        + controls.buttons(press)
        + spread
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    if told.do == "options":
        return Pressed({"options": options.entered(recipes.options_of(STEP), told.fields)})
    if told.do == "split":
        return Pressed(state, job=context.desk.split_dataset(chosen.name, state.get("options") or None))
    if told.do == "side":
        return Pressed(state, goto=("rows", {"split": told.data.get("side", "")}))
    return Pressed(state)


TAB = Tab("split", draw, press)


def _warnings_html(context: Context, chosen: DatasetSummary) -> str:
    """What the split could not do."""
    steps = [step for step in chosen.manifest.get("steps", []) if step["operation"] == STEP]
    counts = steps[-1]["parameters"].get("counts", {}) if steps else {}
    told = [
        context.say(f"data.split.{name}", count=counts[f"clean.split.{name}"])
        for name in ("no_test", "no_validation", "small_test", "small_validation")
        if f"clean.split.{name}" in counts
    ]
    return "".join(notice(line, "warn") for line in told)


def _result_html(context: Context, chosen: DatasetSummary) -> tuple[str, str]:
    """Rows a side; and how the categories are spread over the sides."""
    say = context.say
    sides = split_counts(Path(chosen.path)) if chosen.manifest.get("splits") else {}
    if not sides:
        return notice(say("data.split.none")), ""
    names = [side for side in SPLITS if side in sides]
    totals = {side: sum(sides[side].values()) for side in names}
    whole = sum(totals.values())
    lines = [
        [
            controls.button("side", say(f"data.side.{side}"), kind="link", side=side),
            f"{totals[side]:,}",
            f"{100 * totals[side] / whole:.1f} %",
        ]
        for side in names
    ]
    heads = [say("data.split.side"), say("data.split.rows"), say("data.split.share")]
    shown = f'<h2 class="lu-part">{escape(say("data.split.result"))}</h2>' + table(heads, lines)
    every = sum(sides.values(), start=type(next(iter(sides.values())))())
    if not any(every):
        return shown, ""
    spread = [
        [escape(name or say("data.rows.no_category")), *(_share(sides[side][name], totals[side]) for side in names)]
        for name, _ in every.most_common(SHOWN_CATEGORIES)
    ]
    more = len(every) - SHOWN_CATEGORIES
    note = f'<p class="lu-note">{escape(say("data.split.more_categories", count=more))}</p>' if more > 0 else ""
    heads = [say("data.rows.category"), *(say(f"data.side.{side}") for side in names)]
    return shown, table(heads, spread, caption=say("data.split.spread")) + note


def _share(count: int, total: int) -> str:
    """A category's rows on one side, and its share of that side as a bar."""
    share = 100 * count / total if total else 0
    bar = f'<i class="lu-bar-after" style="width:{share:.1f}%"></i>' if count else ""
    return f'<span class="lu-share">{bar}{count:,} · {share:.1f} %</span>'
