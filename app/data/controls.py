"""Buttons and fields for panels, as HTML: `button("exclude", "Exclude", row=17)`. Labels and values are text.

Names of `data` may end in an underscore where a parameter has that name: `kind_="open:no_json"` is `data-kind`.
"""

from collections.abc import Iterable
from html import escape
from typing import Any


def button(
    do: str, label: str, *, kind: str = "", why_not: str = "", settles: bool = False, request: str = "", **data: Any
) -> str:
    """A button; `kind` is "primary" or "link" or empty, `why_not` refuses it and stands beside it.

    Args:
        request: goes along with a press (`Told.data["request"]`), so that a second one asks for nothing new.
    """
    attributes = _data(data) + (' data-settles="1"' if settles else "")
    attributes += f' data-request="{escape(request)}"' if request else ""
    key = escape("-".join([do, *(str(value) for value in data.values())]))
    classes = {"primary": "lu-button", "link": "lu-link"}.get(kind, "lu-button lu-second")
    shut = " disabled" if why_not else ""
    made = f'<button type="button" class="{classes}" data-do="{escape(do)}" data-key="{key}"{attributes}{shut}>'
    note = f' <span class="lu-note">{escape(why_not)}</span>' if why_not else ""
    return f"{made}{escape(label)}</button>{note}"


def buttons(*made: str) -> str:
    """Buttons side by side; empty ones are left out."""
    shown = "".join(each for each in made if each)
    return f'<div class="lu-buttons lu-small">{shown}</div>' if shown else ""


def select(  # noqa: PLR0913 - a field has this many sides
    name: str,
    label: str,
    choices: Iterable[tuple[str, str]],
    value: str = "",
    *,
    note: str = "",
    change: str = "",
    hides_label: bool = False,
) -> str:
    """A drop-down of (words, value) pairs."""
    options = "".join(
        f'<option value="{escape(each)}"{" selected" if each == value else ""}>{escape(words)}</option>'
        for words, each in choices
    )
    made = f'<select name="{escape(name)}" aria-label="{escape(label)}"{_events(name, change)}>{options}</select>'
    return made if hides_label else labelled(label, made, note)


def text(  # noqa: PLR0913 - a field has this many sides
    name: str,
    label: str,
    value: str = "",
    *,
    note: str = "",
    placeholder: str = "",
    enter: str = "",
    change: str = "",
    kind: str = "text",
) -> str:
    """A line of text, or with `kind` "search" a search box without a label above it."""
    made = (
        f'<input type="{kind}" name="{escape(name)}" value="{escape(value)}" placeholder="{escape(placeholder)}"'
        f' aria-label="{escape(label)}" autocomplete="off"{_events(name, change, enter)}>'
    )
    return made if kind == "search" else labelled(label, made, note)


def number(  # noqa: PLR0913 - a field has this many sides
    name: str,
    label: str,
    value: float | None,
    *,
    note: str = "",
    least: float | None = None,
    most: float | None = None,
    step: str = "any",
    change: str = "",
) -> str:
    bounds = "".join(f' {side}="{each:g}"' for side, each in (("min", least), ("max", most)) if each is not None)
    shown = "" if value is None else f"{value:g}"
    made = (
        f'<input type="number" name="{escape(name)}" value="{shown}" step="{step}"{bounds}'
        f' aria-label="{escape(label)}"{_events(name, change)}>'
    )
    return labelled(label, made, note)


def checkbox(name: str, label: str, value: bool, *, note: str = "", change: str = "", **data: Any) -> str:
    checked = " checked" if value else ""
    below = f'<span class="lu-note">{escape(note)}</span>' if note else ""
    key = "-".join([name, *(str(each) for each in data.values())])
    return (
        f'<label class="lu-check"><input type="checkbox" name="{escape(name)}"{checked}{_events(key, change)}'
        f"{_data(data)}> <span>{escape(label)}</span>{below}</label>"
    )


def upload(name: str, label: str, *, do: str, kinds: Iterable[str]) -> str:
    """A button that takes a small text file; `Told.file` reads what it sends."""
    accepted = escape(",".join(kinds))
    field = f'<input type="file" name="{escape(name)}" accept="{accepted}" data-file="{escape(do)}"{_events(name)}>'
    return f'<label class="lu-upload"><span>{escape(label)}</span>{field}</label>'


def area(  # noqa: PLR0913 - a field has this many sides
    name: str, label: str, value: str, *, note: str = "", rows: int = 6, draft: str = "", change: str = ""
) -> str:
    """Several lines of text; with `draft` what is typed outlives a redraw."""
    kept = f' data-draft="{escape(draft)}"' if draft else ""
    events = _events(name, change)
    attributes = f'name="{escape(name)}" rows="{rows}" aria-label="{escape(label)}"{kept}{events}'
    made = f"<textarea {attributes}>\n{escape(value)}</textarea>"
    return labelled(label, made, note)


def labelled(label: str, made: str, note: str = "") -> str:
    below = f'<span class="lu-note">{escape(note)}</span>' if note else ""
    return f'<label class="lu-labelled"><span>{escape(label)}</span>{made}{below}</label>'


def labelled_group(label: str, made: str, note: str = "") -> str:
    below = f'<span class="lu-note">{escape(note)}</span>' if note else ""
    return f'<fieldset class="lu-labelled"><legend>{escape(label)}</legend>{made}{below}</fieldset>'


def form(*parts: str, classes: str = "", **data: Any) -> str:
    """Fields that are sent together, with `data`."""
    return f'<div data-form class="lu-form {classes}"{_data(data)}>{"".join(parts)}</div>'


def fold(title: str, inner: str, *, key: str, is_open: bool = False) -> str:
    """A part that can be unfolded."""
    opened = " open" if is_open else ""
    return (
        f'<details class="lu-fold" data-key="{escape(key)}"{opened}><summary>{escape(title)}</summary>{inner}</details>'
    )


def pager(back: str, forward: str, place: str, *, has_back: bool, has_forward: bool) -> str:
    """Two buttons and where one is."""
    shut = ("" if has_back else " disabled", "" if has_forward else " disabled")
    return (
        f'<nav class="lu-pager"><button type="button" data-do="back" data-key="back"{shut[0]}>{escape(back)}</button>'
        f'<span class="lu-num">{escape(place)}</span>'
        f'<button type="button" data-do="forward" data-key="forward"{shut[1]}>{escape(forward)}</button></nav>'
    )


def _data(data: dict[str, Any]) -> str:
    return "".join(f' data-{name.strip("_").replace("_", "-")}="{escape(str(value))}"' for name, value in data.items())


def _events(key: str, change: str = "", enter: str = "") -> str:
    return (
        f' data-key="{escape(key)}"'
        + (f' data-change="{escape(change)}"' if change else "")
        + (f' data-enter="{escape(enter)}"' if enter else "")
    )
