"""The Train page as it is drawn: a value for every output, from the form and what is known about it.

    draw(context, form, seen, Before(shown, entered))  ->  values of DRAWN, then column, component, reason of each field

What stands right on the page already is left alone, so that nobody's typing is disturbed.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr

from app import fitting, memory_view, plan_view
from app.context import Context
from app.forms import (
    Line,
    changed_html,
    fault_text,
    from_component,
    note_of,
    reason_html,
    short_label,
    to_component,
)
from app.i18n import page_path
from app.markup import empty_page, link, notice
from app.pages.shell import POLL_SECONDS
from app.preset_view import preset_html
from app.reasons import reason_text, source_text
from app.rewards import offered
from app.training_form import NAMED, Form, Seen, draft_of, is_looking, preset_named, table
from studio.params.table import Parameter

FAST_SECONDS = 0.5
"""Between two looks while the model and the data are being looked at."""
DRAWN = ("shown", "request", "draft", "notice", "data_note", "samples_fold", "samples", "settings", "plan", "start")
DRAWN += ("preset", "preset_values", "changed", "timer", "reward_choice")


@dataclass(frozen=True)
class Before:
    """What stood on the page when it asked."""

    shown: str | None
    """The hidden `train-shown`; empty for a page just opened."""
    entered: Iterable[Any]
    is_edit: bool = False
    """A person changed something, so the draft follows."""
    refills: bool = False
    """Emptied fields get their recommended value back; not while a person may be about to type into one."""

    @property
    def is_first(self) -> bool:
        return not self.shown


def draw(context: Context, form: Form, seen: Seen, before: Before) -> list[Any]:
    """A value for every output: `DRAWN`, then column, component and reason of each field."""
    last = json.loads(before.shown or "{}")
    now = _shown(context, form, seen, last)
    tokens = (seen.inspection or {}).get("tokens")
    samples = (seen.inspection or {}).get("samples") or []
    lack = missing(context, form, seen)
    drawn = {
        "shown": json.dumps(now),
        "request": secrets.token_hex(8) if before.is_first else gr.skip(),
        "draft": draft_of(form) if before.is_edit or before.is_first else gr.skip(),
        "notice": _notices(context, seen),
        "data_note": plan_view.data_note(context, seen.version, tokens),
        "samples_fold": gr.update(visible=bool(samples)),
        "samples": plan_view.samples_html(context, samples) if samples else "",
        "settings": gr.update(visible=seen.completed is not None),
        "plan": _plan(context, form, seen),
        "start": gr.update(value=lack or _start_label(context, seen), interactive=not lack),
        "preset": _preset_update(context, form, last),
        "preset_values": preset_html(context, preset_named(form.preset), table()),
        "changed": changed_html(context, _changed_labels(context, form, now)),
        "reward_choice": _reward_update(context, seen, now, last),
        "timer": gr.update(value=FAST_SECONDS if is_looking(seen) else POLL_SECONDS),
    }
    values = [drawn[name] for name in DRAWN]
    page = _Drawing(context, form, seen, last, now, before.refills or before.is_first)
    for parameter, raw in zip(table().values(), before.entered, strict=True):
        values += page.field(parameter, raw)
    return values


def missing(context: Context, form: Form, seen: Seen) -> str:
    """What stands between the form and a run, as the button's label; empty when it can start."""
    say = context.say
    if seen.version is None:
        return say("train.missing.dataset")
    if seen.base is None:
        return say("train.missing.model")
    if seen.inspection is None:
        return say("train.missing.look" if is_looking(seen) else "train.missing.looked")
    if seen.faults:
        return say("train.missing.faults", count=len(seen.faults))
    if seen.completed is None or any(each.severity == "error" for each in seen.completed.findings):
        return say("train.missing.checks")
    return ""


def _start_label(context: Context, seen: Seen) -> str:
    """Warnings may be overridden, knowingly: the button says how many stand; they are kept with the run."""
    findings = seen.completed.findings if seen.completed else ()
    warnings = sum(each.severity == "warning" for each in findings)
    return context.say("train.start_anyway", count=warnings) if warnings else context.say("train.start")


def _changed_labels(context: Context, form: Form, now: Mapping[str, Any]) -> list[str]:
    """Labels of the values that are the person's own and have an effect."""
    values = {**form.entered, **now["filled"], **form.chosen}
    own = [each for name, each in table().items() if name in form.chosen and each.applies_to(values)]
    return [short_label(each, context.language) for each in own]


def _shown(context: Context, form: Form, seen: Seen, last: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows now, for the next look at what a person has changed."""
    filled = last.get("filled", {})
    if seen.completed is not None:
        filled = {name: value for name, value in seen.completed.values.items() if name not in NAMED}
    return {
        "filled": filled,
        "chosen": dict(form.chosen),
        "given_back": dict(form.given_back),
        "preset": form.preset,
        "choices": _choices(context, form, seen),
        "reward": _reward_shown(context, form, seen, filled),
    }


def _reward_shown(context: Context, form: Form, seen: Seen, filled: Mapping[str, Any]) -> dict[str, Any]:
    """The rewards that are offered, and which of them stands in the form."""
    stands = {**filled, **form.chosen}.get("rewards")
    chosen = offered.chosen_of(context, seen, stands)
    return {"choices": offered.choices(context, seen), "chosen": chosen}


def _reward_update(context: Context, seen: Seen, now: Mapping[str, Any], last: Mapping[str, Any]) -> Any:
    if last.get("reward") == now["reward"]:
        return gr.skip()
    return gr.update(choices=[tuple(each) for each in now["reward"]["choices"]], value=now["reward"]["chosen"])


def _choices(context: Context, form: Form, seen: Seen) -> dict[str, list[list[str]]]:
    """What the data and the model drop-down offer; an older version that was asked for stays among them."""
    rows = [[context.say("train.data_choice", name=d.name, count=d.rows), d.name] for d in seen.datasets]
    asked = form.named.get("dataset")
    if seen.version is not None and asked not in [name for _, name in rows]:
        rows.append([context.say("train.data_choice", name=asked, count=seen.version.rows), asked])
    before = [[context.say("train.no_old_data"), ""], *([each.name, each.name] for each in seen.datasets)]
    named = [[model.name, model.name] for model in seen.models]
    return {"dataset": rows, "model_name_or_path": named, "old_dataset": before}


@dataclass(frozen=True)
class _Drawing:
    """One drawing of the fields."""

    context: Context
    form: Form
    seen: Seen
    last: Mapping[str, Any]
    """What the page showed before."""
    now: Mapping[str, Any]
    refills: bool

    def field(self, parameter: Parameter, raw: Any) -> list[Any]:
        """Column, component and reason of one field; what stands right already is left alone."""
        applies = parameter.applies_to({**self.form.entered, **self.now["filled"], **self.form.chosen})
        note = note_of(parameter, self._wanted(parameter), self.context.language)
        line = replace(self._line(parameter.name), note=note)
        reason = reason_html(parameter, line, self.context, table())
        if parameter.type == "rewards":
            reason = offered.note_html(self.context, self.seen, self.now["reward"]["chosen"]) + reason
        return [gr.update(visible=applies), self._component(parameter, raw), reason]

    def _component(self, parameter: Parameter, raw: Any) -> Any:
        name, stands = parameter.name, from_component(parameter, raw)
        wanted = self._wanted(parameter)
        choices = self.now["choices"].get(name)
        if choices != self.last.get("choices", {}).get(name):
            return gr.update(choices=[tuple(each) for each in choices], value=wanted)
        # An emptied field is left empty while a person may be about to type; the line below says what counts.
        was_emptied = stands is None and not self.refills and name not in NAMED
        return gr.skip() if was_emptied or stands == wanted else gr.update(value=to_component(parameter, wanted))

    def _wanted(self, parameter: Parameter) -> Any:
        if parameter.name in NAMED:
            return self.form.named[parameter.name]
        return self.form.chosen.get(parameter.name, self.now["filled"].get(parameter.name, parameter.default))

    def _line(self, name: str) -> Line:
        fault = next((each for each in self.seen.faults if each.field == name), None)
        if name in NAMED or self.seen.completed is None:
            return Line(fault=fault)
        is_changed = name in self.form.chosen
        why = self.seen.recommended.get(name) if is_changed else self.seen.completed.filled.get(name)
        return Line(
            reason=reason_text(self.context, why) if why else "",
            source=source_text(self.context, (why.source if why else "") or table()[name].source),
            is_changed=is_changed,
            recommended=why.value if why else table()[name].default,
            fault=fault,
        )


def _preset_update(context: Context, form: Form, last: Mapping[str, Any]) -> Any:
    if last and last.get("preset", "") == form.preset:
        return gr.skip()
    from studio.advisor.presets import presets_for

    choices = [(context.say("train.no_preset"), "")]
    choices += [(each.title(context.language), each.name) for each in presets_for(form.named["method"])]
    return gr.update(choices=choices, value=form.preset)


def _notices(context: Context, seen: Seen) -> str:
    """What the page cannot do without, and names that are not known (any more)."""
    say, language = context.say, context.language
    told = "".join(notice(error.message(language), "warn") for error in seen.unknown)
    if not seen.datasets:
        add = link(page_path(language, "data"), say("train.add_data"), classes="lu-button")
        told += empty_page(say("train.no_data"), add)
    if not seen.models:
        add = link(page_path(language, "models"), say("train.add_model"), classes="lu-button")
        told += empty_page(say("train.no_models"), add)
    return told


def _plan(context: Context, form: Form, seen: Seen) -> str:
    title = f'<h2 class="lu-part">{escape(context.say("train.plan.title"))}</h2>'
    elsewhere = [fault_text(each, table(), context.language) for each in seen.faults]
    if seen.completed is not None:
        memory = _memory(context, form, seen)
        return title + plan_view.plan_html(context, seen.completed, elsewhere, memory=memory, changed=form.chosen)
    if seen.base is None or seen.version is None:
        return f'{title}<p class="lu-note">{escape(context.say("train.plan.empty"))}</p>'
    if seen.inspection is None:
        return title + plan_view.looking_html(context, seen.job)
    return title + "".join(notice(f"✕ {sentence}", "bad") for sentence in elsewhere)


def _memory(context: Context, form: Form, seen: Seen) -> str:
    if seen.completed.forecast.memory is None:
        return ""
    found = fitting.remedy(form, seen)
    return memory_view.memory_html(
        context, seen.completed, remedy=found, probe=seen.probe, given_back=form.given_back, table=table()
    )
