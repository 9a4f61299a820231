"""The Clean tab: a card for each step with what it found and would do, before and after, one button that does it.

Looking and cleaning are jobs. A switch answers at once from the last look ("about"), and a new look makes it exact.
"""

from html import escape
from pathlib import Path
from typing import Any

import yaml

from app.context import Context
from app.data import clean_cards, controls, following, options
from app.data.panel import Pressed, State, Tab, Told
from app.data.rows import showing
from app.markup import notice
from studio.db.datasets import DatasetSummary
from studio.errors import RefusedInput
from studio.workshop import recipe as recipes
from studio.workshop import reports
from studio.workshop.answer_schema import schema_of
from studio.workshop.labelling import taught
from studio.workshop.recipe import STEPS, Recipe

OWN_TAB = ("split",)
"""Steps that have a tab of their own."""
PAGE_CHANGES = 10


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: recipe (a name), steps (a document, once something was changed), unfold, found (step, code, start)."""
    recipe = current(context, state)
    folder = Path(chosen.path)
    exact = reports.find_look(context.desk.workspace, folder, context.desk.with_ratings(recipe, chosen.name))
    kept = exact or reports.find_last_look(context.desk.workspace, folder)
    report = reports.read_look(kept) if kept else None
    cards = clean_cards.Cards(context, chosen, recipe, report, kept, is_exact=exact is not None, state=state)
    return (
        _just_cleaned(context, chosen)
        + _head(context, report, is_exact=exact is not None)
        + cards.summary_html()
        + cards.steps_html()
        + _recipes_html(context, recipe, state)
        + _changes_html(context, chosen, state)
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    match told.do:
        case "clean" | "clean_recommended":
            recipe = None if told.do == "clean_recommended" else recipes.to_document(current(context, state))
            return Pressed({**state, "found": None}, job=context.desk.clean_dataset(chosen.name, recipe))
        case "look":
            return _looking(context, chosen, state)
        case "toggle" | "options" | "up" | "down":
            return _changed(context, chosen, state, told)
        case "derive" | "learned":
            return (_derived if told.do == "derive" else _learned)(context, chosen, state)
        case "load":
            return _looking_again(context, chosen, {"recipe": told.text("recipe")})
        case "save_recipe":
            context.desk.save_recipe(told.text("name"), recipes.to_document(current(context, state)))
            return Pressed({"recipe": told.text("name")})
        case "remove_recipe":
            context.desk.remove_recipe(state.get("recipe", ""))
            return Pressed({})
        case "row":
            return Pressed(state, goto=("rows", showing([told.number("row") or 0])))
        case "undo":
            following.refuse_while_changing(context, chosen.name)
            context.desk.rollback_dataset(chosen.name, told.number("version") or chosen.version)
            return Pressed(state, reopen=True)
    return Pressed(_browsed(state, told))


TAB = Tab("clean", draw, press)


def current(context: Context, state: State) -> Recipe:
    """The recipe on the cards: every step of it, and behind them, switched off, those that it does not have."""
    wanted = {"steps": state["steps"]} if state.get("steps") else state.get("recipe") or None
    found = recipes.find(context.desk.workspace, wanted)
    known = {step.step for step in found.steps}
    rest = tuple(
        recipes.RecipeStep(step=name, enabled=False) for name in STEPS if name not in known and name not in OWN_TAB
    )
    return Recipe(name=state.get("recipe", ""), steps=found.steps + rest)


# -- acts ----------------------------------------------------------------------------------------------------------


def _changed(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """A step was switched, moved, or got other options; what is known by then is shown at once."""
    steps = recipes.to_document(current(context, state))["steps"]
    place = next((at for at, step in enumerate(steps) if step["step"] == told.data.get("step")), None)
    if place is None:
        raise RefusedInput(
            "data.cleaning.unknown_step", name=told.data.get("step", ""), hint=steps[0]["step"], known="–"
        )
    step = steps[place]
    if told.do == "toggle":
        step["enabled"] = bool(told.fields.get(f"on.{step['step']}", not step["enabled"]))
    elif told.do == "options":
        step["options"] = options.entered(recipes.options_of(step["step"]), told.fields)
    else:
        other = max(0, min(len(steps) - 1, place + (-1 if told.do == "up" else 1)))
        steps[place], steps[other] = steps[other], steps[place]
    recipes.parse({"steps": steps})
    return _looking_again(context, chosen, {**state, "steps": steps})


def _derived(context: Context, chosen: DatasetSummary, state: State) -> Pressed:
    """The task's schema as most answers have it."""
    found = schema_of(Path(chosen.path))
    steps = recipes.to_document(current(context, state))["steps"]
    step = next(each for each in steps if each["step"] == "task_schema")
    if not found:
        raise RefusedInput("data.page.no_schema")
    step |= {"enabled": True, "options": found}
    return _looking_again(context, chosen, {**state, "steps": steps, "unfold": "task_schema"})


def _learned(context: Context, chosen: DatasetSummary, state: State) -> Pressed:
    """Judge quality by what the marks taught; or, where that is so already, by the simple rules again."""
    known = taught.find(context.desk.workspace, chosen.name)
    steps = recipes.to_document(current(context, state))["steps"]
    step = next(each for each in steps if each["step"] == "noise")
    options_set = {name: value for name, value in step["options"].items() if name != "quality_model"}
    if known and "quality_model" not in step["options"]:
        options_set["quality_model"] = str(known[1])
        step["enabled"] = True
    step["options"] = options_set
    return _looking_again(context, chosen, {**state, "steps": steps})


def _looking_again(context: Context, chosen: DatasetSummary, state: State) -> Pressed:
    """A new look, where there was one before: nobody waits for a first look that was not asked for."""
    if reports.find_last_look(context.desk.workspace, Path(chosen.path)) is None:
        return Pressed(state)
    return _looking(context, chosen, state)


def _looking(context: Context, chosen: DatasetSummary, state: State) -> Pressed:
    """The look that is under way for this data set is about a recipe that nobody asks about any more."""
    following.stop_looking(context, chosen.name)
    job = context.desk.look_dataset(chosen.name, recipes.to_document(current(context, state)))
    return Pressed(state, job=job)


def _browsed(state: State, told: Told) -> State:
    found = state.get("found") or {}
    match told.do:
        case "unfold":
            step = told.data.get("step")
            return {**state, "unfold": None if state.get("unfold") == step else step}
        case "found":
            return {**state, "found": {"step": told.data.get("step"), "code": told.data.get("code"), "start": 0}}
        case "hide_found":
            return {**state, "found": None}
        case "back" | "forward":
            turn = clean_cards.PAGE_FINDINGS * (-1 if told.do == "back" else 1)
            return {**state, "found": {**found, "start": max(0, found.get("start", 0) + turn)}}
        case "changes":
            return {**state, "changes": 0}
        case "more_changes":
            return {**state, "changes": (state.get("changes") or 0) + PAGE_CHANGES}
        case "hide_changes":
            return {name: value for name, value in state.items() if name != "changes"}
    return state


# -- what is shown -------------------------------------------------------------------------------------------------


def _just_cleaned(context: Context, chosen: DatasetSummary) -> str:
    """What cleaning made of the version before, with Undo beside it."""
    steps = chosen.manifest.get("steps", [])
    if not steps or steps[-1]["operation"] not in STEPS or chosen.parent is None or steps[-1]["operation"] in OWN_TAB:
        return ""
    first = next(at for at in range(len(steps), -1, -1) if at == 0 or steps[at - 1]["operation"] not in STEPS)
    words = context.say(
        "data.clean.done",
        number=chosen.version,
        before=steps[first]["rows_in"],
        count=steps[-1]["rows_out"],
    )
    undo = controls.button("undo", context.say("data.undo", number=chosen.parent), version=chosen.parent)
    return notice("✓ " + words, "good") + controls.buttons(undo)


def _head(context: Context, report: Any, *, is_exact: bool) -> str:
    """The buttons, and what they do."""
    say = context.say
    if report is None:
        return f"<p>{say('data.clean.lead')}</p>" + controls.buttons(
            controls.button("look", say("data.clean.look"), kind="primary"),
            controls.button("clean_recommended", say("data.clean.recommended")),
        )
    return controls.buttons(
        controls.button("clean", say("data.clean.apply"), kind="primary"),
        controls.button("clean_recommended", say("data.clean.recommended")),
        "" if is_exact else controls.button("look", say("data.clean.look_again")),
    )


def _recipes_html(context: Context, recipe: Recipe, state: State) -> str:
    """Load, save and read the recipe."""
    say = context.say
    known = recipes.names(context.desk.workspace)
    choices = [(_recipe_name(context, each), each.name) for each in known]
    chosen = state.get("recipe") or recipes.RECOMMENDED
    saved = any(each.name == chosen and not each.is_shipped for each in known)
    load = controls.form(controls.select("recipe", say("data.clean.recipe"), choices, chosen, change="load"))
    save = controls.form(
        controls.text("name", say("data.clean.save_as"), "" if not saved else chosen),
        controls.button("save_recipe", say("data.clean.save")),
        controls.button("remove_recipe", say("data.clean.remove_recipe", name=chosen)) if saved else "",
        classes="lu-bar-form",
    )
    text = yaml.safe_dump(recipes.to_document(recipe), allow_unicode=True, sort_keys=False)
    written = controls.fold("YAML", f'<pre class="lu-log" tabindex="0">{escape(text)}</pre>', key="yaml")
    return controls.fold(say("data.clean.recipes"), load + save + written, key="recipes")


def _recipe_name(context: Context, each: recipes.RecipeName) -> str:
    return context.say("data.clean.recommended_name") if each.name == recipes.RECOMMENDED else each.name


def _changes_html(context: Context, chosen: DatasetSummary, state: State) -> str:
    """Texts that cleaning changed on the way to this version."""
    folder, say = Path(chosen.path), context.say
    count = reports.count_changes(folder)
    if not count:
        return ""
    if "changes" not in state:
        return controls.buttons(controls.button("changes", say("data.clean.changes", count=count)))
    start = state["changes"] if state["changes"] < count else 0
    shown = reports.read_changes(folder, start=start, count=PAGE_CHANGES)
    listed = clean_cards.findings_html(context, chosen, shown)
    more = controls.button("more_changes", say("data.clean.more_changes")) if start + PAGE_CHANGES < count else ""
    place = say("data.rows.place_of", first=start + 1, last=start + len(shown), total=count)
    return (
        f'<h2 class="lu-part">{say("data.clean.changes", count=count)}</h2><p class="lu-note">{place}</p>{listed}'
        + controls.buttons(more, controls.button("hide_changes", say("data.problems.hide_rows")))
    )
