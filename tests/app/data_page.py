"""The data page without a browser: what its handlers are given and what they answer, as the page itself keeps it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from app.context import Context
from app.data import importing
from app.data.panel import Told
from app.pages import data
from studio.opening import open_studio
from studio.paths import workspace

FOLLOWING = ("job", "timer", "progress", "cancel")
IMPORT = ("sample", "refused", "form", "reading", "import", "preview", "chosen")


def asking(**query: str) -> Any:
    return SimpleNamespace(query_params=query)


def event(do: str, fields: dict[str, Any] | None = None, **texts: str) -> Any:
    """What a panel sends."""
    return SimpleNamespace(_data={"do": do, "fields": fields or {}, **texts})


class Page:
    """One open page: its parts as they stand, and the presses that change them."""

    def __init__(self, context: Context, **query: str) -> None:
        self.context = context
        self.parts: dict[str, Any] = {"tab": "rows", "name": ""}
        self.parts |= {name: "{}" for name in data.DRAWN if name.startswith("state.")}
        self.take(data.open_page(context, asking(**query)))

    def take(self, values: list[Any]) -> "Page":
        """Apply an answer, as the page does; what is skipped stays."""
        names = (*FOLLOWING, *data.DRAWN)[-len(values) :]
        for name, value in zip(names, values, strict=True):
            if not (isinstance(value, dict) and set(value) == {"__type__"}):
                self.parts[name] = value
        return self

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]

    def shown(self, tab: str) -> str:
        return self.parts[f"tab.{tab}"]

    def state(self, tab: str) -> dict[str, Any]:
        return json.loads(self.parts[f"state.{tab}"])

    def tab(self, name: str) -> str:
        """Open a tab; returns what it shows."""
        shower = data._shower(data._NAMED[name])
        self.parts["tab"], self.parts[f"tab.{name}"] = shower(self.context, self["name"], self[f"state.{name}"])
        return self.shown(name)

    def press(self, tab: str, do: str, fields: dict[str, Any] | None = None, **texts: Any) -> "Page":
        """Press something in a tab, and wait for the job that it may start."""
        data_texts = {name.strip("_"): str(value) for name, value in texts.items()}
        done = Told(do, data_texts, fields or {})
        self.take(data.press_tab(self.context, data._NAMED[tab], done, self["name"], self[f"state.{tab}"]))
        return self.followed()

    def undo(self, version: int) -> "Page":
        given = [self["name"], self["tab"], *self._states()]
        return self.take(data.press_title(self.context, event("undo", version=str(version)), *given))

    def followed(self) -> "Page":
        """Look until the jobs have ended, as the page's timer does."""
        for _ in range(2400):
            if self["job"] is None or not isinstance(self["job"], int):
                return self
            given = [self["job"], self["name"], self["tab"], *self._states()]
            self.take(data.follow(self.context, *given))
            time.sleep(0.05)
        raise AssertionError("the job did not end")

    def _states(self) -> list[str]:
        return [self[f"state.{tab.name}"] for tab in data.TABS]


@contextmanager
def studio_with(folder: Path, rows: list[dict[str, Any]]) -> Iterator[Context]:
    """A studio whose only data set, `shop`, holds these rows."""
    opened = open_studio(workspace(folder / "luthier"))
    path = folder / "shop.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    context = Context("en", opened.desk, opened.registry)
    imported(context, path)
    yield context
    opened.close()


def imported(context: Context, path: Path, name: str = "shop") -> Page:
    """A page after a file was dropped and Import was pressed."""
    looked = dict(zip(("name", *IMPORT), importing.look(context, str(path)), strict=True))
    assert looked["form"]["visible"] and looked["import"]["interactive"], looked["reading"]
    page = Page(context)
    page.take([*importing.start_import(context, str(path), name, looked["chosen"]), *data._values()])
    return page.followed()
