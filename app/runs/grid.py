"""Several values of a setting on the Train page: a fold with up to three settings, and how many runs they make.

learning_rate   1e-4, 2e-4
lora_r          8, 16, 32      ->  "2 × 3 = 6 runs, about 40 min altogether", and the button that queues them
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import gradio as gr

from app.context import Context
from app.data import controls
from app.data.panel import Told, answered, told
from app.forms import short_label, to_component, value_text
from app.i18n import bytes_text, duration_text, page_path
from app.markup import notice
from app.pages.shell import bind
from app.train_drawing import missing
from app.training_form import Form, Seen, ask, look, read_form, table
from studio.errors import RefusedInput, SpecRefused
from studio.params.grid import can_be_tried, combinations, values_of
from studio.params.table import Parameter

LINES = 3
"""Settings that can be varied at once."""
_LOOK_SECONDS = 1.0
"""So long it is looked at what each run takes; the rest is taken to be like them."""


@dataclass(frozen=True)
class Tried:
    """What stands in the fold, and what it comes to."""

    lines: list[tuple[str, str]]
    """(setting, what is typed)"""
    values: dict[str, list[Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    fault: str = ""


def wire(context: Context, shown: gr.HTML, *, given: Sequence[Any], target: gr.Textbox, go: str) -> None:
    """Have the panel `shown` answer.

    Args:
        given: request, device, then what `read_form` reads: shown, draft, preset, every field.
        target: where the address of the queued runs goes; `go` follows it.
    """
    gr.context.Context.root_block.load(bind(first, context), None, [shown], queue=False, show_progress="hidden")
    quiet = {"show_progress": "hidden"}
    shown.select(bind(press, context), list(given), [shown, target], **quiet).success(None, [target], js=go)


def first(context: Context) -> str:
    return draw(context, Tried([("", "")] * LINES))


def press(  # noqa: PLR0913 - what the page sends
    context: Context,
    event: gr.EventData,
    request_id: str,
    device: str | None,
    shown: str | None,
    draft: Any,
    preset: str | None,
    *entered: Any,
) -> list[str]:
    """Something was typed or chosen, or the runs are to be queued: the panel, and then the address of the runs."""
    said = told(event)
    form, seen = look(context, read_form(shown, preset, entered))
    tried = read(context, said)
    if said.do != "queue" or tried.fault or missing(context, form, seen):
        return [answered(draw(context, tried, form, seen)), ""]
    try:
        queued = context.desk.train_grid(
            form.spec(), tried.values, request_id=_request(request_id, form, tried), device=device or None
        )
    except SpecRefused as error:
        refused = replace(tried, fault=error.message(context.language))
        return [answered(draw(context, refused, form, seen)), ""]
    return [first(context), page_path(context.language, "runs", tag=queued["tag"])]


def _request(page: str, form: Form, tried: Tried) -> str:
    asked = json.dumps([form.spec(), tried.values], sort_keys=True).encode()
    return f"{page}-{hashlib.sha256(asked).hexdigest()[:16]}"


def read(context: Context, said: Told) -> Tried:
    """What was typed, as values; the first thing wrong with it in words."""
    lines = [(said.text(f"setting{line}"), said.text(f"values{line}")) for line in range(LINES)]
    values: dict[str, list[Any]] = {}
    try:
        for name, typed in lines:
            if name in table() and typed:
                values[name] = values_of(table()[name], typed, context.language)
        return Tried(lines, values, combinations(values) if values else [])
    except RefusedInput as error:
        return Tried(lines, values, fault=error.message(context.language))


def draw(context: Context, tried: Tried, form: Form | None = None, seen: Seen | None = None) -> str:
    """The fold."""
    say = context.say
    lines = "".join(_line(context, number, *tried.lines[number], form) for number in range(LINES))
    inner = f'<p class="lu-note">{escape(say("train.grid.note"))}</p>' + controls.form(
        lines, _outcome(context, tried, form, seen), classes="lu-grid-form"
    )
    is_open = any(name or typed for name, typed in tried.lines)
    return controls.fold(say("train.grid.title"), inner, key="train-grid", is_open=is_open)


def _line(context: Context, number: int, name: str, typed: str, form: Form | None) -> str:
    """A setting and its values."""
    say = context.say
    offered = [(say("train.grid.none"), "")]
    offered += [(short_label(each, context.language), each.name) for each in _settings(form)]
    setting = say("train.grid.setting", number=number + 1)
    label = say("train.grid.values", number=number + 1)
    picked = table().get(name)
    # `data-draft`: an answer to what was entered before must not take away what is being entered now.
    kept = ' data-change="change" data-key="{0}" data-draft="{0}"'
    options = "".join(
        f'<option value="{escape(value)}"{" selected" if value == name else ""}>{escape(words)}</option>'
        for words, value in offered
    )
    return (
        f'<div class="lu-grid-line"><select name="setting{number}" aria-label="{escape(setting)}"'
        f"{kept.format(f'setting{number}')}>{options}</select>"
        f'<input type="text" name="values{number}" value="{escape(typed)}" aria-label="{escape(label)}"'
        f' placeholder="{escape(_example(context, picked, form))}" autocomplete="off"'
        f"{kept.format(f'values{number}')}></div>"
    )


def _settings(form: Form | None) -> list[Parameter]:
    """Settings that can be varied and have an effect in the form as it stands."""
    values: Mapping[str, Any] = {**form.entered, **form.chosen} if form else {}
    known = [each for each in table().values() if can_be_tried(each)]
    return sorted(
        (each for each in known if not values or each.applies_to(values)), key=lambda each: each.level != "basic"
    )


def _example(context: Context, parameter: Parameter | None, form: Form | None) -> str:
    """What could be typed: the choices, or the value that stands in the form and one beside it."""
    if parameter is None:
        return context.say("train.grid.example")
    if parameter.choices:
        return ", ".join(each.label(context.language) for each in parameter.choices)
    if parameter.type == "bool":
        return "true, false"
    stands = (form.entered.get(parameter.name) if form else None) or parameter.default
    if not stands:
        return context.say("train.grid.example")
    return f"{to_component(parameter, stands)}, {to_component(parameter, stands * 2)}"


def _outcome(context: Context, tried: Tried, form: Form | None, seen: Seen | None) -> str:
    """How many runs that makes and what they take, with the button; or what is wrong."""
    say = context.say
    if tried.fault:
        return notice(f"✕ {tried.fault}", "bad")
    if not tried.runs or form is None or seen is None:
        return f'<p class="lu-note">{escape(say("train.grid.empty"))}</p>'
    product = " × ".join(str(len(values)) for values in tried.values.values())
    told_count = say("train.grid.count", count=len(tried.runs))
    told_count = f"{product} = {told_count}" if len(tried.values) > 1 else told_count
    lack = missing(context, form, seen)
    taken, fault = _taken(context, tried, form, seen) if not lack else ("", "")
    label = say("train.grid.queue", count=len(tried.runs))
    pressed = controls.button("queue", label, kind="primary", why_not=lack or fault, settles=True)
    named = "".join(
        f"<li>{escape(short_label(table()[name], context.language))}: {escape(_values(context, name, values))}</li>"
        for name, values in tried.values.items()
    )
    return (
        f'<p role="status"><b>{escape(told_count)}</b> {escape(taken)}</p><ul class="lu-note">{named}</ul>'
        + controls.buttons(pressed)
    )


def _values(context: Context, name: str, values: Sequence[Any]) -> str:
    return context.say("common.list_comma").join(value_text(table()[name], value, context) for value in values)


def _taken(context: Context, tried: Tried, form: Form, seen: Seen) -> tuple[str, str]:
    """What all runs take together, about; and what keeps one of them from starting."""
    say, seconds, disk, num_known = context.say, 0.0, 0, 0
    until = time.monotonic() + _LOOK_SECONDS
    for chosen in tried.runs:
        try:
            plan = ask(replace(form, chosen={**form.chosen, **chosen}), seen)
        except SpecRefused as error:
            return "", say("train.grid.refused", which=_which(context, chosen), why=error.message(context.language))
        if any(finding.severity == "error" for finding in plan.findings):
            return "", say("train.grid.checks", which=_which(context, chosen))
        if plan.forecast.seconds is None:
            return "", ""
        seconds, disk, num_known = (
            seconds + plan.forecast.seconds,
            disk + (plan.forecast.disk_bytes or 0),
            num_known + 1,
        )
        if time.monotonic() > until:
            break
    share = len(tried.runs) / num_known
    time_told = duration_text(seconds * share, context.language)
    return say("train.grid.taken", time=time_told, size=bytes_text(disk * share)), ""


def _which(context: Context, chosen: Mapping[str, Any]) -> str:
    """One combination in words."""
    named = (
        f"{short_label(table()[name], context.language)} {value_text(table()[name], value, context)}"
        for name, value in chosen.items()
    )
    return context.say("common.list_comma").join(named)
