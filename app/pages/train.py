"""Train: say what to train on what; the form fills itself in, says why, and shows what the run will take.

`?dataset=NAME&model=NAME` choose both, `?from=RUN` brings an earlier run's settings ("try again with a change"). Every
field comes from the parameter table, every filled-in value from the advisor. Looking at a model and a data set for the
first time is a job; this page starts it and follows it. Entries that are not the recommended ones are kept in the
browser, so a reload loses none.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from app import baseline_view, fitting, plan_view
from app.context import Context
from app.data.panel import panel
from app.forms import (
    BACK_SCRIPT,
    EVERY_FIELD,
    Field,
    by_group,
    from_component,
    make_field,
)
from app.i18n import page_path
from app.markup import heading
from app.pages.shell import POLL_SECONDS, bind, redraw_on_change
from app.pipelines import planned
from app.rewards import offered
from app.runs import grid, queue_view
from app.train_drawing import DRAWN, Before, draw, missing
from app.training_form import (
    Form,
    find_out,
    first_form,
    look,
    measure,
    preset_values,
    read_form,
    table,
)
from studio.errors import SpecRefused
from studio.params.table import Parameter, groups

SECTIONS = {
    "goal": ("goal", "run_name", "method"),
    "data": ("dataset",),
    "model": ("model_name_or_path", "tuning"),
    "intention": ("intention",),
}
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
            parts["baseline"] = panel("train-baseline-field")
            _settings(context, parts, fields)
            parts["grid"] = panel("train-grid")
            parts["pipeline"] = panel("train-pipeline")
        with gr.Column(scale=2, min_width=320, elem_classes="lu-plan", elem_id="train-plan-column"):
            parts["device"] = gr.Dropdown(
                queue_view.device_choices(context),
                value="",
                label=say("train.device"),
                info=say("train.device_note"),
                visible=len(context.desk.devices) > 1,
                interactive=True,
                elem_id="train-device",
            )
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
        _add_fields(context, fields, _rest(by_group(level="basic"), fields))
        gr.HTML(f'<h2 class="lu-part">{escape(context.say("train.advanced"))}</h2>', padding=False)
        for group, members in _rest(by_group(level="advanced"), fields).items():
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


def _wire(context: Context, parts: dict[str, Any], fields: list[Field]) -> None:
    given = [parts["shown"], parts["draft"], parts["preset"], *[each.component for each in fields]]
    parts["reward_choice"] = next(each.chooser for each in fields if each.chooser is not None)
    drawn = [parts[name] for name in DRAWN]
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
    chooser = parts["reward_choice"]
    chooser.input(bind(choose_reward, context), [chooser, *given], drawn, **quiet)
    parts["preset"].input(bind(use_preset, context), given, drawn, **quiet)
    gr.on(
        [*(each.reason.select for each in fields), parts["changed"].select], bind(back, context), given, drawn, **quiet
    )
    parts["plan"].select(bind(press, context), given, drawn, **quiet)
    asked = [parts["request"], parts["device"], *given]
    parts["start"].click(bind(start, context), asked, [parts["target"], *drawn], **quiet).success(
        None, [parts["target"]], js=_GO
    )
    grid.wire(context, parts["grid"], given=asked, target=parts["target"], go=_GO)
    planned.wire(context, parts["pipeline"], given=asked, target=parts["target"], go=_GO)
    named = {"dataset": fields[_place("dataset")].component, "model": fields[_place("model_name_or_path")].component}
    baseline_view.wire(context, parts["baseline"], **named, given=given, timer=parts["timer"])
    gr.context.Context.root_block.load(None, js=_FRESH)


def _place(name: str) -> int:
    return list(table()).index(name)


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
        return [gr.skip()] * (len(DRAWN) + 3 * len(table()))
    form = read_form(shown, preset, entered)
    return draw(context, *look(context, form), Before(shown, entered, is_edit=True, refills=True))


def use_preset(context: Context, shown: str | None, draft: Any, preset: str | None, *entered: Any) -> list[Any]:
    """Take the values of a preset, and take back those of the one before it."""
    form = read_form(shown, preset, entered)
    before = json.loads(shown or "{}").get("preset", "")
    chosen = {name: value for name, value in form.chosen.items() if value != preset_values(before, form).get(name)}
    form = replace(form, chosen=chosen | preset_values(form.preset, form))
    return draw(context, *look(context, form), Before(shown, entered, is_edit=True, refills=True))


def choose_reward(
    context: Context, wanted: str | None, shown: str | None, draft: Any, preset: str | None, *entered: Any
) -> list[Any]:
    """Take a reward that was tried; what is not offered leaves the rules as they are."""
    form = read_form(shown, preset, entered)
    document = offered.document(context, look(context, form)[1], wanted or "")
    form = replace(form, chosen=form.chosen | ({"rewards": document} if document else {}))
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
    if do in ("measure", "unmeasure"):
        measure(context, form, seen, is_wanted=do == "measure")
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
    context: Context,
    request_id: str,
    device: str | None,
    shown: str | None,
    draft: Any,
    preset: str | None,
    *entered: Any,
) -> list[Any]:
    """Queue the run; returns its address first. Asked twice from one page with the same settings, it is one run."""
    form, seen = look(context, read_form(shown, preset, entered))
    if missing(context, form, seen):
        return ["", *draw(context, form, seen, Before(shown, entered))]
    try:
        job_id = context.desk.train(form.spec(), request_id=request_of(request_id, form), device=device or None)
    except SpecRefused as error:
        return ["", *draw(context, form, replace(seen, faults=tuple(error.faults)), Before(shown, entered))]
    left = {"named": {name: form.named[name] for name in ("dataset", "model_name_or_path")}}
    drawn: list[Any] = [gr.skip()] * (len(DRAWN) + 3 * len(table()))
    drawn[DRAWN.index("draft")] = left
    return [page_path(context.language, "runs", run=job_id), *drawn]


def request_of(page: str, form: Form) -> str:
    """What makes a second press of Train the same request: the page that was opened, and what it asks for."""
    asked = json.dumps(form.spec(), sort_keys=True).encode()
    return f"{page}-{hashlib.sha256(asked).hexdigest()[:16]}"
