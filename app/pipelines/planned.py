"""Further stages on the Train page: the form is the first stage, and up to two more follow it.

Each says how it learns and from which rows; everything else of it is filled in as the form would be. All stages train
the same weights, so what is trained is said once, in the form.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from app.context import Context
from app.data import controls
from app.data.panel import Told, answered, told
from app.i18n import page_path
from app.markup import notice
from app.pages.shell import bind
from app.pipelines.words import method_words
from app.train_drawing import missing
from app.training_form import Form, look, read_form
from studio.db import datasets
from studio.errors import SpecRefused, StudioError

STAGES = (2, 3)
"""Numbers of the stages that may follow."""
FOLLOWING = ("sft", "pretrain", "dpo", "orpo", "cpo", "kto", "grpo", "rloo", "ppo")
"""The others put a head in place of the vocabulary. A reward is the one that was tried last on the stage's rows."""


@dataclass(frozen=True)
class Planned:
    """What stands in the fold."""

    stages: tuple[tuple[str, str], ...] = (("", ""),) * len(STAGES)
    """(method, data set); both empty: no such stage."""
    fault: str = ""

    def specs(self, form: Form) -> list[dict[str, Any]]:
        further = [{"method": method, "dataset": rows} for method, rows in self.stages if method and rows]
        return [form.spec(), *further]


def wire(context: Context, shown: gr.HTML, *, given: Sequence[Any], target: gr.Textbox, go: str) -> None:
    """Have the panel `shown` answer; arguments as those of `app.runs.grid.wire`."""
    gr.context.Context.root_block.load(bind(first, context), None, [shown], queue=False, show_progress="hidden")
    quiet = {"show_progress": "hidden"}
    shown.select(bind(press, context), list(given), [shown, target], **quiet).success(None, [target], js=go)


def first(context: Context) -> str:
    return draw(context, Planned())


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
    """Something was chosen, or the pipeline is to begin: the panel, and then the address of the runs."""
    said = told(event)
    planned = read(said)
    if said.do != "pipeline":
        return [answered(draw(context, planned)), ""]
    form, seen = look(context, read_form(shown, preset, entered))
    specs, lack = planned.specs(form), missing(context, form, seen)
    if lack or len(specs) < 2:
        why = lack or context.say("pipeline.plan.empty")
        return [answered(draw(context, Planned(planned.stages, why))), ""]
    try:
        context.desk.train_pipeline(specs, request_id=_request(request_id, specs), device=device or None)
    except SpecRefused as error:
        return [answered(draw(context, Planned(planned.stages, _told(context, error)))), ""]
    except StudioError as error:
        return [answered(draw(context, Planned(planned.stages, error.message(context.language)))), ""]
    return [first(context), page_path(context.language, "runs")]


def read(said: Told) -> Planned:
    return Planned(tuple((said.text(f"method{number}"), said.text(f"dataset{number}")) for number in STAGES))


def draw(context: Context, planned: Planned) -> str:
    """The fold."""
    say = context.say
    with context.registry.session() as session:
        rows = [(each.name, each.name) for each in datasets.list_datasets(session)]
    lines = "".join(
        _line(context, number, *chosen, rows) for number, chosen in zip(STAGES, planned.stages, strict=True)
    )
    fault = notice(f"✕ {planned.fault}", "bad") if planned.fault else ""
    button = controls.buttons(controls.button("pipeline", say("pipeline.plan.start"), settles=True))
    inner = f'<p class="lu-note">{escape(say("pipeline.plan.note"))}</p>' + controls.form(lines, fault, button)
    is_open = bool(planned.fault) or any(method or chosen for method, chosen in planned.stages)
    return controls.fold(say("pipeline.plan.title"), inner, key="train-pipeline", is_open=is_open)


def _line(context: Context, number: int, method: str, chosen: str, rows: list[tuple[str, str]]) -> str:
    say = context.say
    rows = [(say("pipeline.plan.choose"), ""), *rows]
    ways = [(say("pipeline.plan.none"), ""), *((method_words(each, context.language), each) for each in FOLLOWING)]
    return (
        '<div class="lu-grid-line">'
        + controls.select(f"method{number}", say("pipeline.plan.method", number=number), ways, method)
        + controls.select(f"dataset{number}", say("pipeline.plan.dataset", number=number), rows, chosen)
        + "</div>"
    )


def _told(context: Context, error: SpecRefused) -> str:
    return " ".join(fault.message(context.language) for fault in error.faults)


def _request(page: str, specs: list[dict[str, Any]]) -> str:
    asked = json.dumps(specs, sort_keys=True).encode()
    return f"{page}-{hashlib.sha256(asked).hexdigest()[:16]}-pipeline"
