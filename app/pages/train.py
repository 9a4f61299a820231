"""Train: say what to train on what; the form fills itself in, says why, and shows what the run will take.

`?dataset=NAME&model=NAME` choose both, `?from=RUN` brings an earlier run's settings ("try again with a change"). Every
field comes from the parameter table, every filled-in value from the advisor. Looking at a model and a data set for the
first time is a job; this page starts it and follows it. Entries that are not the recommended ones are kept in the
browser, so a reload loses none.
"""

import hashlib
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
    BACK_SCRIPT,
    EVERY_FIELD,
    Field,
    Line,
    by_group,
    changed_html,
    fault_text,
    from_component,
    make_field,
    reason_html,
    short_label,
    to_component,
)
from app.i18n import page_path
from app.markup import empty_page, heading, link, notice
from app.pages.shell import POLL_SECONDS, bind, redraw_on_change
from app.preset_view import preset_html
from app.reasons import reason_text, source_text
from app.training_form import (
    NAMED,
    Form,
    Seen,
    draft_of,
    find_out,
    first_form,
    is_looking,
    look,
    preset_named,
    preset_values,
    read_form,
    table,
)
from studio.errors import SpecRefused
from studio.params.table import METHODS, Parameter, groups

SECTIONS = {
    "goal": ("goal", "run_name", "method"),
    "data": ("dataset",),
    "model": ("model_name_or_path", "tuning"),
    "intention": ("intention",),
}
FAST_SECONDS = 0.5
"""Between two looks while the model and the data are being looked at."""
_GO = "(address) => { if (address) window.location.href = address; }"
# A page that comes back from the browser's memory would ask with the number of the run that it started already.
_FRESH = "() => { window.addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); }); }"


# -- layout ----------------------------------------------------------------------------------------------------------


def build(context: Context) -> None:
    """Lay the page out and wire it."""
    say = context.say
    gr.HTML(heading(say("train.title"), say("train.note")), padding=False)
    parts: dict[str, Any] = {"notice": gr.HTML(elem_id="train-notice", padding=False)}
    fields: dict[str, Field] = {}
    with gr.Row(equal_height=False, elem_classes="lu-train"):
        with gr.Column(scale=3, min_width=320):
            _sections(context, parts, fields)
            _settings(context, parts, fields)
        with gr.Column(scale=2, min_width=320, elem_classes="lu-plan", elem_id="train-plan-column"):
            parts["plan"] = gr.HTML(elem_id="train-plan", js_on_load=plan_view.PLAN_SCRIPT, padding=False)
            parts["start"] = gr.Button(
                say("train.start"), variant="primary", size="lg", interactive=False, elem_id="train-start"
            )
            gr.HTML(f'<p class="lu-note">{escape(say("train.may_close"))}</p>', padding=False)
    _hidden(parts)
    _wire(context, parts, [fields[name] for name in table()])


def _sections(context: Context, parts: dict[str, Any], fields: dict[str, Field]) -> None:
    """The four questions, in order; a goal parameter that no section names stands with the first."""
    rest = [each.name for each in table().values() if each.group == "goal"]
    rest = [name for name in rest if not any(name in members for members in SECTIONS.values())]
    for number, (section, members) in enumerate(SECTIONS.items(), start=1):
        title = f"{number} · {context.say(f'train.section.{section}')}"
        gr.HTML(f'<h2 class="lu-part">{escape(title)}</h2>', padding=False, elem_id=f"train-section-{section}")
        for name in (*members, *(rest if section == "goal" else ())):
            elem_id = "train-model" if name == "model_name_or_path" else None
            fields[name] = make_field(table()[name], context, page="train", elem_id=elem_id)
        if section == "data":
            parts["data_note"] = gr.HTML(elem_id="train-data-note", padding=False)
            with gr.Accordion(context.say("train.samples"), open=False, visible=False) as parts["samples_fold"]:
                parts["samples"] = gr.HTML(elem_id="train-samples", padding=False)
    parts["preset"] = gr.Dropdown(
        [(context.say("train.no_preset"), "")],
        value="",
        label=context.say("train.preset"),
        info=context.say("train.preset_note"),
        allow_custom_value=True,
        interactive=True,
        elem_id="train-preset",
    )
    parts["preset_values"] = gr.HTML(elem_id="train-preset-values", padding=False)


def _settings(context: Context, parts: dict[str, Any], fields: dict[str, Field]) -> None:
    """Basic fields, then the advanced ones folded by group."""
    with gr.Column(visible=False, elem_id="train-settings") as parts["settings"]:
        gr.HTML(f'<h2 class="lu-part">{escape(context.say("train.filled_title"))}</h2>', padding=False)
        parts["changed"] = gr.HTML(elem_id="train-changed", js_on_load=BACK_SCRIPT, padding=False)
        for method in METHODS:
            _add_fields(context, fields, _rest(by_group(method, level="basic"), fields))
        gr.HTML(f'<h2 class="lu-part">{escape(context.say("train.advanced"))}</h2>', padding=False)
        for method in METHODS:
            for group, members in _rest(by_group(method, level="advanced"), fields).items():
                title = groups()[group][context.language]
                with gr.Accordion(title, open=False, elem_id=f"train-group-{group}"):
                    _add_fields(context, fields, {group: members})


def _rest(grouped: dict[str, list[Parameter]], fields: Mapping[str, Field]) -> dict[str, list[Parameter]]:
    left = {group: [each for each in members if each.name not in fields] for group, members in grouped.items()}
    return {group: members for group, members in left.items() if members}


def _add_fields(context: Context, fields: dict[str, Field], grouped: dict[str, list[Parameter]]) -> None:
    for members in grouped.values():
        for parameter in members:
            fields[parameter.name] = make_field(parameter, context, page="train")


def _hidden(parts: dict[str, Any]) -> None:
    parts["shown"] = gr.Textbox("", visible=False, elem_id="train-shown")
    """What the fields were filled with last, as JSON; what differs from it, a person entered."""
    parts["request"] = gr.Textbox("", visible=False, elem_id="train-request")
    parts["draft"] = gr.BrowserState(None, storage_key="luthier-train-draft", secret="luthier-draft")
    parts["target"] = gr.Textbox("", visible=False, elem_id="train-target")
    parts["timer"] = gr.Timer(POLL_SECONDS)


_DRAWN = ("shown", "request", "draft", "notice", "data_note", "samples_fold", "samples", "settings", "plan", "start")
_DRAWN += ("preset", "preset_values", "changed", "timer")


def _wire(context: Context, parts: dict[str, Any], fields: list[Field]) -> None:
    given = [parts["shown"], parts["draft"], parts["preset"], *[each.component for each in fields]]
    drawn = [parts[name] for name in _DRAWN]
    for each in fields:
        drawn += [each.column, each.component, each.reason]
    quiet = {"show_progress": "hidden"}
    redraw_on_change(context, refresh, inputs=given, outputs=drawn, timer=parts["timer"])
    typed = [each.component.input for each in fields if isinstance(each.component, gr.Number | gr.Textbox)]
    picked = [each.component.input for each in fields if not isinstance(each.component, gr.Number | gr.Textbox)]
    left = [each.component.blur for each in fields if isinstance(each.component, gr.Number)]
    gr.on(typed, bind(change, context), given, drawn, trigger_mode="always_last", **quiet)
    gr.on(picked, bind(pick, context), given, drawn, trigger_mode="always_last", **quiet)
    gr.on(left, bind(leave, context), given, drawn, trigger_mode="always_last", **quiet)
    parts["preset"].input(bind(use_preset, context), given, drawn, **quiet)
    gr.on(
        [*(each.reason.select for each in fields), parts["changed"].select], bind(back, context), given, drawn, **quiet
    )
    parts["plan"].select(bind(press, context), given, drawn, **quiet)
    parts["start"].click(bind(start, context), [parts["request"], *given], [parts["target"], *drawn], **quiet).success(
        None, [parts["target"]], js=_GO
    )
    gr.context.Context.root_block.load(None, js=_FRESH)


# -- handlers --------------------------------------------------------------------------------------------------------


def refresh(
    context: Context, query: dict[str, str], shown: str | None, draft: Any, preset: str | None, *entered: Any
) -> list[Any]:
    """The page as it opens, and again whenever the registry has changed."""
    form = read_form(shown, preset, entered) if shown else first_form(context, query, draft)
    return draw(context, *look(context, form), Before(shown, entered))


def change(context: Context, shown: str | None, draft: Any, preset: str | None, *entered: Any) -> list[Any]:
    """Something is being typed: the plan and the other recommended values follow."""
    form = read_form(shown, preset, entered)
    return draw(context, *look(context, form), Before(shown, entered, is_edit=True))


def pick(context: Context, shown: str | None, draft: Any, preset: str | None, *entered: Any) -> list[Any]:
    """Something was chosen: as `change`, and nobody is typing into a field that is empty."""
    form = read_form(shown, preset, entered)
    return draw(context, *look(context, form), Before(shown, entered, is_edit=True, refills=True))


def leave(context: Context, shown: str | None, draft: Any, preset: str | None, *entered: Any) -> list[Any]:
    """A field was left: one that was emptied gets its recommended value back."""
    table_fields = zip(table().values(), entered, strict=True)
    if all(from_component(each, value) is not None for each, value in table_fields if each.type in ("int", "float")):
        return [gr.skip()] * (len(_DRAWN) + 3 * len(table()))
    form = read_form(shown, preset, entered)
    return draw(context, *look(context, form), Before(shown, entered, is_edit=True, refills=True))


def use_preset(context: Context, shown: str | None, draft: Any, preset: str | None, *entered: Any) -> list[Any]:
    """Take the values of a preset, and take back those of the one before it."""
    form = read_form(shown, preset, entered)
    before = json.loads(shown or "{}").get("preset", "")
    chosen = {name: value for name, value in form.chosen.items() if value != preset_values(before, form).get(name)}
    form = replace(form, chosen=chosen | preset_values(form.preset, form))
    return draw(context, *look(context, form), Before(shown, entered, is_edit=True, refills=True))


def back(
    context: Context, event: gr.EventData, shown: str | None, draft: Any, preset: str | None, *entered: Any
) -> list[Any]:
    """Take one field, or every one, back to what is recommended."""
    form = read_form(shown, preset, entered)
    if event._data["field"] == EVERY_FIELD:
        return _without(context, replace(form, preset=""), list(form.chosen), shown, entered)
    return _without(context, form, [event._data["field"]], shown, entered)


def press(
    context: Context, event: gr.EventData, shown: str | None, draft: Any, preset: str | None, *entered: Any
) -> list[Any]:
    """A button in the plan: mend a finding, find out what nobody knows yet, make it fit or undo that, look again."""
    form = read_form(shown, preset, entered)
    do = event._data["do"]
    if do == "look":
        return draw(context, *look(context, form, again=True), Before(shown, entered, is_edit=True, refills=True))
    _, seen = look(context, form)
    if do in ("fit", "unfit"):
        form = fitting.take_back(form) if do == "unfit" else fitting.apply(form, fitting.remedy(form, seen))
        return draw(context, *look(context, form), Before(shown, entered, is_edit=True, refills=True))
    findings = seen.completed.findings if seen.completed else ()
    asked = [each for each in findings if each.code == event._data["code"]]
    if do == "find":
        for each in asked:
            find_out(context, form, each.rule.look)
        return draw(context, *look(context, form), Before(shown, entered, is_edit=True, refills=True))
    mended = [name for each in asked for name in each.mend]
    return _without(context, form, mended, shown, entered)


def _without(context: Context, form: Form, names: list[str], shown: str | None, entered: Iterable[Any]) -> list[Any]:
    form = replace(form, chosen={name: value for name, value in form.chosen.items() if name not in names})
    return draw(context, *look(context, form), Before(shown, entered, is_edit=True, refills=True))


def start(
    context: Context, request_id: str, shown: str | None, draft: Any, preset: str | None, *entered: Any
) -> list[Any]:
    """Queue the run; returns its address first. Asked twice from one page with the same settings, it is one run."""
    form, seen = look(context, read_form(shown, preset, entered))
    if missing(context, form, seen):
        return ["", *draw(context, form, seen, Before(shown, entered))]
    try:
        job_id = context.desk.train(form.spec(), request_id=request_of(request_id, form))
    except SpecRefused as error:
        return ["", *draw(context, form, replace(seen, faults=tuple(error.faults)), Before(shown, entered))]
    left = {"named": {name: form.named[name] for name in ("dataset", "model_name_or_path")}}
    drawn: list[Any] = [gr.skip()] * (len(_DRAWN) + 3 * len(table()))
    drawn[_DRAWN.index("draft")] = left
    return [page_path(context.language, "runs", run=job_id), *drawn]


def request_of(page: str, form: Form) -> str:
    """What makes a second press of Train the same request: the page that was opened, and what it asks for."""
    asked = json.dumps(form.spec(), sort_keys=True).encode()
    return f"{page}-{hashlib.sha256(asked).hexdigest()[:16]}"


# -- drawing ---------------------------------------------------------------------------------------------------------


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
    """A value for every output: `_DRAWN`, then column, component and reason of each field."""
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
        "timer": gr.update(value=FAST_SECONDS if is_looking(seen) else POLL_SECONDS),
    }
    values = [drawn[name] for name in _DRAWN]
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
    }


def _choices(context: Context, form: Form, seen: Seen) -> dict[str, list[list[str]]]:
    """What the data and the model drop-down offer; an older version that was asked for stays among them."""
    rows = [[context.say("train.data_choice", name=d.name, count=f"{d.rows:,}"), d.name] for d in seen.datasets]
    asked = form.named.get("dataset")
    if seen.version is not None and asked not in [name for _, name in rows]:
        rows.append([context.say("train.data_choice", name=asked, count=f"{seen.version.rows:,}"), asked])
    return {"dataset": rows, "model_name_or_path": [[model.name, model.name] for model in seen.models]}


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
        reason = reason_html(parameter, self._line(parameter.name), self.context, table())
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
    return memory_view.memory_html(context, seen.completed, remedy=found, given_back=form.given_back, table=table())
