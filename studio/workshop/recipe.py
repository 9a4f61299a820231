"""A cleaning recipe: which steps, in which order, with which options. YAML, strict, saved by name or shipped.

    steps:
      - step: duplicates              {"step": "duplicates", "enabled": True, "options": {"similarity": 0.9}}
        options: {similarity: 0.9}

Shipped recipes lie in `templates/cleaning/`, a person's own in the workspace's `recipes/`. The steps' own modules are
imported only where a step's options are read: they bring polars along.
"""

import hashlib
import importlib
import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import yaml

from studio.errors import RefusedInput, UnknownName
from studio.paths import TEMPLATES, Workspace
from studio.protocol import write_atomically
from studio.workshop.problems import closest

STEPS = {
    name: f"studio.workshop.clean.{name}"
    for name in ("task_schema", "duplicates", "noise", "normalise", "personal_data", "split")
}
CHECKS = {
    name: f"studio.workshop.checks.{name}"
    for name in (
        "amount",
        "balance",
        "lengths",
        "style",
        "quality",
        "disagreement",
        "coverage",
        "leakage",
        "difficulty",
    )
}
SHIPPED = TEMPLATES / "cleaning"
RECOMMENDED = "recommended"
_KEYS = ("step", "enabled", "options")
_LONGEST_NAME = 64


class RecipeStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a recipe."""

    step: str
    """A key of `STEPS`."""
    enabled: bool = True
    """A step that is off is looked at, but hands nothing on."""
    options: dict[str, Any] = {}
    """Those that differ from the step's defaults."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Steps in the order in which they run; no step stands twice."""

    name: str = ""
    steps: tuple[RecipeStep, ...]


class RecipeName(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    is_shipped: bool


class OptionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a step or check, as a form needs it."""

    name: str
    kind: str
    """flag, integer, number, text, choice, texts (a list of text), choices (a list out of `choices`), or json."""
    default: Any
    is_optional: bool = False
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


# -- reading and writing ---------------------------------------------------------------------------------------------


def parse(document: Any, *, name: str = "") -> Recipe:
    """A recipe from what YAML or JSON holds; every option is checked against its step.

    Raises:
        RefusedInput: a key, step or option that does not exist, with the closest one that does; or a bad value.
    """
    if not isinstance(document, dict) or not isinstance(document.get("steps"), list):
        raise RefusedInput("data.cleaning.shape")
    _refuse_unknown("recipe_key", document.keys(), ("name", "steps"))
    steps = tuple(_step(entry) for entry in document["steps"])
    names = [step.step for step in steps]
    for twice in names:
        if names.count(twice) > 1:
            raise RefusedInput("data.cleaning.step_twice", step=twice)
    return Recipe(name=name, steps=steps)


def parse_yaml(text: str, *, file: str) -> Recipe:
    """
    Raises:
        RefusedInput: no YAML, or no recipe.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RefusedInput("cli.bad_yaml", file=file, detail=" ".join(str(error).split())) from None
    return parse(document, name=Path(file).stem)


def to_document(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values: what YAML, JSON and a version's manifest hold."""
    return {"steps": [msgspec.to_builtins(step) for step in recipe.steps]}


def recommended() -> Recipe:
    return parse_yaml((SHIPPED / f"{RECOMMENDED}.yaml").read_text("utf-8"), file=RECOMMENDED)


def names(workspace: Workspace) -> list[RecipeName]:
    """Every recipe there is, shipped ones first."""
    return [
        RecipeName(name=path.stem, is_shipped=folder == SHIPPED)
        for folder in (SHIPPED, workspace.recipes)
        for path in sorted(folder.glob("*.yaml"))
    ]


def find(workspace: Workspace, wanted: str | dict[str, Any] | None) -> Recipe:
    """The recipe of that name, or that document; None is the recommended one.

    Raises:
        UnknownName: no recipe of that name.
    """
    if isinstance(wanted, dict):
        return parse(wanted)
    name = wanted or RECOMMENDED
    for folder in (SHIPPED, workspace.recipes):
        path = folder / f"{name}.yaml"
        if len(name) <= _LONGEST_NAME and path.parent == folder and path.is_file():
            return parse_yaml(path.read_text("utf-8"), file=path.name)
    known = [each.name for each in names(workspace)]
    raise UnknownName(
        "data.cleaning.unknown_recipe", name=name, hint=closest(name, known) or known[0], known=_listed(known)
    )


def save(workspace: Workspace, name: str, recipe: Recipe) -> None:
    """Keep a recipe under a name of the person's own.

    Raises:
        RefusedInput: the name is a shipped recipe's.
    """
    if (SHIPPED / f"{name}.yaml").exists():
        raise RefusedInput("data.cleaning.shipped", name=name)
    workspace.recipes.mkdir(exist_ok=True)
    text = yaml.safe_dump(to_document(recipe), allow_unicode=True, sort_keys=False)
    write_atomically(workspace.recipes / f"{name}.yaml", text.encode())


def remove(workspace: Workspace, name: str) -> None:
    """Delete a saved recipe.

    Raises:
        RefusedInput: there is none of that name, or it is a shipped one.
    """
    find(workspace, name)
    if (SHIPPED / f"{name}.yaml").exists():
        raise RefusedInput("data.cleaning.shipped", name=name)
    (workspace.recipes / f"{name}.yaml").unlink()


def digest(recipe: Recipe) -> str:
    """What tells two recipes apart: steps, order, switches and options, not the name."""
    return hashlib.sha256(msgspec.json.encode(to_document(recipe), order="sorted")).hexdigest()


def _step(entry: Any) -> RecipeStep:
    if isinstance(entry, str):
        entry = {"step": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), str):
        raise RefusedInput("data.cleaning.shape")
    _refuse_unknown("recipe_key", entry.keys(), _KEYS)
    step, enabled, chosen = entry["step"], entry.get("enabled", True), entry.get("options") or {}
    _refuse_unknown("step", [step], tuple(STEPS))
    if not isinstance(enabled, bool) or not isinstance(chosen, dict):
        raise RefusedInput("data.cleaning.shape")
    options(STEPS, step, chosen)
    return RecipeStep(step=step, enabled=enabled, options=chosen)


# -- the options of steps and checks ---------------------------------------------------------------------------------


def module(table: dict[str, str], name: str) -> types.ModuleType:
    """The module of a step or check, imported now."""
    return importlib.import_module(table[name])


def options(table: dict[str, str], name: str, chosen: dict[str, Any]) -> Any:
    """The complete `Options` of a step or check.

    Raises:
        RefusedInput: an option that it does not have, or a value that cannot be.
    """
    kind = module(table, name).Options
    _refuse_unknown("option", chosen, tuple(kind.__struct_fields__), step=name)
    try:
        return msgspec.convert(chosen, kind)
    except msgspec.ValidationError as error:
        raise RefusedInput("data.cleaning.bad_option", step=name, detail=str(error)) from None


def checks(chosen: list[str] | None, settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Check -> its options, for the checks that were named, or all of them.

    Raises:
        RefusedInput: a check or option that does not exist, or a value that cannot be.
    """
    _refuse_unknown("check", [*(chosen or []), *settings], tuple(CHECKS))
    found = {name: settings.get(name, {}) for name in CHECKS if chosen is None or name in chosen}
    for name, values in found.items():
        options(CHECKS, name, values)
    return found


def plain(chosen: Any) -> dict[str, Any]:
    """Options as JSON would give them back: every one, lists as lists."""
    return msgspec.json.decode(msgspec.json.encode(chosen))


def options_of(name: str, table: dict[str, str] = STEPS) -> list[OptionInfo]:
    """What can be set of a step or check, in the order of its `Options`."""
    defaults = plain(options(table, name, {}))
    hints = typing.get_type_hints(module(table, name).Options, include_extras=True)
    return [_info(field, hints[field], defaults[field]) for field in defaults]


def _info(name: str, hint: Any, default: Any) -> OptionInfo:
    bounds: dict[str, float] = {}
    optional = False
    while True:
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            bounds |= _bounds(typing.get_args(hint)[1:])
            hint = typing.get_args(hint)[0]
        elif origin in (types.UnionType, typing.Union):
            inner = [each for each in typing.get_args(hint) if each is not type(None)]
            optional = True
            hint = inner[0] if len(inner) == 1 else Any
        else:
            break
    kind, choices = _kind(hint)
    return OptionInfo(name=name, kind=kind, default=default, is_optional=optional, choices=choices, **bounds)


def _bounds(extras: tuple[Any, ...]) -> dict[str, float]:
    metas = [each for each in extras if isinstance(each, msgspec.Meta)]
    found = [("minimum", each.ge if each.ge is not None else each.gt) for each in metas]
    found += [("maximum", each.le if each.le is not None else each.lt) for each in metas]
    return {name: bound for name, bound in found if bound is not None}


def _kind(hint: Any) -> tuple[str, tuple[Any, ...]]:
    plain = {bool: "flag", int: "integer", float: "number", str: "text"}
    if hint in plain:
        return plain[hint], ()
    if typing.get_origin(hint) is typing.Literal:
        return "choice", typing.get_args(hint)
    if typing.get_origin(hint) in (tuple, list, frozenset, set):
        inner = typing.get_args(hint)[0]
        return ("choices", typing.get_args(inner)) if typing.get_origin(inner) is typing.Literal else ("texts", ())
    return "json", ()


def _refuse_unknown(kind: str, given: typing.Iterable[str], known: tuple[str, ...], **values: str) -> None:
    for name in given:
        if name not in known:
            hint = closest(str(name), known) or known[0] if known else "–"
            raise UnknownName(f"data.cleaning.unknown_{kind}", name=name, hint=hint, known=_listed(known), **values)


def _listed(names: typing.Iterable[str]) -> str:
    return ", ".join(names) or "–"
