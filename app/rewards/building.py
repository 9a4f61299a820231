"""The tab "Reward" of the data page: rules chosen and weighed as cards, and what trying them came to.

A reward is judged on questions and answers, so it is built beside them; a method that learns from rewards takes it from
here. Nothing is graded in this process: trying is a job, and this draws from its report.
"""

from html import escape
from typing import Any

from app.context import Context
from app.data import options
from app.data.panel import Pressed, State, Tab, Told
from app.data.rows import showing
from app.markup import notice
from app.rewards import cards, experts, trial_view
from studio.db.datasets import DatasetSummary
from studio.db.judges import judges
from studio.desk_rewards import FORMATS
from studio.errors import RefusedInput, StudioError
from studio.graders import declared as graders
from studio.rewards import kept, recipe
from studio.rewards.judges import asked_names, settled
from studio.rewards.kept import Trial
from studio.rewards.recipe import WHOLE


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: reward (a document, once something was changed), model, marks, unfold (a rule's place), asked (when a
    reward was proposed: the trial from before)."""
    if chosen.format not in FORMATS:
        return notice(context.say("errors.reward.format", name=chosen.name, format=chosen.format))
    trial = kept.newest(context.desk.workspace, chosen.content_hash)
    document = current(state, trial)
    lead = f"<p>{escape(context.say('reward.page.lead'))}</p>"
    if not document["rewards"]:
        return lead + cards.first_html(context, state)
    faults = faults_of(context, document)
    return (
        lead
        + trial_view.verdict_html(context, trial, document, is_current=_is_of(context, trial, document, faults))
        + "".join(
            cards.card(context, place, entry, faults.get(place, ""), state)
            for place, entry in enumerate(document["rewards"])
        )
        + cards.add_html(context)
        + cards.sum_html(context, document, faults)
        + cards.try_html(context, state, trial, document, faults)
        + _found_html(context, chosen, trial, state.get("marks") or [])
        + cards.written_html(context, document, faults)
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    trial = kept.newest(context.desk.workspace, chosen.content_hash)
    document = current(state, trial)
    match told.do:
        case "propose" | "try":
            named = {**document, "name": told.text("name")} if "name" in told.fields else document
            return _tried(context, chosen, _with_model(state, told), named if told.do == "try" else None)
        case "add" | "remove" | "rule":
            rest = {key: value for key, value in state.items() if key != "asked"}
            return Pressed({**rest, "reward": _changed(document, told), **_unfolded(document, told)})
        case "sum" | "name":
            changed = _summed(document, told.fields) if told.do == "sum" else {**document, "name": told.text("name")}
            return Pressed({**_with_model(state, told), "reward": changed})
        case "unfold":
            place = told.number("place")
            return Pressed({**state, "unfold": None if state.get("unfold") == place else place})
        case "good" | "bad" | "cheat":
            return Pressed({**state, "marks": experts.marked(state.get("marks") or [], told, trial)})
        case "rate" | "pairs":
            return experts.press(context, chosen, state, told)
        case "row":
            return Pressed(state, goto=("rows", showing([told.number("row") or 0])))
    return Pressed(_with_model(state, told))


TAB = Tab("reward", draw, press)


def current(state: State, trial: Trial | None) -> dict[str, Any]:
    """The reward on the cards: the one that is being changed, else the one that was tried last."""
    is_awaited = trial is not None and trial.is_proposed and trial.created_at > state.get("asked", "~")
    if state.get("reward") and not is_awaited:
        return state["reward"]
    return dict(trial.report.recipe) if trial else {"rewards": []}


def faults_of(context: Context, document: dict[str, Any]) -> dict[int, str]:
    """{a rule's place: what it still lacks}."""
    found = {}
    for place, entry in enumerate(document["rewards"]):
        try:
            recipe.parse([entry])
        except RefusedInput as error:
            found[place] = error.message(context.language)
    return found


# -- acts ----------------------------------------------------------------------------------------------------------


def _tried(context: Context, chosen: DatasetSummary, state: State, document: dict[str, Any] | None) -> Pressed:
    """Try the reward of the cards, or have one proposed; that one takes their place once its trial is there."""
    name = f"{chosen.name}@{chosen.version}"
    marks = state.get("marks") or [] if document else []
    before = kept.newest(context.desk.workspace, chosen.content_hash)
    job = context.desk.try_reward(name, document, model=state.get("model") or None, marks=marks)
    if document is None and job is None:
        return Pressed({key: value for key, value in state.items() if key not in ("reward", "unfold", "asked")})
    awaited = {} if document else {"asked": before.created_at if before else "", "unfold": None}
    return Pressed({**state, **awaited}, job=job)


def _with_model(state: State, told: Told) -> State:
    return {**state, "model": told.text("model")} if "model" in told.fields else state


def _changed(document: dict[str, Any], told: Told) -> dict[str, Any]:
    rules = [dict(entry) for entry in document["rewards"]]
    place = told.number("place")
    if told.do == "add":
        name = told.text("grader")
        graders.declared(name)
        rules.append({"name": name, "weight": 1.0})
    elif place is not None and place < len(rules):
        rules[place : place + 1] = [] if told.do == "remove" else [_entry(rules[place], told.fields)]
    judged = {recipe.Rule(name=entry["name"], dimension=entry.get("dimension", "")).judges for entry in rules}
    dimensions = {name: weight for name, weight in (document.get("dimensions") or {}).items() if name in judged}
    return {**document, "rewards": rules, "dimensions": dimensions}


def _unfolded(document: dict[str, Any], told: Told) -> State:
    """A rule that was just added shows its settings."""
    return {"unfold": len(document["rewards"])} if told.do == "add" else {}


def _entry(before: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """The rule with what its form says; fields that are not drawn stay as they are."""
    name, infos = before["name"], graders.options_of(before["name"])
    shown = any(info.name in fields or any(f"{info.name}:{each}" in fields for each in info.choices) for info in infos)
    chosen = options.entered(infos, fields) if shown else {k: v for k, v in before.items() if k not in recipe.KEYS}
    dimension = str(fields.get("rule.dimension", before.get("dimension", ""))).strip()
    kept_too = {"dimension": dimension} if dimension else {}
    weight, part = (
        fields.get("rule.weight", before.get("weight", 1.0)),
        fields.get("rule.part", before.get("part", WHOLE)),
    )
    penalty = bool(fields.get("rule.penalty", before.get("penalty", False)))
    entry = {"name": name, **chosen, "weight": _number(weight), **kept_too}
    return entry | ({"penalty": True} if penalty else {}) | ({"part": part} if part != WHOLE else {})


def _summed(document: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """The reward with the weights of what its rules judge, and what becomes of an answer without a score."""
    given = {name.removeprefix("dimension."): _number(value) for name, value in fields.items() if "dimension." in name}
    weights = {name: weight for name, weight in given.items() if weight != 1}
    missing = {"missing": fields["missing"]} if fields.get("missing", recipe.ROW) != recipe.ROW else {}
    found = {name: value for name, value in document.items() if name not in ("dimensions", "missing")}
    changed = found | ({"dimensions": weights} if weights else {}) | missing
    recipe.parse(changed)
    return changed


def _number(text: Any) -> float | str:
    """What is no number is told on the card, like everything else that a rule lacks."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return str(text)[:40]


# -- what is shown -------------------------------------------------------------------------------------------------


def _found_html(context: Context, chosen: DatasetSummary, trial: Trial | None, marks: list[dict[str, Any]]) -> str:
    if trial is None:
        return ""
    found = trial_view.figures_html(context, trial, marks)
    return found + experts.experts_html(context, chosen, trial, marks)


def _is_of(context: Context, trial: Trial | None, document: dict[str, Any], faults: dict[int, str]) -> bool:
    """Whether the cards are the reward that was tried, the models that it asks named as the trial named them."""
    if trial is None or faults:
        return False
    try:
        found = recipe.parse(document)
        if asked_names(found):
            with context.registry.session() as session:
                found = settled(found, judges(session))
        return trial.report.hash == recipe.digest(found)
    except StudioError:
        return False
