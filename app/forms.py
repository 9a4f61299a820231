"""A parameter table as form fields: components in, values out. No field is listed by hand; the table names them all.

    fields = [make_field(parameter, context, page="train") for parameter in every_parameter().values()]
    shown = to_component(parameter, ["q_proj", "v_proj"])     ->  "q_proj, v_proj"
    typed = from_component(parameter, "q_proj, v_proj")       ->  ["q_proj", "v_proj"]

What a value should be, and why, is the advisor's; this module only shows it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import yaml

from app.context import Context
from studio.errors import Fault
from studio.params.table import Parameter, convert, every_parameter, find_fault, groups

# One listener for the line below a field: its button says which field goes back.
BACK_SCRIPT = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-back]');
  if (button) trigger('select', { field: button.dataset.back });
});
"""
MOST_BUTTONS = 5
"""Choices that stand side by side; more are a list to unfold, with a sentence on the chosen one."""
EVERY_FIELD = "*"
"""What the button that takes everything back names as its field."""


@dataclass(frozen=True)
class Field:
    """One parameter on a page."""

    parameter: Parameter
    column: gr.Column
    """Holds the two below; hidden while the parameter has no effect."""
    component: gr.components.Component
    chooser: gr.Dropdown | None
    """Of a reward: those that were tried, by name; the component then holds the chosen one's rules as text."""
    reason: gr.HTML
    """Why it has its value; its `select` event carries `field` when "back to recommended" is pressed."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What stands below a field."""

    note: str = ""
    """When to take what is chosen."""

    reason: str = ""
    """Why the recommended value is what it is; empty where nobody said."""
    source: str = ""
    """Who says so."""
    is_changed: bool = False
    recommended: Any = None
    """What the field goes back to; only for a changed one."""
    fault: Fault | None = None


def make_field(parameter: Parameter, context: Context, *, page: str, elem_id: str | None = None) -> Field:
    """The parameter's component with its label and help, and the line below it."""
    name = elem_id or f"{page}-{parameter.name}"
    with gr.Column(elem_classes="lu-field", elem_id=f"{name}-field") as column:
        chooser = _chooser(context, name) if parameter.type == "rewards" else None
        if chooser is None:
            component = _component(parameter, context, name)
        else:
            with gr.Accordion(context.say("train.reward.yaml"), open=False, elem_id=f"{name}-text"):
                component = _component(parameter, context, name)
        reason = gr.HTML(elem_id=f"{name}-reason", js_on_load=BACK_SCRIPT, padding=False)
    return Field(parameter, column, component, chooser, reason)


def _chooser(context: Context, name: str) -> gr.Dropdown:
    # Custom values pass: a restarted server has forgotten the choices that it gave to a page still open.
    label, info = context.say("train.reward.label"), context.say("train.reward.info")
    return gr.Dropdown(
        [], value=None, label=label, info=info, elem_id=f"{name}-choice", interactive=True, allow_custom_value=True
    )


def by_group(*, level: str) -> dict[str, list[Parameter]]:
    """The parameters of all methods by group, in the form's order; groups without any are left out."""
    chosen = [each for each in every_parameter().values() if each.level == level]
    found = {group: [each for each in chosen if each.group == group] for group in groups()}
    return {group: members for group, members in found.items() if members}


def to_component(parameter: Parameter, value: Any) -> Any:
    """A parameter's value as its component shows it."""
    if parameter.type == "rewards" and value is not None and not isinstance(value, str):
        return yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    return ", ".join(value) if parameter.type == "names" and isinstance(value, list | tuple) else value


def from_component(parameter: Parameter, value: Any) -> Any:
    """What a person entered, in the parameter's type; as it stands where it cannot be read, None where it is empty."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return convert(parameter, value)
    except ValueError:
        return value


def read_values(table: Iterable[Parameter], values: Iterable[Any]) -> dict[str, Any]:
    """{name: value} of a form's components, in the table's order."""
    return {each.name: from_component(each, value) for each, value in zip(table, values, strict=True)}


def faults_of(table: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Fault]:
    """What is wrong with each value on its own, by field."""
    found = {name: find_fault(table[name], value) for name, value in values.items() if name in table}
    return {name: fault for name, fault in found.items() if fault}


def fault_text(fault: Fault, table: Mapping[str, Parameter], language: str) -> str:
    """A fault's sentence with the labels that the form shows in place of the parameters' names."""
    from studio.messages import say

    values = dict(fault.values)
    if values.get("other") in table:
        values["other"] = short_label(table[str(values["other"])], language)
    field = short_label(table[fault.field], language) if fault.field in table else fault.field
    return say(f"errors.{fault.code}", language, field=field, **values)


def value_text(parameter: Parameter, value: Any, context: Context) -> str:
    """A value in words: a choice's label, a number with its unit."""
    if value is None:
        return "–"
    if parameter.choices:
        return next((each.label(context.language) for each in parameter.choices if each.value == value), str(value))
    if isinstance(value, bool):
        return context.say("train.yes" if value else "train.no")
    if isinstance(value, int | float):
        if value in parameter.meanings:
            return parameter.meanings[value][context.language]
        shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
        return f"{shown} {unit_text(parameter, context)}".strip()
    return str(to_component(parameter, value))


def label_text(parameter: Parameter, context: Context) -> str:
    """The label, with the unit where the words do not name it already."""
    label, unit = parameter.label(context.language), unit_text(parameter, context)
    is_named = not unit or unit.rstrip("s").removeprefix("个").casefold() in label.casefold()
    return label if is_named else context.say("train.with_unit", label=label, unit=unit)


def unit_text(parameter: Parameter, context: Context) -> str:
    """The unit in words; a share of one has none."""
    return "" if parameter.unit in (None, "share") else context.say(f"train.unit.{parameter.unit}")


def note_of(parameter: Parameter, value: Any, language: str) -> str:
    """When to take the chosen value of a list; empty where nothing is said of it."""
    return next((each.when(language) for each in parameter.choices if each.value == value), "")


def reason_html(parameter: Parameter, line: Line, context: Context, table: Mapping[str, Parameter]) -> str:
    """The line below a field: a fault, or that it was changed and what it goes back to, or why it is filled in so."""
    parts = [f'<p class="lu-why lu-when">{escape(line.note)}</p>'] if line.note else []
    if line.fault:
        sentence = fault_text(line.fault, table, context.language)
        parts.append(f'<p class="lu-why lu-bad" role="alert">✕ {escape(sentence)}</p>')
    if line.is_changed:
        parts.append(_changed(parameter, line, context))
    elif line.reason and not line.fault:
        filled = escape(context.say("train.filled_in", reason=line.reason))
        parts.append(f'<p class="lu-why">{filled}{_source(line, context)}</p>')
    return "".join(parts)


def changed_html(context: Context, labels: Sequence[str]) -> str:
    """How many values are a person's own, which, and the button that takes all of them back; empty for none."""
    if not labels:
        return ""
    say = context.say
    told = say("train.changed_count", count=len(labels), names=say("common.list_comma").join(labels))
    back = f'<button type="button" data-back="{EVERY_FIELD}">{escape(say("train.back_all"))}</button>'
    return f'<p class="lu-why lu-mine" role="status"><b>●</b> {escape(told)} {back}</p>'


def _source(line: Line, context: Context) -> str:
    words = escape(context.say("train.source", source=line.source)) if line.source else ""
    return f' <span class="lu-source">· {words}</span>' if words else ""


def _changed(parameter: Parameter, line: Line, context: Context) -> str:
    say = context.say
    recommended = say("train.recommended", value=value_text(parameter, line.recommended, context))
    why = f" ({line.reason})" if line.reason else ""
    back = f'<button type="button" data-back="{parameter.name}">{escape(say("train.back"))}</button>'
    told = f"{escape(recommended + why)}{_source(line, context)}"
    return f'<p class="lu-why lu-mine"><b>● {escape(say("train.changed"))}</b> {told} {back}</p>'


def _component(parameter: Parameter, context: Context, elem_id: str) -> gr.components.Component:
    language = context.language
    label, info = label_text(parameter, context), parameter.help(language)
    if parameter.choices:
        choices = [(each.label(language), each.value) for each in parameter.choices]
        is_short = parameter.level == "basic" and len(choices) <= MOST_BUTTONS
        kind = gr.Radio if is_short else gr.Dropdown
        return kind(choices, value=parameter.default, label=label, info=info, elem_id=elem_id, interactive=True)
    if parameter.type == "bool":
        return gr.Checkbox(parameter.default, label=label, info=info, elem_id=elem_id, interactive=True)
    if parameter.type in ("int", "float"):
        # No bounds here: Gradio's own refusal would be in English. The table's check says it beside the field.
        return gr.Number(
            parameter.default, label=label, info=info, elem_id=elem_id, interactive=True, step=_step(parameter)
        )
    if parameter.type == "rewards":
        return gr.Textbox(None, label=label, info=info, elem_id=elem_id, interactive=True, lines=4, max_lines=12)
    if parameter.required or parameter.type == "dataset":
        # Custom values pass: a restarted server has forgotten the choices that it gave to a page still open.
        return gr.Dropdown(
            [], value=None, label=label, info=info, elem_id=elem_id, interactive=True, allow_custom_value=True
        )
    value = to_component(parameter, parameter.default)
    return gr.Textbox(value, label=label, info=info, elem_id=elem_id, interactive=True, max_lines=1)


def _step(parameter: Parameter) -> float:
    """How far the arrows beside a number move it."""
    if parameter.type == "int":
        return 1
    default = abs(parameter.default or 0)
    return 1 if default >= 1 else 0.01 if default >= 0.01 or default == 0 else 0.00001


def short_label(parameter: Parameter, language: str) -> str:
    """The label in quotes, without what it explains in brackets."""
    label = parameter.label(language)
    for bracket in ("(", "\uff08"):  # and the full-width one
        label = label.partition(bracket)[0]
    return label.strip()
