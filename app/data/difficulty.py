"""What the card Difficulty shows besides its figures: a model that may be asked too, and every row with its score.

State of the tab: scorer ("model:starter", "checkpoint:4" or empty), four_bit, and found (which list is open).
"""

from html import escape
from pathlib import Path
from typing import Any

from app.context import Context
from app.data import controls
from app.data.clean_cards import PAGE_FINDINGS
from app.data.panel import Pressed, State, Told
from app.i18n import number_text
from app.markup import table
from app.pages.checkpoints import column_choices, column_of
from studio.db import checkpoints, models
from studio.db.datasets import DatasetSummary
from studio.desk_scoring import CHECK, difficulty_place, scorer_of
from studio.errors import UnknownName
from studio.workshop import reports
from studio.workshop.row_losses import FORMATS
from studio.workshop.versions.finding import excerpts

BASE = "model:"


def settings(state: State) -> dict[str, Any]:
    """The model that was chosen, as the desk wants it; nothing where none was."""
    chosen = state.get("scorer")
    if not chosen:
        return {}
    return {"model": column_of(chosen), "load_in_4bit": bool(state.get("four_bit")) and chosen.startswith(BASE)}


def kept(context: Context, chosen: DatasetSummary, state: State) -> Path | None:
    """The check's answer with the chosen model's losses, if it was asked."""
    asked = settings(state)
    if not asked:
        return None
    try:
        with context.registry.session() as session:
            scorer = scorer_of(session, asked["model"], load_in_4bit=asked["load_in_4bit"])
    except UnknownName:
        return None
    return reports.whole(difficulty_place(context.desk.workspace, chosen, scorer))


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """`scorer`: a model was chosen; `ask`: it is to be asked; `order`: the scores are to stay with the rows."""
    if told.do in ("scorer", "ask") and "scorer" in told.fields:
        state = {**state, "scorer": told.text("scorer"), "four_bit": bool(told.fields.get("four_bit"))}
    asked = settings(state)
    if told.do == "ask" and asked:
        name = f"{chosen.name}@{chosen.version}"
        return Pressed(state, job=context.desk.check_difficulty(name, **asked))
    if told.do == "order":
        known = asked if kept(context, chosen, state) else {}
        return Pressed(state, job=context.desk.order_dataset(chosen.name, **known))
    return Pressed(state)


def chooser(context: Context, chosen: DatasetSummary, state: State) -> str:
    """Which model to ask besides, and the button that asks it unless its answer is there."""
    say = context.say
    if chosen.format not in FORMATS:
        return ""
    with context.registry.session() as session:
        bases, saved = [each.name for each in models.list_models(session)], checkpoints.list_checkpoints(session)
    choices = column_choices(context, bases, saved)
    if not choices:
        return ""
    value = state.get("scorer") or ""
    select = controls.select(
        "scorer", say("data.difficulty.scorer"), [(say("data.difficulty.nobody"), ""), *choices], value, change="scorer"
    )
    if value not in [each for _, each in choices]:
        return controls.form(select)
    squeeze = ""
    if value.startswith(BASE):
        words, note = say("data.difficulty.four_bit"), say("data.difficulty.four_bit_note")
        squeeze = controls.checkbox("four_bit", words, bool(state.get("four_bit")), note=note, change="scorer")
    if kept(context, chosen, state):
        return controls.form(select, squeeze)
    note = f'<p class="lu-note">{escape(say("data.difficulty.ask_note"))}</p>'
    return controls.form(select, squeeze, note, controls.buttons(controls.button("ask", say("data.difficulty.ask"))))


def told_html(context: Context, losses: dict[str, Any] | None) -> str:
    """What asking the model came to, in sentences."""
    if not losses:
        return ""
    say, left_out = context.say, sum(losses["left_out"].values())
    lines = [
        say("data.difficulty.asked", model=losses["model"], count=losses["scored"], loss=number_text(losses["loss"]))
    ]
    if losses.get("carried"):
        lines.append(say("data.difficulty.carried", count=losses["carried"]))
    if losses["cut"]:
        lines.append(say("data.difficulty.cut", count=losses["cut"], max_length=losses["max_length"]))
    if left_out:
        lines.append(say("data.difficulty.left_out", count=left_out))
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def scores_html(context: Context, chosen: DatasetSummary, folder: Path, state: State) -> str:
    """Every row with its score, hardest first, a page at a time; a link while that is shut."""
    say, found = context.say, state.get("found") or {}
    if not reports.has_scores(folder):
        return ""
    if found.get("check") != CHECK:
        return controls.button("found", say("data.difficulty.every"), kind="link", check=CHECK)
    start = found.get("start", 0)
    lines, total = reports.read_scores(folder, start=start, count=PAGE_FINDINGS)
    texts = excerpts(Path(chosen.path), [each["row"] for each in lines], chosen.format)
    has_loss = bool(lines) and "loss" in lines[0]
    heads = [
        say(f"data.difficulty.column.{name}") for name in ("row", "score", *(["loss"] if has_loss else []), "text")
    ]
    cells = [
        [
            controls.button("row", say("data.row", row=each["row"]), kind="link", row=each["row"]),
            f"{each['difficulty']:.2f}",
            *([_two_places(each["loss"])] if has_loss else []),
            escape(texts.get(each["row"], "")),
        ]
        for each in lines
    ]
    place = say("data.rows.place_of", first=start + 1, last=start + len(lines), total=total)
    more = start + PAGE_FINDINGS < total
    turn = controls.pager(say("data.back"), say("data.forward"), place, has_back=start > 0, has_forward=more)
    return table(heads, cells) + turn + controls.button("hide_found", say("data.problems.hide_rows"), kind="link")


def _two_places(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.2f}"
