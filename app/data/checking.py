"""The Checks tab: what else to know before training, a card a question, each with its figures, rows and what to do."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from app.context import Context
from app.data import check_figures, controls, difficulty, following
from app.data.clean_cards import PAGE_FINDINGS, findings_html
from app.data.panel import Pressed, State, Tab, Told
from app.data.rows import showing
from app.markup import chip, notice
from studio.db import datasets, labels, models
from studio.db.datasets import DatasetSummary
from studio.errors import RefusedInput
from studio.workshop import recipe as recipes
from studio.workshop import reports
from studio.workshop.labelling import taught
from studio.workshop.recipe import CHECKS

EXAMPLES = 3
MOST_EXCLUDED = 100_000
EXCLUDES = ("quality", "disagreement", "style", "leakage")
"""Checks whose rows can be left out with one press."""


@dataclass(frozen=True)
class Answer:
    """What one check found, and where its rows are listed."""

    figures: dict[str, Any]
    folder: Path


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: against (a data set), model, found (check, start), said, and what `difficulty` keeps."""
    say = context.say
    answers = _answers(context, chosen, state)
    known = any(answers.values())
    every = controls.button(
        "check", say("data.checks.again" if known else "data.checks.do"), kind="" if known else "primary"
    )
    cards = "".join(_card(context, chosen, name, answers[name], state) for name in CHECKS)
    lead = f"<p>{escape(say('data.checks.lead'))}</p>"
    return notice(state.get("said", "")) + lead + controls.buttons(every) + cards


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    desk, name = context.desk, f"{chosen.name}@{chosen.version}"
    state = {key: value for key, value in state.items() if key != "said"}
    match told.do:
        case "check":
            return Pressed(state, job=desk.check_dataset(name))
        case "against":
            other = told.text("against")
            job = desk.check_dataset(name, ["leakage"], against=other) if other else None
            return Pressed({**state, "against": other}, job=job)
        case "model":
            return _measured(context, name, {**state, "model": told.text("model")})
        case "balance":
            return Pressed(state, job=desk.balance_dataset(chosen.name))
        case "teach":
            return Pressed(state, job=desk.teach_quality(name))
        case "scorer" | "ask" | "order":
            return difficulty.press(context, chosen, state, told)
        case "split" | "clean" | "label":
            return Pressed(state, goto=(told.do, {"unfold": "noise"} if told.do == "clean" else {}))
        case "exclude":
            return _excluded(context, chosen, state, told)
        case "row":
            return Pressed(state, goto=("rows", showing([told.number("row") or 0])))
    return Pressed(_browsed(state, told))


TAB = Tab("checks", draw, press)


# -- acts ----------------------------------------------------------------------------------------------------------


def _measured(context: Context, name: str, state: State) -> Pressed:
    """Token lengths under a model; its tokenizer reads the rows first where it never has."""
    if not state["model"]:
        return Pressed(state)
    try:
        return Pressed(state, job=context.desk.check_dataset(name, ["lengths"], model=state["model"]))
    except RefusedInput as error:
        if error.code != "data.check.not_measured":
            raise
    said = context.say("data.checks.measuring", model=state["model"])
    return Pressed({**state, "said": said}, job=context.desk.inspect(state["model"], name))


def _excluded(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """Leave out every row that a check names."""
    check = told.data.get("check", "")
    answer = _answers(context, chosen, state).get(check)
    if answer is None or check not in EXCLUDES:
        raise RefusedInput("data.cleaning.no_report")
    following.refuse_while_changing(context, chosen.name)
    found = reports.read_findings(answer.folder, start=0, count=MOST_EXCLUDED, step=check)
    rows = sorted({each.row for each in found})
    return Pressed(state, job=context.desk.revise_dataset(chosen.name, exclude=rows))


def _browsed(state: State, told: Told) -> State:
    found = state.get("found") or {}
    match told.do:
        case "found":
            return {**state, "found": {"check": told.data.get("check"), "start": 0}}
        case "hide_found":
            return {**state, "found": None}
        case "back" | "forward":
            turn = PAGE_FINDINGS * (-1 if told.do == "back" else 1)
            return {**state, "found": {**found, "start": max(0, found.get("start", 0) + turn)}}
    return state


# -- what is known -------------------------------------------------------------------------------------------------


def _answers(context: Context, chosen: DatasetSummary, state: State) -> dict[str, Answer | None]:
    """Each check's newest answer about this version: of its own run where it had one, else of the run of all."""
    workspace, folder = context.desk.workspace, Path(chosen.path)
    every = reports.find_check(workspace, folder, list(recipes.checks(None, {})), {})
    figures = reports.read_checks(every) if every else {}
    answers = {name: Answer(figures[name], every) if every and name in figures else None for name in CHECKS}
    against = _dataset(context, state.get("against"))
    if against is not None:
        own = reports.find_check(workspace, folder, ["leakage"], {}, against_folder=Path(against.path))
        answers["leakage"] = Answer(reports.read_checks(own)["leakage"], own) if own else None
    if state.get("model"):
        own = reports.find_check(workspace, folder, ["lengths"], {}, model=state["model"])
        answers["lengths"] = Answer(reports.read_checks(own)["lengths"], own) if own else answers["lengths"]
    if own := difficulty.kept(context, chosen, state):
        answers["difficulty"] = Answer(reports.read_checks(own)["difficulty"], own)
    return answers


def _dataset(context: Context, name: str | None) -> DatasetSummary | None:
    with context.registry.session() as session:
        return next((each for each in datasets.list_datasets(session) if each.name == name), None)


# -- what is shown -------------------------------------------------------------------------------------------------


def _card(context: Context, chosen: DatasetSummary, check: str, answer: Answer | None, state: State) -> str:
    say = context.say
    title = escape(say(f"data.checks.{check}.title"))
    question = f'<p class="lu-note">{escape(say(f"data.checks.{check}.help"))}</p>'
    chooser = _chooser(context, chosen, check, state)
    if answer is None:
        inner = f"<h3>{title}</h3>{question}{chooser}{_teaching(context, chosen, check)}"
        return f'<section class="lu-card lu-step" data-check="{check}">{inner}</section>'
    count = reports.count_findings(answer.folder, step=check)
    verdict, tone, figures = check_figures.told(context, check, answer.figures, count)
    icon = "✓" if tone == "good" else "▲" if tone == "warn" else "ⓘ"
    return (
        f'<section class="lu-card lu-step" data-check="{check}"><h3>{title} {chip(f"{icon} {verdict}", tone)}</h3>'
        f"{question}{figures}{_rows_html(context, chosen, answer, check, state)}{chooser}"
        f"{_remedy(context, check, answer, count, tone, has_chooser=bool(chooser))}"
        f"{_teaching(context, chosen, check)}</section>"
    )


def _rows_html(context: Context, chosen: DatasetSummary, answer: Answer, check: str, state: State) -> str:
    """The rows that a check names: a few, or page by page."""
    if check == "difficulty":
        return difficulty.scores_html(context, chosen, answer.folder, state)
    count = reports.count_findings(answer.folder, step=check)
    if not count:
        return ""
    say, listed = context.say, state.get("found") or {}
    is_open = listed.get("check") == check
    start = listed.get("start", 0) if is_open else 0
    size = PAGE_FINDINGS if is_open else EXAMPLES
    shown = reports.read_findings(answer.folder, start=start, count=size, step=check)
    lines = findings_html(context, chosen, shown)
    if not is_open:
        more = controls.button("found", say("data.clean.show_all", count=count), kind="link", check=check)
        return lines + (more if count > EXAMPLES else "")
    place = say("data.rows.place_of", first=start + 1, last=start + len(shown), total=count)
    turn = controls.pager(
        say("data.back"), say("data.forward"), place, has_back=start > 0, has_forward=start + size < count
    )
    return lines + turn + controls.button("hide_found", say("data.problems.hide_rows"), kind="link")


def _chooser(context: Context, chosen: DatasetSummary, check: str, state: State) -> str:
    """What a check can be asked about besides: a second data set, a model."""
    say = context.say
    if check == "difficulty":
        return difficulty.chooser(context, chosen, state)
    with context.registry.session() as session:
        if check == "leakage":
            names = [each.name for each in datasets.list_datasets(session) if each.name != chosen.name]
            field, nothing = "against", say("data.checks.no_other")
        elif check == "lengths":
            names = [each.name for each in models.list_models(session)]
            field, nothing = "model", say("data.checks.no_model")
        else:
            return ""
    if not names:
        return ""
    choices = [(nothing, ""), *((name, name) for name in names)]
    label = say(f"data.checks.{field}")
    return controls.form(controls.select(field, label, choices, state.get(field) or "", change=field))


def _teaching(context: Context, chosen: DatasetSummary, check: str) -> str:
    """That the quality check can learn from the marks of the labelling rounds, and how good it is at it."""
    if check != "quality":
        return ""
    say, known = context.say, taught.find(context.desk.workspace, chosen.name)
    told = ""
    if known:
        made = known[0]
        told = say("data.marks.taught", kept=made.kept, dropped=made.dropped, percent=f"{100 * made.accuracy:.0f}")
    with context.registry.session() as session:
        has_rounds = bool(labels.list_rounds(session, chosen.name))
    acts = [
        controls.button("teach", say("data.marks.teach_again" if known else "data.marks.teach")) if has_rounds else "",
        controls.button("clean", say("data.marks.to_clean")) if known else "",
        "" if has_rounds else controls.button("label", say("data.marks.to_label"), kind="link"),
    ]
    note = say("data.marks.teach_note")
    return f'<p class="lu-note">{escape(told or note)}</p>' + controls.buttons(*acts)


def _remedy(context: Context, check: str, answer: Answer, count: int, tone: str, *, has_chooser: bool) -> str:
    """What to do about it: a button where there is one, always a sentence where something is to be done."""
    say = context.say
    if tone == "good":
        return ""
    if check_figures.needs_split(check, answer.figures):
        return controls.buttons(controls.button("split", say("data.checks.to_split")))
    todo = "without_model" if check == "lengths" and not has_chooser else "todo"
    words = f"<p>{escape(say(f'data.checks.{check}.{todo}'))}</p>"
    acts = []
    if check == "balance" and answer.figures.get("added"):
        acts.append(controls.button("balance", say("data.checks.balance.do", count=answer.figures["added"])))
    if check == "difficulty":
        acts.append(controls.button("order", say("data.checks.difficulty.do")))
    if check == "leakage":
        acts.append(controls.button("split", say("data.checks.leakage.do")))
    if check in EXCLUDES and count:
        rows = answer.figures.get("rows_named") or count
        acts.append(controls.button("exclude", say("data.checks.exclude", count=rows), check=check))
    return words + controls.buttons(*acts)
