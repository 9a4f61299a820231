"""The options of a cleaning step or check as fields, and what a person entered as option values.

    fields_html(context, "clean.duplicates", infos, {"similarity": 0.9})      a field for each, with label and help
    entered(infos, {"similarity": "0.9", "near": True})  ->  {"similarity": 0.9}      what differs from the defaults

Labels and help are `data.<prefix>.<option>.label` and `.help`; words of choices `data.choice.<value>`; a grader's words
stand in its own file (`studio.graders.declared`), so a form of it brings `Words` of its own.
"""

import json
from typing import Any, Protocol

from app.context import Context
from app.data import controls
from studio.errors import RefusedInput
from studio.messages import has
from studio.workshop.recipe import OptionInfo


class Words(Protocol):
    """What options and their choices are called."""

    def label(self, option: str) -> str: ...

    def help(self, option: str) -> str: ...

    def choice(self, option: str, value: Any) -> str: ...


def fields_html(context: Context, prefix: str, infos: list[OptionInfo], values: dict[str, Any], *, change: str) -> str:
    """One field an option; a change of any sends all of them."""
    return worded_fields(context, _LocaleWords(context, prefix), infos, values, change=change)


def worded_fields(
    context: Context, words: Words, infos: list[OptionInfo], values: dict[str, Any], *, change: str
) -> str:
    """`fields_html` with words from elsewhere."""
    return "".join(_field(context, words, info, values.get(info.name, info.default), change) for info in infos)


def entered(infos: list[OptionInfo], fields: dict[str, Any]) -> dict[str, Any]:
    """The options that differ from their defaults.

    Raises:
        RefusedInput: a number or JSON that is none.
    """
    values = {info.name: _read(info, fields) for info in infos if _has(info, fields)}
    defaults = {info.name: _plain(info.default) for info in infos}
    return {name: value for name, value in values.items() if value != defaults[name]}


def choice_words(context: Context, prefix: str, option: str, value: Any) -> str:
    """What a choice is called: its own words in this option, or those that it has everywhere."""
    for key in (f"data.{prefix}.{option}.{value}", f"data.choice.{value}"):
        if has(key):
            return context.say(key)
    return str(value)


class _LocaleWords:
    """Words of cleaning steps and checks."""

    def __init__(self, context: Context, prefix: str) -> None:
        self._context = context
        self._prefix = prefix

    def label(self, option: str) -> str:
        return self._context.say(f"data.{self._prefix}.{option}.label")

    def help(self, option: str) -> str:
        key = f"data.{self._prefix}.{option}.help"
        return self._context.say(key) if has(key) else ""

    def choice(self, option: str, value: Any) -> str:
        return choice_words(self._context, self._prefix, option, value)


def _field(context: Context, words: Words, info: OptionInfo, value: Any, change: str) -> str:
    label, note = words.label(info.name), words.help(info.name)
    match info.kind:
        case "flag":
            return controls.checkbox(info.name, label, bool(value), note=note, change=change)
        case "integer" | "number":
            step = "1" if info.kind == "integer" else "any"
            return controls.number(
                info.name, label, value, note=note, least=info.minimum, most=info.maximum, step=step, change=change
            )
        case "choice":
            choices = [(words.choice(info.name, each), str(each)) for each in info.choices]
            if info.is_optional:
                choices.insert(0, (context.say("data.choice.none"), ""))
            return controls.select(
                info.name, label, choices, "" if value is None else str(value), note=note, change=change
            )
        case "choices":
            boxes = "".join(
                controls.checkbox(f"{info.name}:{each}", words.choice(info.name, each), each in value, change=change)
                for each in info.choices
            )
            return controls.labelled_group(label, boxes, note)
        case "texts":
            lines = "\n".join(str(each) for each in value or ())
            return controls.area(info.name, label, lines, note=note, rows=3, change=change)
        case "json":
            text = "" if value is None else json.dumps(value, ensure_ascii=False, indent=1)
            return controls.area(info.name, label, text, note=note, rows=6, change=change)
    return controls.text(info.name, label, "" if value is None else str(value), note=note, change=change)


def _has(info: OptionInfo, fields: dict[str, Any]) -> bool:
    if info.kind == "choices":
        return any(f"{info.name}:{each}" in fields for each in info.choices)
    return info.name in fields


def _read(info: OptionInfo, fields: dict[str, Any]) -> Any:
    value = fields.get(info.name)
    match info.kind:
        case "flag":
            return bool(value)
        case "choices":
            return [each for each in info.choices if fields.get(f"{info.name}:{each}")]
        case "texts":
            return [line.strip() for line in str(value).splitlines() if line.strip()]
    text = str(value).strip()
    if not text and (info.is_optional or info.kind in ("json", "integer", "number")):
        return _plain(info.default)
    match info.kind:
        case "choice":
            return next((each for each in info.choices if str(each) == text), text)
        case "integer" | "number":
            return _number(info, text)
        case "json":
            return _json(info, text)
    return text


def _number(info: OptionInfo, text: str) -> float | int:
    try:
        return int(text) if info.kind == "integer" else float(text)
    except ValueError as error:
        raise RefusedInput("data.page.no_number", name=info.name, text=text[:40]) from error


def _json(info: OptionInfo, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RefusedInput("data.page.no_json", name=info.name) from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
