"""The cards of the tab Reward: each rule with its settings, how the rules add up, and the form that tries them."""

from html import escape
from typing import Any

import msgspec

from app.context import Context
from app.data import controls, options
from app.data.panel import State
from app.markup import chip, notice, table
from app.rewards import words
from app.rewards.words import GraderWords
from studio.db import models
from studio.db.judges import judges
from studio.graders import declared as graders
from studio.rewards import recipe
from studio.rewards.judges import FINISHED, REWARD_MODEL, Judges
from studio.rewards.kept import Trial
from studio.rewards.recipe import MISSING, PARTS, ROW, WHOLE
from studio.workshop.recipe import OptionInfo

JUDGED = ("correctness", "format", "style", "cheating")
"""In the order in which rules are offered."""
MODEL = "model"
"""The option that names a model to ask."""


def first_html(context: Context, state: State) -> str:
    say = context.say
    button = controls.buttons(controls.button("propose", say("reward.page.propose"), kind="primary"))
    note = f'<p class="lu-note">{escape(say("reward.page.propose_note"))}</p>'
    form = controls.form(_model_select(context, state), note, button)
    return f'<section class="lu-card lu-step">{form}</section>{add_html(context)}'


def card(context: Context, place: int, entry: dict[str, Any], fault: str, state: State) -> str:
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


def sum_html(context: Context, document: dict[str, Any], faults: dict[int, str]) -> str:
    """How the rules add up: what each judges, its weight times that of what it judges, what it adds or takes off."""
    if faults or len(document["rewards"]) < 2:
        return ""
    say, found = context.say, recipe.parse(document)
    judged = list(dict.fromkeys(rule.judges for rule in found.rules))
    titles = words.titles(context, found)
    rows = []
    for key, rule, weight in zip(found.keys, found.rules, found.weights, strict=True):
        low, high = (weight * side for side in rule.range)
        factor = found.dimensions.get(rule.judges, 1.0)
        product = f"{rule.weight:g} × {factor:g} = {weight:g}"
        reach = say("reward.page.sum.off" if high <= 0 else "reward.page.sum.on", low=f"{low:g}", high=f"{high:g}")
        rows.append([escape(titles[key]), escape(words.dimension(context, rule.judges)), product, escape(reach)])
    heads = [say(f"reward.page.sum.{name}") for name in ("rule", "judges", "weight", "gives")]
    fields = "".join(
        controls.number(
            f"dimension.{name}",
            say("reward.page.sum.factor", name=words.dimension(context, name)),
            found.dimensions.get(name, 1.0),
            least=0,
            most=recipe.MOST_WEIGHT,
            step="any",
            change="sum",
        )
        for name in judged
    )
    choices = [(say(f"reward.page.missing.{each}"), each) for each in MISSING]
    fields += controls.select(
        "missing", say("reward.page.missing_label"), choices, document.get("missing", ROW), change="sum"
    )
    low, high = found.range
    told = say("reward.page.sum.range", low=f"{low:g}", high=f"{high:g}")
    inner = table(heads, rows, caption=say("reward.page.sum.title")) + f'<p class="lu-num">{escape(told)}</p>'
    note = f'<p class="lu-note">{escape(say("reward.page.sum.note"))}</p>'
    return f'<section class="lu-card lu-step">{inner}{note}{controls.form(fields, classes="lu-options")}</section>'


def add_html(context: Context) -> str:
    """A rule to add."""
    say = context.say
    known = sorted(graders.GRADERS, key=lambda name: JUDGED.index(graders.declared(name).dimension))
    choices = [
        (f"{words.dimension(context, graders.declared(name).dimension)} · {words.title(context, name)}", name)
        for name in known
    ]
    select = controls.select("grader", say("reward.page.add_label"), choices, known[0])
    return controls.form(select, controls.button("add", say("reward.page.add")), classes="lu-bar-form")


def try_html(
    context: Context, state: State, trial: Trial | None, document: dict[str, Any], faults: dict[int, str]
) -> str:
    say = context.say
    why_not = say("reward.page.mend_first", rule=min(faults) + 1) if faults else ""
    button = controls.button("try", say("reward.page.try"), kind="primary", why_not=why_not)
    other = controls.button("propose", say("reward.page.propose_again"))
    state = state if "model" in state or trial is None else {**state, "model": trial.model or ""}
    note = f'<p class="lu-note">{escape(say("reward.page.try_note"))}</p>'
    name = controls.text(
        "name", say("reward.page.name"), document.get("name", ""), note=say("reward.page.name_note"), change="name"
    )
    return controls.form(_model_select(context, state), name, note, controls.buttons(button, other), classes="lu-card")


def written_html(context: Context, document: dict[str, Any], faults: dict[int, str]) -> str:
    """The reward as a spec and the command line take it."""
    if faults:
        return ""
    text = recipe.to_yaml(recipe.parse(document))
    return controls.fold(
        context.say("reward.page.yaml"), f'<pre class="lu-log" tabindex="0">{escape(text)}</pre>', key="yaml"
    )


def _weight_field(context: Context, entry: dict[str, Any]) -> str:
    value = entry.get("weight", 1.0)
    return controls.number(
        "rule.weight",
        context.say("reward.page.weight"),
        value if isinstance(value, float | int) else None,
        least=0,
        most=recipe.MOST_WEIGHT,
        step="any",
        change="rule",
    )


def _settings(context: Context, entry: dict[str, Any]) -> str:
    say, declared = context.say, graders.declared(entry["name"])
    infos, titles = graders.options_of(entry["name"]), {}
    if declared.runs == graders.TRAINER:
        with context.registry.session() as session:
            titles = _askable(context, judges(session), entry)
        infos = [_choosing(info, titles) for info in infos]
    fields = options.worded_fields(context, GraderWords(context, declared, titles), infos, entry, change="rule")
    choices = [(say(f"reward.page.part.{part}"), part) for part in PARTS]
    fields += controls.select(
        "rule.part", say("reward.page.part_label"), choices, entry.get("part", WHOLE), change="rule"
    )
    fields += controls.text(
        "rule.dimension",
        say("reward.page.dimension"),
        entry.get("dimension", ""),
        note=say("reward.page.dimension_note"),
        placeholder=words.dimension(context, declared.dimension),
        change="rule",
    )
    if declared.range[1] > 0:
        is_on = bool(entry.get("penalty"))
        fields += controls.checkbox(
            "rule.penalty", say("reward.page.penalty"), is_on, note=say("reward.page.penalty_note"), change="rule"
        )
    return fields


def _askable(context: Context, known: Judges, entry: dict[str, Any]) -> dict[str, str]:
    """{name: what it is called} of the models that the rule may ask, the chosen one first if it is not among them."""
    say, wants = context.say, "scores" if entry["name"] == REWARD_MODEL else "text"
    found = {"": say("reward.page.choose_model")}
    for each in known.values():
        if each.gives == wants and each.state in FINISHED:
            right = None if each.accuracy is None else round(100 * each.accuracy)
            title = f"{each.title} (#{each.name})" if each.run else each.title
            found[each.name] = title if right is None else say("reward.page.right_on", title=title, percent=right)
    if len(found) == 1:
        found[""] = say(f"reward.page.none_{entry['name']}")
    chosen = str(entry.get(MODEL, ""))
    return found if chosen in found else {**found, chosen: chosen}


def _choosing(info: OptionInfo, titles: dict[str, str]) -> OptionInfo:
    return msgspec.structs.replace(info, kind="choice", choices=tuple(titles)) if info.name == MODEL else info


def _model_select(context: Context, state: State) -> str:
    say = context.say
    with context.registry.session() as session:
        known = [each.name for each in models.list_models(session)]
    value = state.get("model", known[0] if known else "")
    choices = [*((name, name) for name in known), (say("reward.page.no_model"), "")]
    return controls.select(
        "model", say("reward.page.model"), choices, value, note=say("reward.page.model_note"), change="model"
    )
