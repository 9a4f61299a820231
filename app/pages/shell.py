"""What every page shares: the top bar, binding of handlers, and redrawing when the registry has changed."""

import functools
import inspect
import logging
import secrets
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from app.context import Context
from app.i18n import COOKIE, PAGES, bytes_text, duration_text, page_path
from app.markup import link
from app.pages.presses import Presses
from studio.db import jobs
from studio.db.jobs import JobView
from studio.errors import StudioError
from studio.messages import LANGUAGES

POLL_SECONDS = 2.0
_SERVER_MARK = secrets.token_hex(4)
_log = logging.getLogger(__name__)
_presses = Presses()


def bind(handler: Callable[..., Any], context: Context, *, is_look: bool = False) -> Callable[..., Any]:
    """`handler` with its first argument filled in, in the form that Gradio wants, its refusals turned into a notice.

    Gradio finds a `gr.Request` argument by the signature's annotations, which a `functools.partial` hides.

    Args:
        is_look: nobody pressed anything, the page itself asks whether it is out of date.
    """

    @functools.wraps(handler)
    def bound(*arguments: Any) -> Any:
        try:
            if is_look:
                return handler(context, *arguments)
            with _presses.during(_page()):
                return handler(context, *arguments)
        except StudioError as error:
            raise _notice(context, error.message(context.language)) from error
        except gr.Error:
            raise
        except Exception as error:
            _log.exception("%s failed", handler.__qualname__)
            raise _notice(context, context.say("errors.server.unexpected")) from error

    parameters = list(inspect.signature(handler).parameters.values())
    bound.__signature__ = inspect.Signature(parameters[1:])  # type: ignore[attr-defined]
    bound.__annotations__ = {name: hint for name, hint in handler.__annotations__.items() if name != parameters[0].name}
    del bound.__wrapped__
    return bound


def _page() -> str | None:
    """The page in somebody's browser that is being answered."""
    return getattr(LocalContext.request.get(None), "session_hash", None)


def _notice(context: Context, words: str) -> gr.Error:
    # Gradio shows the message as HTML, and it may quote a file name or a row.
    return gr.Error(escape(words), title=context.say("common.notice"), duration=15, print_exception=False)


def top_bar(context: Context, page: str) -> None:
    """Name, pages, machine, running job, language."""
    gr.Navbar(visible=False)
    bar = gr.HTML(bar_html(context, {}, page=page), elem_id=f"{page}-top-bar", elem_classes="lu-top", padding=False)
    redraw_on_change(context, functools.partial(bar_html, page=page), outputs=[bar])


def bar_html(context: Context, query: dict[str, str], *, page: str) -> str:
    """The top bar as it stands now."""
    with context.registry.session() as session:
        running, waiting = jobs.live(session), jobs.num_waiting(session)
    tabs = "".join(_tab(context, name, page) for name in PAGES)
    other = next(language for language in LANGUAGES if language != context.language)
    switch = (
        f'<a href="{page_path(other, page)}" hreflang="{other}" data-language="{other}" data-cookie="{COOKIE}">'
        f"{escape(context.say('common.other_language'))}</a>"
    )
    right = f'<span class="lu-machine">{escape(machine_line(context))}</span>{_pill(context, running, waiting)}{switch}'
    home = page_path(context.language, "home")
    return (
        f'<header class="lu-bar"><a class="lu-name" href="{home}">Luthier</a>'
        f'<nav aria-label="{escape(context.say("common.pages"))}">{tabs}</nav>'
        f'<div class="lu-right">{right}</div></header>'
    )


def machine_line(context: Context) -> str:
    """`RTX 4090 · 21.3 of 24.0 GiB free`, or that there is no graphics card."""
    from studio.hardware import read_machine

    gpus = read_machine().gpus
    if not gpus:
        return context.say("common.machine.cpu")
    first = gpus[0]
    return context.say(
        "common.machine.gpu", name=first.name, free=bytes_text(first.free_bytes), total=bytes_text(first.total_bytes)
    )


def redraw_on_change(
    context: Context,
    draw: Callable[..., Any],
    *,
    inputs: Sequence[gr.components.Component] = (),
    outputs: Sequence[gr.components.Component],
    timer: gr.Timer | None = None,
) -> None:
    """Call `draw(context, query, *inputs)` when the page opens, and again whenever the registry has changed.

    `query` holds the page address's query (`{"run": "12"}`). `draw` returns one value per output. While the registry's
    change number stands still, a look costs one small query and no more of the page than its two hidden fields: for
    each input that an event has, the browser walks through the whole page. Give a `timer` of your own to change its
    pace.
    """
    # With the server's mark in it: a restarted server has forgotten the choices that it gave to a page still open.
    seen, asked = (gr.Textbox(value="", visible=False) for _ in range(2))
    handler = bind(looks(draw, len(outputs)), context, is_look=True)
    tick = (timer or gr.Timer(POLL_SECONDS)).tick
    tick(bind(is_out_of_date, context, is_look=True), [seen], [asked], queue=False, show_progress="hidden")
    gr.on(
        [gr.context.Context.root_block.load, asked.change],
        handler,
        [seen, *inputs],
        [seen, *outputs],
        queue=False,
        trigger_mode="once",
        show_progress="hidden",
    )


def is_out_of_date(context: Context, last: str | None) -> Any:
    """Something new each time, which has the page drawn, while the registry is ahead of what the page has seen."""
    return gr.skip() if last == _newest(context) else secrets.token_hex(4)


def looks(draw: Callable[..., Any], num_outputs: int) -> Callable[..., Any]:
    """The handler that draws where something has changed: the registry's number, and what `draw` gives."""

    def look(context: Context, request: gr.Request, last: str | None, *values: Any) -> Any:
        nothing = [gr.skip()] * (num_outputs + 1)
        newest = _newest(context)
        mark = _presses.mark(_page())
        if last == newest or mark is None:
            return nothing
        drawn = draw(context, query_of(request), *values)
        if mark != _presses.mark(_page()):
            return nothing  # out of date already; the next look draws it
        return [newest, drawn] if num_outputs == 1 else [newest, *drawn]

    return look


def _newest(context: Context) -> str:
    with context.registry.session() as session:
        return f"{_SERVER_MARK}:{jobs.change(session)}"


def query_of(request: gr.Request | None) -> dict[str, str]:
    """The query of the page that a request came from."""
    return dict(request.query_params) if request is not None else {}


def number_in(query: dict[str, str], name: str) -> int | None:
    """A whole number from the address, or None where there is none or it is something else."""
    value = query.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 18 else None


def _tab(context: Context, name: str, page: str) -> str:
    current = ' aria-current="page"' if name == page else ""
    return f'<a href="{page_path(context.language, name)}"{current}>{escape(context.say(f"common.page.{name}"))}</a>'


def _pill(context: Context, running: list[JobView], waiting: int) -> str:
    """The running job: `Run 12 · 340/900 · 12 min left`, a link; what waits besides."""
    shown = [job for job in running if job.kind == "train"] or running
    if not shown:
        return ""
    job = shown[0]
    parts = [context.say(f"common.kind.{job.kind}", number=job.id)]
    if job.progress_total:
        parts.append(f"{int(job.progress_done or 0)}/{int(job.progress_total)}")
    if job.seconds_left is not None:
        parts.append(context.say("common.left", time=duration_text(job.seconds_left, context.language)))
    if waiting:
        parts.append(context.say("common.waiting", count=waiting))
    text = " · ".join(parts)
    if job.kind != "train":
        return f'<span class="lu-pill">{escape(text)}</span>'
    return link(page_path(context.language, "runs", run=job.id), text, classes="lu-pill")
