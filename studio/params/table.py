"""The parameter table: every value that a training method takes, read from the YAML files beside this module.

The form, the command line, the spec, its validation and the arguments handed to trl all come from here. Names are
spelled as trl, peft and transformers spell them. This module knows nothing of trl; `trl_names` maps values to it.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from studio.errors import Fault, RefusedInput, SpecRefused
from studio.params.clashes import clashes
from studio.params.methods import METHODS as _METHODS

_FOLDER = Path(__file__).parent
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
METHODS = tuple(_METHODS)
"""Each has its `<method>.yaml` here."""


class Unreadable(ValueError):
    """A value that cannot be read, with what is wrong with it."""

    def __init__(self, refused: RefusedInput) -> None:
        super().__init__(str(refused))
        self.refused = refused


NO_REWARD = "reward.none_yet"
"""Code of the fault that there is none to learn from: the advisor fills in the last one that was tried."""
MAY_COME = MappingProxyType({"tuning": "qlora"})
"""What the advisor may fill in besides the default: compressed weights, where nothing else fits."""


@dataclass(frozen=True)
class Choice:
    value: str
    labels: Mapping[str, str]
    whens: Mapping[str, str] = field(default_factory=dict)
    """When to take it, by language; empty where its label says enough."""

    def label(self, language: str) -> str:
        return self.labels[language]

    def when(self, language: str) -> str:
        return self.whens.get(language, "")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One row of a method's table."""

    name: str
    type: str
    """int, float, bool, choice, text, names (a list of words), dataset (the name of one, with a version or not), or
    rewards (rules with weights, see `studio.rewards.recipe`)."""
    default: Any = None
    """Used when neither the person nor the advisor says otherwise."""
    required: bool = False
    """There is no default that could stand in for it."""
    minimum: float | None = None
    """Smallest legal value."""
    above: float | None = None
    """The value must be larger than this."""
    maximum: float | None = None
    """Largest legal value."""
    choices: tuple[Choice, ...] = ()
    meanings: Mapping[Any, Mapping[str, str]] = field(default_factory=dict)
    """{value: {language: words}} of values that are no amount, such as -1 steps."""
    unit: str | None = None
    """epochs, steps, rows, tokens or share (of one)."""
    level: str
    """basic or advanced."""
    group: str
    """A key of groups.yaml."""
    target: str
    """Who takes it under this name: trl (the method's config), peft, model (from_pretrained), or studio."""
    applies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """{other parameter: the values of it under which this one has an effect}; empty means always."""
    labels: Mapping[str, str]
    helps: Mapping[str, str]
    source: str
    """Where the advice on it comes from."""

    def label(self, language: str) -> str:
        return self.labels[language]

    def help(self, language: str) -> str:
        return self.helps[language]

    def applies_to(self, values: Mapping[str, Any]) -> bool:
        return all(values.get(name) in allowed for name, allowed in self.applies.items())


@cache
def parameters(method: str) -> tuple[Parameter, ...]:
    """The method's table, in the form's order.

    Raises:
        SpecRefused: no such method.
    """
    if method not in METHODS:
        raise SpecRefused([_not_a_choice("method", method, METHODS)])
    table = _read(f"{method}.yaml")
    rows = [row for name in table["include"] for row in _read(f"{name}.yaml")] + table["parameters"]
    kept = (_parameter(_for_method(row, method)) for row in rows if row["name"] not in table.get("without", ()))
    order = list(groups())
    return tuple(sorted(kept, key=lambda parameter: order.index(parameter.group)))


@cache
def every_parameter() -> Mapping[str, Parameter]:
    """The parameters of all methods by name, in the form's order; one that some methods lack applies to the others."""
    found: dict[str, Parameter] = {}
    having: dict[str, tuple[str, ...]] = {}
    for method in METHODS:
        for parameter in parameters(method):
            found[parameter.name] = _together(found.get(parameter.name), parameter)
            having[parameter.name] = (*having.get(parameter.name, ()), method)
    return MappingProxyType({name: _limited(found[name], having[name]) for name in _in_order(found)})


@cache
def groups() -> Mapping[str, Mapping[str, str]]:
    """{group: {language: title}}, in the form's order."""
    return MappingProxyType(_read("groups.yaml"))


def check(values: Mapping[str, Any], *, is_draft: bool = False) -> dict[str, Any]:
    """`values` typed and completed with the table's defaults; values that have no effect are left out.

    {"model_name_or_path": "starter", "dataset": "d", "seed": "7"} -> {..., "seed": 7, "tuning": "lora", ...}

    Args:
        is_draft: the rest will be filled in by the advisor, so defaults that clash with a given value do not count yet,
            nor those beside which it has no effect, if the advisor may come to others (`MAY_COME`).

    Raises:
        SpecRefused: with every fault: unknown names, wrong types, values out of bounds, values that clash.
    """
    given = {name: value for name, value in values.items() if value is not None}
    table = {parameter.name: parameter for parameter in parameters(str(given.get("method", "sft")))}
    faults = [_unknown(name, table) for name in given if name not in table]
    typed: dict[str, Any] = {}
    for parameter in table.values():
        fault = _take(parameter, given, typed)
        if fault and not (is_draft and fault.code == NO_REWARD):
            faults.append(fault)
    may_come = MAY_COME if is_draft else {}
    faults += _without_effect(table, given, typed, may_come) + ([] if is_draft else clashes(typed))
    if faults:
        raise SpecRefused(faults)
    waiting = given if is_draft else {}
    return {name: value for name, value in typed.items() if table[name].applies_to(typed) or name in waiting}


def effective_batch_size(values: Mapping[str, Any]) -> int:
    """Rows that count in one update on one device."""
    return values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]


def convert(parameter: Parameter, value: Any) -> Any:
    """`value` in the parameter's type.

    Raises:
        ValueError: it cannot be read as that type.
    """
    return _CONVERTERS[parameter.type](value)


def find_fault(parameter: Parameter, value: Any) -> Fault | None:
    """What is wrong with one value on its own, or None. A form asks this field by field."""
    try:
        typed = convert(parameter, value)
    except Unreadable as error:
        return Fault(parameter.name, error.refused.code, error.refused.values)
    except ValueError:
        return Fault(parameter.name, f"spec.not_{parameter.type}", {"value": value})
    if parameter.choices and typed not in [choice.value for choice in parameter.choices]:
        return _not_a_choice(parameter.name, typed, [choice.value for choice in parameter.choices])
    if parameter.required and not typed:
        return Fault(parameter.name, "spec.missing")
    return _out_of_bounds(parameter, typed)


def _together(known: Parameter | None, parameter: Parameter) -> Parameter:
    """One row for what two methods call alike, with the choices of both."""
    if known is None:
        return parameter
    listed = {choice.value for choice in known.choices}
    return replace(known, choices=(*known.choices, *(each for each in parameter.choices if each.value not in listed)))


def _limited(parameter: Parameter, methods: tuple[str, ...]) -> Parameter:
    return parameter if methods == METHODS else replace(parameter, applies={**parameter.applies, "method": methods})


def _in_order(found: Mapping[str, Parameter]) -> list[str]:
    order = list(groups())
    return sorted(found, key=lambda name: order.index(found[name].group))


def _take(parameter: Parameter, given: Mapping[str, Any], typed: dict[str, Any]) -> Fault | None:
    if parameter.name not in given:
        typed[parameter.name] = parameter.default
        missing = NO_REWARD if parameter.type == "rewards" else "spec.missing"
        return Fault(parameter.name, missing) if parameter.required else None
    fault = find_fault(parameter, given[parameter.name])
    typed[parameter.name] = parameter.default if fault else convert(parameter, given[parameter.name])
    return fault


def _out_of_bounds(parameter: Parameter, value: Any) -> Fault | None:
    if parameter.type not in ("int", "float"):
        return None
    if parameter.minimum is not None and value < parameter.minimum:
        return Fault(parameter.name, "spec.too_small", {"value": value, "limit": parameter.minimum})
    if parameter.above is not None and value <= parameter.above:
        return Fault(parameter.name, "spec.not_above", {"value": value, "limit": parameter.above})
    if parameter.maximum is not None and value > parameter.maximum:
        return Fault(parameter.name, "spec.too_large", {"value": value, "limit": parameter.maximum})
    return None


def _unknown(name: str, table: Mapping[str, Parameter]) -> Fault:
    if name == "load_in_4bit":  # of the library; here it follows from the way of tuning
        return Fault(name, "spec.four_bits")
    near = difflib.get_close_matches(str(name), table, n=1, cutoff=0.6)
    if near:
        return Fault(str(name), "spec.unknown_near", {"near": near[0]})
    return Fault(str(name), "spec.unknown")


def _not_a_choice(name: str, value: Any, choices: Any) -> Fault:
    return Fault(name, "spec.not_choice", {"value": value, "choices": ", ".join(choices)})


def _without_effect(
    table: Mapping[str, Parameter], given: Mapping[str, Any], typed: Mapping[str, Any], may_come: Mapping[str, Any]
) -> list[Fault]:
    """Given values that would be ignored: silence would let a person believe that they count."""
    faults = []
    for name in given:
        if name in table and not table[name].applies_to(typed):
            other, allowed = next((o, a) for o, a in table[name].applies.items() if typed.get(o) not in a)
            if other not in given and may_come.get(other) in allowed:
                continue
            values = {"other": other, "value": typed.get(other), "allowed": ", ".join(allowed)}
            faults.append(Fault(name, "spec.no_effect", values))
    return faults


def _to_int(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError(value)
    number = _to_float(value)
    if number != int(number):
        raise ValueError(value)
    return int(number)


def _to_float(value: Any) -> float:
    """Numbers, and text that is one: YAML 1.1 reads `2e-5` as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(value)


def _to_text(value: Any) -> str:
    if value is False:  # YAML 1.1 reads `no` as false; `mixed_precision: no` means the word
        return "no"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(value)
    return str(value).strip()


def _to_names(value: Any) -> list[str]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise ValueError(value)
    names = [word.strip() for word in words if word.strip()]
    if not names:
        raise ValueError(value)
    return names


def _to_rewards(value: Any) -> dict[str, Any]:
    """Rules as a spec holds them, or as YAML or JSON text; as plain values, checked."""
    from studio.rewards import recipe

    try:
        read = recipe.parse_yaml(value, file="rewards") if isinstance(value, str) else recipe.parse(value)
    except RefusedInput as error:
        raise Unreadable(error) from error
    return recipe.to_document(read)


_CONVERTERS = MappingProxyType(
    {
        "int": _to_int,
        "float": _to_float,
        "bool": _to_bool,
        "choice": _to_text,
        "text": _to_text,
        "dataset": _to_text,
        "names": _to_names,
        "rewards": _to_rewards,
    }
)


def _for_method(row: Mapping[str, Any], method: str) -> Mapping[str, Any]:
    """A row of a table that several methods share: `default` may name one for each, and a choice the methods it is for.

    {"default": {"dpo": "sigmoid", "kto": "kto"}, "choices": {"kto": {"en": ..., "methods": ["kto"]}, ...}}
    """
    if isinstance(row.get("default"), dict):
        row = {**row, "default": row["default"][method]}
    if "choices" not in row:
        return row
    choices = {name: dict(words) for name, words in row["choices"].items()}
    own = {name: words for name, words in choices.items() if method in words.pop("methods", (method,))}
    return {**row, "choices": own}


def _parameter(row: Mapping[str, Any]) -> Parameter:
    plain = {key: value for key, value in row.items() if key not in ("label", "help", "choices", "applies")}
    return Parameter(
        **plain,
        labels=MappingProxyType(row["label"]),
        helps=MappingProxyType(row["help"]),
        choices=tuple(_choice(value, words) for value, words in row.get("choices", {}).items()),
        applies=MappingProxyType({name: tuple(allowed) for name, allowed in row.get("applies", {}).items()}),
    )


def _choice(value: str, words: Mapping[str, Any]) -> Choice:
    labels = {language: word for language, word in words.items() if language != "when"}
    return Choice(value, MappingProxyType(labels), MappingProxyType(words.get("when", {})))


def _read(name: str) -> Any:
    return yaml.load((_FOLDER / name).read_text("utf-8"), _Loader)
