"""The Labelling tab: rounds of rows that people rate, correct and tag; disputes for an arbiter; what came of it.

State: round, view (mark, arbitrate, results), who, new (the form of a new round is open), take and filter as the views
use them. What is marked lies in the registry as soon as it is saved.
"""

from collections.abc import Callable
from html import escape

from app.context import Context
from app.data import controls, label_marking, label_results, label_rounds
from app.data.label_rounds import form
from app.data.panel import Pressed, State, Tab, Told
from app.markup import chip
from studio.db import datasets, labels
from studio.db import label_results as results
from studio.db.datasets import DatasetSummary
from studio.db.labels import RoundView
from studio.errors import UnknownName

MARK, ARBITRATE, RESULTS = "mark", "arbitrate", "results"
VIEWS = (MARK, ARBITRATE, RESULTS)


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    rounds = _rounds(context, chosen)
    if not rounds or state.get("new"):
        return label_rounds.new_html(context, chosen, rounds)
    current = context.desk.labelling.refresh(_chosen(rounds, state).id)
    chosen = _at(context, chosen, current)
    view = state.get("view", MARK)
    with context.registry.session() as session:
        disputed = len(results.disputed(session, current.id))
    shown = {
        MARK: label_marking.marking_html,
        ARBITRATE: label_marking.arbitration_html,
        RESULTS: label_results.results_html,
    }[view](context, chosen, current, state)
    return _head_html(context, rounds, current, disputed) + _nav_html(context, view, disputed) + shown


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """Hand what was pressed to the view that it was pressed in."""
    if told.do in ("round", "new", "cancel", "view", "who", "other"):
        return Pressed(_moved(state, told))
    if told.do == "create":
        return Pressed(_lasting(state) | {"round": label_rounds.create(context, chosen, told)})
    current = _known(context, chosen, state, told)
    acts: dict[str, Callable[[Context, RoundView, State, Told], Pressed]] = label_marking.ACTS | label_results.ACTS
    act = acts.get(told.do)
    return act(context, current, state, told) if act else Pressed(state)


TAB = Tab("label", draw, press)


def _moved(state: State, told: Told) -> State:
    """The state after turning to another round, view or annotator."""
    here = _lasting(state)
    match told.do:
        case "round":
            return here | {"round": int(told.text("round") or 0), "view": state.get("view", MARK)}
        case "new":
            return here | {"new": True}
        case "view":
            return here | {"view": told.data.get("view") if told.data.get("view") in VIEWS else MARK}
        case "who":
            return here | {"who": " ".join(told.text("who").split()), "view": state.get("view", MARK)}
        case "other":
            return here | {"who": "", "view": state.get("view", MARK)}
    return here


def _lasting(state: State) -> State:
    return {name: state[name] for name in ("round", "who") if name in state}


def _rounds(context: Context, chosen: DatasetSummary) -> list[RoundView]:
    with context.registry.session() as session:
        return labels.list_rounds(session, chosen.name)


def _at(context: Context, chosen: DatasetSummary, current: RoundView) -> DatasetSummary:
    """The data set at the version that the round's rows are of, if another came into use meanwhile."""
    if chosen.version == current.version_number:
        return chosen
    with context.registry.session() as session:
        return datasets.dataset(session, chosen.name, current.version_number)


def _chosen(rounds: list[RoundView], state: State) -> RoundView:
    return next((each for each in rounds if each.id == state.get("round")), rounds[0])


def _known(context: Context, chosen: DatasetSummary, state: State, told: Told) -> RoundView:
    """The round that was pressed in, which need not be the newest any more."""
    number = told.number("round") or state.get("round")
    for each in _rounds(context, chosen):
        if each.id == number:
            return each
    raise UnknownName("labels.unknown_round", round=number or 0)


def _head_html(context: Context, rounds: list[RoundView], current: RoundView, disputed: int) -> str:
    """Which round, and how far it is."""
    say = context.say
    choices = [(each.name, str(each.id)) for each in rounds]
    label = say("data.labelling.round")
    select = controls.select("round", label, choices, str(current.id), change="round", hides_label=True)
    chips = [
        chip(
            say("data.labelling.done", done=current.done, count=current.rows),
            "good" if current.done else "soft",
        )
    ]
    if disputed:
        chips.append(chip("▲ " + say("data.labelling.disputed", count=disputed), "warn"))
    if current.gone:
        chips.append(chip(say("data.labelling.gone", count=current.gone)))
    if current.is_closed:
        chips.append(chip(say("data.labelling.closed"), "warn"))
    share = 100 * current.done / current.rows if current.rows else 0
    shown = f'<span class="lu-data-chips">{"".join(chips)}</span>'
    head = form(
        select,
        controls.button("new", say("data.labelling.new")),
        shown,
        fresh=f"round-{current.id}",
        classes="lu-label-head",
    )
    return head + f'<div class="lu-progress"><div style="width:{share:.1f}%"></div></div>'


def _nav_html(context: Context, view: str, disputed: int) -> str:
    say = context.say
    shown = []
    for name in VIEWS:
        words = say(f"data.labelling.view.{name}") + (f" ({disputed})" if name == ARBITRATE and disputed else "")
        current = ' aria-current="true"' if name == view else ""
        shown.append(
            f'<button type="button" data-do="view" data-key="view-{name}" data-view="{name}"{current}>'
            f"{escape(words)}</button>"
        )
    return f'<nav class="lu-label-nav" aria-label="{escape(say("data.labelling.views"))}">{"".join(shown)}</nav>'
