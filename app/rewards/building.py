"""The tab "Reward" of the data page: rules chosen and weighed as cards, and what trying them came to.

A reward is judged on questions and answers, so it is built beside them; a method that learns from rewards takes it from
here. Nothing is graded in this process: trying is a job, and this draws from its report.
"""

from html import escape
from typing import Any

from app.context import Context
from app.data import controls, options
from app.data.panel import Pressed, State, Tab, Told
from app.data.rows import showing
from app.markup import chip, notice
from app.rewards import trial_view, words
from app.rewards.words import GraderWords
from studio.db import models
from studio.db.datasets import DatasetSummary
from studio.desk_rewards import FORMATS
from studio.errors import RefusedInput, StudioError
from studio.graders import declared as graders
from studio.rewards import kept, recipe
from studio.rewards.kept import Trial
from studio.rewards.recipe import PARTS, WHOLE
from studio.workshop.labelling.marks import BAD, GOOD

OWN_FIELDS = ("rule.weight", "rule.part", "rule.penalty")
JUDGED = ("correctness", "format", "style", "cheating")
"""In the order in which rules are offered."""


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: reward (a document, once something was changed), model, marks, unfold (a rule's place), asked (when a
    reward was proposed: the trial from before)."""
    if chosen.format not in FORMATS:
        return notice(context.say("errors.reward.format", name=chosen.name, format=chosen.format))
    trial = kept.newest(context.desk.workspace, chosen.content_hash)
    document = current(state, trial)
    lead = f"<p>{escape(context.say('reward.page.lead'))}</p>"
    if not document["rewards"]:
        return lead + _first_html(context, state)
    faults = faults_of(context, document)
    return (
        lead
        + trial_view.verdict_html(context, trial, document, is_current=_is_of(trial, document, faults))
        + "".join(
            _card(context, place, entry, faults.get(place, ""), state)
            for place, entry in enumerate(document["rewards"])
        )
        + _add_html(context)
        + _try_html(context, state, trial, faults)
        + (trial_view.figures_html(context, trial, state.get("marks") or []) if trial else "")
        + _written_html(context, document, faults)
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    trial = kept.newest(context.desk.workspace, chosen.content_hash)
    document = current(state, trial)
    match told.do:
        case "propose" | "try":
            return _tried(context, chosen, _with_model(state, told), document if told.do == "try" else None)
        case "add" | "remove" | "rule":
            rest = {key: value for key, value in state.items() if key != "asked"}
            return Pressed({**rest, "reward": _changed(document, told), **_unfolded(document, told)})
        case "unfold":
            place = told.number("place")
            return Pressed({**state, "unfold": None if state.get("unfold") == place else place})
        case "good" | "bad":
            return Pressed({**state, "marks": _marked(state.get("marks") or [], told)})
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
    kept_too = {key: before[key] for key in ("dimension",) if before.get(key)}
    weight, part = (
        fields.get("rule.weight", before.get("weight", 1.0)),
        fields.get("rule.part", before.get("part", WHOLE)),
    )
    penalty = bool(fields.get("rule.penalty", before.get("penalty", False)))
    entry = {"name": name, **chosen, "weight": _number(weight), **kept_too}
    return entry | ({"penalty": True} if penalty else {}) | ({"part": part} if part != WHOLE else {})


def _number(text: Any) -> float | str:
    """What is no number is told on the card, like everything else that a rule lacks."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return str(text)[:40]


def _marked(marks: list[dict[str, Any]], told: Told) -> list[dict[str, Any]]:
    """A mark set, changed, or with a second press taken back."""
    where = {"kind": told.data.get("which", ""), "row": told.number("row") or 0, "place": told.number("place") or 0}
    others = [mark for mark in marks if {key: mark[key] for key in where} != where]
    rating = GOOD if told.do == "good" else BAD
    is_again = any(mark for mark in marks if mark == {**where, "rating": rating})
    return others if is_again else [*others, {**where, "rating": rating}]


# -- what is shown -------------------------------------------------------------------------------------------------


def _is_of(trial: Trial | None, document: dict[str, Any], faults: dict[int, str]) -> bool:
    if trial is None or faults:
        return False
    try:
        return trial.report.hash == recipe.digest(recipe.parse(document))
    except StudioError:
        return False


def _first_html(context: Context, state: State) -> str:
    say = context.say
    button = controls.buttons(controls.button("propose", say("reward.page.propose"), kind="primary"))
    note = f'<p class="lu-note">{escape(say("reward.page.propose_note"))}</p>'
    form = controls.form(_model_select(context, state), note, button)
    return f'<section class="lu-card lu-step">{form}</section>{_add_html(context)}'


def _card(context: Context, place: int, entry: dict[str, Any], fault: str, state: State) -> str:
    say, declared = context.say, graders.declared(entry["name"])
    is_open = state.get("unfold") == place
    low, high = declared.range
    is_penalty = bool(entry.get("penalty")) or high <= 0
    judges = words.dimension(context, entry.get("dimension") or declared.dimension)
    chips = chip(judges) + (chip(say("reward.page.takes_off"), "warn") if is_penalty else "")
    chips += chip(say("reward.page.asks_model"), "info") if declared.runs == graders.TRAINER else ""
    head = (
        f'<div class="lu-card-head"><h3>{place + 1} · {escape(declared.title[context.language])}</h3>'
        f'<div class="lu-data-chips">{chips}</div></div>'
    )
    note = f'<p class="lu-note">{escape(declared.help[context.language])}</p>'
    weight = _weight_field(context, entry)
    form = controls.form(weight + (_settings(context, entry) if is_open else ""), classes="lu-options", place=place)
    unfold = say("reward.page.hide" if is_open else "reward.page.settings")
    more = controls.button("unfold", unfold, kind="link", place=place)
    more += controls.button("remove", say("reward.page.remove"), kind="link", place=place)
    lacking = notice(fault, "warn") if fault else ""
    inner = f"{head}{note}{lacking}{form}<p>{more}</p>"
    return f'<section class="lu-card lu-step" data-rule="{escape(entry["name"])}">{inner}</section>'


def _weight_field(context: Context, entry: dict[str, Any]) -> str:
    value = entry.get("weight", 1.0)
    return controls.number(
        "rule.weight",
        context.say("reward.page.weight"),
        value if isinstance(value, float | int) else None,
        least=0,
        most=recipe.MOST_WEIGHT,
        change="rule",
    )


def _settings(context: Context, entry: dict[str, Any]) -> str:
    say, declared = context.say, graders.declared(entry["name"])
    fields = options.worded_fields(
        context, GraderWords(context, declared), graders.options_of(entry["name"]), entry, change="rule"
    )
    choices = [(say(f"reward.page.part.{part}"), part) for part in PARTS]
    fields += controls.select(
        "rule.part", say("reward.page.part_label"), choices, entry.get("part", WHOLE), change="rule"
    )
    if declared.range[1] > 0:
        is_on = bool(entry.get("penalty"))
        fields += controls.checkbox(
            "rule.penalty", say("reward.page.penalty"), is_on, note=say("reward.page.penalty_note"), change="rule"
        )
    return fields


def _add_html(context: Context) -> str:
    """A rule to add; those that ask a model only where there is a place for them in a run."""
    say = context.say
    known = sorted(graders.GRADERS, key=lambda name: JUDGED.index(graders.declared(name).dimension))
    choices = [
        (f"{words.dimension(context, graders.declared(name).dimension)} · {words.title(context, name)}", name)
        for name in known
    ]
    select = controls.select("grader", say("reward.page.add_label"), choices, known[0])
    return controls.form(select, controls.button("add", say("reward.page.add")), classes="lu-bar-form")


def _try_html(context: Context, state: State, trial: Trial | None, faults: dict[int, str]) -> str:
    say = context.say
    why_not = say("reward.page.mend_first", rule=min(faults) + 1) if faults else ""
    button = controls.button("try", say("reward.page.try"), kind="primary", why_not=why_not)
    other = controls.button("propose", say("reward.page.propose_again"))
    state = state if "model" in state or trial is None else {**state, "model": trial.model or ""}
    note = f'<p class="lu-note">{escape(say("reward.page.try_note"))}</p>'
    return controls.form(_model_select(context, state), note, controls.buttons(button, other), classes="lu-card")


def _model_select(context: Context, state: State) -> str:
    say = context.say
    with context.registry.session() as session:
        known = [each.name for each in models.list_models(session)]
    value = state.get("model", known[0] if known else "")
    choices = [*((name, name) for name in known), (say("reward.page.no_model"), "")]
    return controls.select(
        "model", say("reward.page.model"), choices, value, note=say("reward.page.model_note"), change="model"
    )


def _written_html(context: Context, document: dict[str, Any], faults: dict[int, str]) -> str:
    """The reward as a spec and the command line take it."""
    if faults:
        return ""
    text = recipe.to_yaml(recipe.parse(document))
    return controls.fold(
        context.say("reward.page.yaml"), f'<pre class="lu-log" tabindex="0">{escape(text)}</pre>', key="yaml"
    )
