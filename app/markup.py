"""HTML that pages show, built from text: whatever comes from data, models and logs is escaped here."""

from collections.abc import Callable, Iterable
from html import escape

Say = Callable[..., str]

_ICONS = {
    "queued": "◷",
    "starting": "◔",
    "running": "▶",
    "paused": "⏸",
    "succeeded": "✓",
    "failed": "✕",
    "stopped": "■",
    "lost": "?",
    "cancelled": "–",
}
_TONES = {
    "running": "info",
    "starting": "info",
    "succeeded": "good",
    "failed": "bad",
    "lost": "bad",
    "paused": "warn",
    "queued": "soft",
    "stopped": "soft",
    "cancelled": "soft",
}


def state_chip(state: str, say: Say) -> str:
    """A job's state as icon and word; never by colour alone."""
    return chip(f"{_ICONS[state]} {say(f'common.state.{state}')}", _TONES[state])


def chip(text: str, tone: str = "soft") -> str:
    return f'<span class="lu-chip lu-{tone}">{escape(text)}</span>'


def link(address: str, text: str, *, classes: str = "") -> str:
    return f'<a href="{escape(address)}" class="{escape(classes)}">{escape(text)}</a>'


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], *, caption: str = "") -> str:
    """A table whose cells are HTML already (escape text first); headings and caption are text."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    inner = f"{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="lu-scroll"><table class="lu-table">{inner}</table></div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Name and value pairs; the values are HTML already."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f'<dl class="lu-facts">{rows}</dl>'


def heading(text: str, note: str = "") -> str:
    """A page's title and the sentence below it."""
    below = f'<p class="lu-note">{escape(note)}</p>' if note else ""
    return f'<h1 class="lu-title">{escape(text)}</h1>{below}'


def notice(text: str, tone: str = "info") -> str:
    """A sentence that stands apart; empty text gives nothing."""
    return f'<div class="lu-notice lu-{tone}" role="status">{escape(text)}</div>' if text else ""


def empty_page(text: str, action: str) -> str:
    """What belongs here, and the one link (HTML) that puts it there."""
    return f'<div class="lu-empty"><p>{escape(text)}</p><p>{action}</p></div>'
