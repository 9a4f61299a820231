"""Would a model fit that one does not have? Its config.json is enough: a file or a text, this machine or a GPU's size.

A first answer comes by arithmetic, and a second one when a short process has looked at the layers (seconds).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.context import Context
from app.forms import value_text
from app.i18n import bytes_text
from app.markup import chip
from app.memory.documents import notes_of_model
from app.memory.fitted import Fitted, fitted_at_once, fitted_each
from app.memory_command import machine_with
from app.memory_options import Asked, asked
from app.pages.shell import bind
from studio.errors import RefusedInput
from studio.hardware import Machine
from studio.memory.notes import uncertainty
from studio.params.table import parameters

HERE = "here"
SIZES_GIB = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141)
"""Memory of the cards that people have."""
TUNINGS = ("full", "lora", "qlora")
LENGTHS = (16, 131_072)
LARGEST_BYTES = 1_000_000
"""A config.json is a few thousand."""
ROUGH = 0.15
"""From this share of doubt on, a number alone would say too much."""
_WIDTH = 300
"""In pixels, of a field at least: on a phone they stand below each other."""
_TONES = {"fits": "good", "tight": "warn", "too_large": "bad"}


@dataclass(frozen=True)
class Question:
    config: Mapping[str, Any]
    machine: Machine
    length: int

    @property
    def asked(self) -> list[Asked]:
        """Of each way of training."""
        return [asked(["--tuning", tuning, "--max-length", str(self.length)]) for tuning in TUNINGS]


def build(context: Context) -> None:
    say = context.say
    places = [(say("models.other.here"), HERE), *((f"{size} GiB", f"{size} GiB") for size in SIZES_GIB)]
    with gr.Accordion(say("models.other.title"), open=False, elem_id="models-other-fold"):
        gr.HTML(f'<p class="lu-note">{escape(say("models.other.note"))}</p>', padding=False)
        with gr.Row():
            with gr.Column(min_width=_WIDTH):
                file = gr.File(label="config.json", file_types=[".json"], height=150, elem_id="models-other-file")
            with gr.Column(min_width=_WIDTH):
                text_box = gr.Textbox(
                    label=say("models.other.text"), info=say("models.other.text_help"), lines=3, max_lines=3,
                    elem_id="models-other-text",
                )  # fmt: skip
        with gr.Row():
            with gr.Column(min_width=_WIDTH):
                place_box = gr.Dropdown(
                    places, value=HERE, label=say("models.other.place"), info=say("models.other.place_help"),
                    allow_custom_value=True, elem_id="models-other-place",
                )  # fmt: skip
            with gr.Column(min_width=_WIDTH):
                length_box = gr.Number(
                    value=_usual_length(), precision=0, label=say("models.other.length"),
                    info=say("models.other.length_help"), elem_id="models-other-length",
                )  # fmt: skip
        look_button = gr.Button(say("models.other.look"), variant="primary", elem_id="models-other-look")
        answer_html = gr.HTML(elem_id="models-other-answer", padding=False)
    given = [file, text_box, place_box, length_box]
    look_button.click(bind(first_look, context), given, [answer_html]).success(
        bind(second_look, context), given, [answer_html], show_progress="hidden"
    )


def first_look(context: Context, path: str | None, text: str, place: str, length: float | None) -> str:
    """By arithmetic, where the family is known; and that a closer look goes on."""
    question = _question(path, text, place, length)
    workspace = context.desk.workspace
    found = [fitted_at_once(question.config, each, workspace, question.machine) for each in question.asked]
    return answer_html(context, question, [each for each in found if each is not None], is_closer=False)


def second_look(context: Context, path: str | None, text: str, place: str, length: float | None) -> str:
    """With the model's own modules and its traced layers."""
    question = _question(path, text, place, length)
    found = fitted_each(question.config, question.asked, context.desk.workspace, question.machine)
    return answer_html(context, question, found, is_closer=True)


def answer_html(context: Context, question: Question, found: Sequence[Fitted], *, is_closer: bool) -> str:
    """A card for each way of training."""
    say = context.say
    waits = "" if is_closer else f'<p class="lu-note" role="status">{escape(say("models.other.closer"))}</p>'
    if not found:
        return waits
    model = found[0].model
    size = say("models.other.size", count=_billions(model.parameters), size=bytes_text(2 * model.parameters))
    cards = "".join(_card(context, each) for each in found)
    codes = dict.fromkeys(code for each in found for code in each.fit.estimate.notes)
    notes = [say(f"memory.notes.{code}") for code in codes]
    notes += notes_of_model(question.config, model, context.desk.workspace, context.language)
    told = "".join(f'<p class="lu-note">{escape(note)}</p>' for note in notes)
    return f'<p>{escape(size)}</p><div class="lu-cards">{cards}</div>{waits}{told}'


def _card(context: Context, found: Fitted) -> str:
    say, estimate, settings = context.say, found.fit.estimate, found.settings
    by_name = {each.name: each for each in parameters("sft")}
    verdict = chip(say(f"models.fit.{estimate.verdict}"), _TONES.get(estimate.verdict, "soft"))
    needed, budget = bytes_text(estimate.allocated_bytes), bytes_text(estimate.available_bytes)
    number = say("models.fit.number", needed=needed, budget=budget)
    told = say(
        "models.other.settings",
        batch=settings["per_device_train_batch_size"],
        parts=settings["gradient_accumulation_steps"],
        length=f"{settings['max_length']:,}",
        dtype=settings["dtype"],
    )
    extra = say("models.other.recomputes") if settings["gradient_checkpointing"] else ""
    rough = ""
    if uncertainty(estimate.notes) >= ROUGH:
        low, high = map(bytes_text, estimate.device_bytes)
        rough = say("models.rough.band", low=low, high=high)
    name = value_text(by_name["tuning"], settings["tuning"], context)
    return (
        f'<article class="lu-card"><h3>{escape(name)}</h3>'
        f'<p>{verdict} <span class="lu-num">{escape(number)}</span></p>'
        f'<p class="lu-note">{"<br>".join(map(escape, filter(None, (rough, told, extra))))}</p></article>'
    )


def _question(path: str | None, text: str, place: str, length: float | None) -> Question:
    """
    Raises:
        RefusedInput: nothing given, no JSON object, no size of a GPU, or no length of a row.
    """
    low, high = LENGTHS
    if length is None or not low <= length <= high:
        raise RefusedInput("memory.odd_length", low=low, high=f"{high:,}")
    return Question(_config(path, text), _machine(place), int(length))


def _config(path: str | None, text: str) -> dict[str, Any]:
    if not (path or text.strip()):
        raise RefusedInput("memory.no_config_given")
    file = Path(path) if path else None
    if (file.stat().st_size if file else len(text)) > LARGEST_BYTES:
        raise RefusedInput("memory.no_json_config")
    try:
        found = json.loads(file.read_text("utf-8-sig") if file else text)
    except (ValueError, RecursionError):
        raise RefusedInput("memory.no_json_config") from None
    if not isinstance(found, dict):
        raise RefusedInput("memory.no_json_config")
    return found


def _machine(place: str) -> Machine:
    from studio.hardware import read_machine

    return read_machine() if place == HERE else machine_with(place)


def _usual_length() -> int:
    return next(each.default for each in parameters("sft") if each.name == "max_length")


def _billions(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"
