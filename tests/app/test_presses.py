"""A redraw never takes back what somebody pressed while it was being drawn."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.context import LocalContext

from app.context import Context
from app.pages import presses, shell
from tests.app.conftest import Filled


@pytest.fixture
def page() -> Iterator[None]:
    """A browser's page asks, as Gradio says it."""
    token = LocalContext.request.set(SimpleNamespace(session_hash="a page", query_params={}))
    yield
    LocalContext.request.reset(token)


def look_of(context: Context, draw: Callable[..., Any]) -> Callable[..., Any]:
    """What the page's timer calls."""
    return shell.bind(shell.looks(draw, 1), context, is_look=True)


def test_a_press_during_a_redraw_makes_it_draw_again_later(filled: Filled, page: None) -> None:
    context = filled.context()
    press = shell.bind(lambda context: "pressed", context)
    pressed: list[Any] = []

    def draw(context: Context, query: dict[str, str]) -> str:
        if not pressed:
            pressed.append(press())
        return "drawn"

    look, request = look_of(context, draw), LocalContext.request.get()
    first = look(request, "")
    assert pressed == ["pressed"] and "drawn" not in first, "that drawing knows nothing of the press"
    seen, drawn = look(request, "")
    assert drawn == "drawn" and look(request, seen) == [gr.skip()] * 2, "and once more only when something changes"


def test_while_a_press_is_answered_nothing_is_redrawn(filled: Filled, page: None) -> None:
    context = filled.context()
    look, request = look_of(context, lambda context, query: "drawn"), LocalContext.request.get()

    def asks(context: Context) -> Any:
        return look(request, "")

    assert "drawn" not in shell.bind(asks, context)()
    assert look(request, "")[1] == "drawn"


def test_a_press_that_fails_is_over_too(filled: Filled, page: None) -> None:
    context = filled.context()
    with pytest.raises(gr.Error):
        shell.bind(lambda context: 1 / 0, context)()
    assert look_of(context, lambda context, query: "drawn")(LocalContext.request.get(), "")[1] == "drawn"


def test_pages_do_not_disturb_each_other_and_old_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presses, "MAX_PAGES", 2)
    counted = presses.Presses()
    with counted.during("one"):
        assert (counted.mark("one"), counted.mark("two")) == (None, 0)
        counted.mark("three"), counted.mark("four")
    assert counted.mark("one") == 0, "it was forgotten, and no harm is done"
