"""A preset as its document has it: ranges as ranges, and the middle that is filled in."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from app.context import Context
from app.forms import short_label, value_text
from app.reasons import source_text
from studio.params.table import Parameter

if TYPE_CHECKING:
    from studio.advisor.presets import Preset


def preset_html(context: Context, preset: "Preset | None", table: Mapping[str, Parameter]) -> str:
    """`Epochs: 2 to 3, filled in: 2.5 · Learning rate: 1e-05 · ...`, its source and what to know of it."""
    if preset is None:
        return ""
    say = context.say
    lines = "".join(f"<li>{escape(_line(context, name, value, table))}</li>" for name, value in preset.values.items())
    told = [say("train.source", source=source_text(context, preset.source)), preset.notes.get(context.language, "")]
    words = escape(" · ".join(each for each in told if each))
    return f'<ul class="lu-preset">{lines}</ul><p class="lu-note">{words}</p>'


def _line(context: Context, name: str, value: Any, table: Mapping[str, Parameter]) -> str:
    from studio.advisor.presets import middle

    parameter = table.get(name)
    label = short_label(parameter, context.language) if parameter else context.say(f"train.preset_word.{name}")
    filled = middle(value)
    if filled is value:
        return f"{label}: {_text(context, parameter, value)}"
    low, high = (_text(context, parameter, end) for end in value)
    return context.say("train.preset_range", label=label, low=low, high=high, middle=_text(context, parameter, filled))


def _text(context: Context, parameter: Parameter | None, value: Any) -> str:
    return (
        f"{value:g}" if isinstance(value, int | float) or parameter is None else value_text(parameter, value, context)
    )
