"""Which pages somebody is pressing something on: a redraw that began before the answer would take it back.

A page looks every two seconds whether it is out of date and is then drawn from what its fields held at that moment. An
answer to a press that came in between says more, a ticked box for instance, and must not be overwritten by it.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MAX_PAGES = 1000
"""Pages that are remembered; the longest quiet ones are forgotten."""


@dataclass
class _Page:
    begun: int = 0
    ended: int = 0


class Presses:
    """Counts what is pressed by page, named as Gradio names its sessions."""

    def __init__(self) -> None:
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def during(self, page: str | None) -> Iterator[None]:
        """While a press is answered."""
        with self._lock:
            found = self._page(page)
            found.begun += 1
        try:
            yield
        finally:
            with self._lock:
                found.ended += 1

    def mark(self, page: str | None) -> int | None:
        """How many were answered so far; None while one is being answered."""
        with self._lock:
            found = self._page(page)
            return found.ended if found.begun == found.ended else None

    def _page(self, page: str | None) -> _Page:
        found = self._pages.setdefault(page or "", _Page())
        self._pages.move_to_end(page or "")
        while len(self._pages) > MAX_PAGES:
            self._pages.popitem(last=False)
        return found
