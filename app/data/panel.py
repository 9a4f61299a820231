"""The panels of the data page: HTML with buttons and fields, and the one handler that each of them tells.

    <button data-do="exclude" data-row="17">   ->   press(context, chosen, state, Told("exclude", {"row": "17"}, {}))

A tab of the page is a module with `draw(context, chosen, state) -> str` (HTML) and
`press(context, chosen, state, told) -> Pressed`. Its state is a small JSON object, kept by the page in a hidden field.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.context import Context
from app.theme import static_url
from studio.db.datasets import DatasetSummary

State = dict[str, Any]
_answers = itertools.count()


@dataclass(frozen=True)
class Told:
    """What a person did in a panel."""

    do: str
    data: dict[str, str] = field(default_factory=dict)
    """The `data-` attributes of what was pressed."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Values of the fields around it."""

    def number(self, name: str) -> int | None:
        """A whole number from `data`, or None where there is none."""
        text = self.data.get(name, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None

    def file(self, name: str) -> tuple[str, str] | None:
        """A chosen file's name and text (`controls.upload`), or None where there is none."""
        sent = self.fields.get(name)
        known = (sent.get("name"), sent.get("text")) if isinstance(sent, dict) else ()
        return known if len(known) == 2 and all(isinstance(each, str) for each in known) else None

    def text(self, name: str) -> str:
        """A field's text, without blanks around it."""
        value = self.fields.get(name)
        return value.strip() if isinstance(value, str) else ""


@dataclass(frozen=True)
class Pressed:
    """What came of it."""

    state: State
    """The panel's state from now on."""
    job: int | None = None
    """A job to follow; the panel is drawn again when it has ended."""
    reopen: bool = False
    """Whether the data set has another version in use now."""
    goto: tuple[str, State] | None = None
    """Another tab to show, and its state."""
    opens: str | None = None
    """Another data set to open."""


@dataclass(frozen=True)
class Tab:
    """One tab of the page."""

    name: str
    draw: Callable[[Context, DatasetSummary, State], str]
    press: Callable[[Context, DatasetSummary, State, Told], Pressed]


def panel(elem_id: str, **arguments: Any) -> gr.HTML:
    """An empty panel; its `select` event carries what `told` reads."""
    return gr.HTML(
        js_on_load="luthierPanel(element, trigger, watch)",
        head=f'<script src="{static_url("panel.js")}"></script>',
        padding=False,
        elem_id=elem_id,
        elem_classes="lu-panel-host",
        **arguments,
    )


def answered(html: str) -> str:
    """The HTML with a mark of its own, so that a panel hears of an answer that shows what it showed before."""
    return f"{html}<!-- {next(_answers)} -->"


def told(event: gr.EventData) -> Told:
    """What an event of a panel says; whatever does not look like it is left out."""
    data = event._data if isinstance(event._data, dict) else {}
    fields = data.get("fields")
    texts = {name: value for name, value in data.items() if name != "do" and isinstance(value, str)}
    return Told(str(data.get("do", "")), texts, fields if isinstance(fields, dict) else {})
