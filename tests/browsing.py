"""What a person does in the browser and a script does too fast."""

import time
from typing import Any

MOUNT_SECONDS = 15


def unfold_and_fill(page: Any, fold: str, field: str, value: str) -> None:
    """Open the fold (a selector) and type into a field in it until the field keeps it.

    Gradio makes the fields of a fold when it opens and writes their values a second time within the next instants
    (14 to 36 ms after they appear, once 519 ms on a busy machine): what a script types in between is overwritten, in
    the field as in what the server gets. Raises AssertionError where the value does not stay.
    """
    entry = page.locator(f"{field} input").first
    if not entry.is_visible():
        page.locator(f"{fold} button").first.click()
    entry.wait_for()
    deadline = time.monotonic() + MOUNT_SECONDS
    while time.monotonic() < deadline:
        entry.fill(value)
        entry.blur()
        page.wait_for_timeout(1000)
        if entry.input_value() == value:
            return
    raise AssertionError(f"{field} shows {entry.input_value()!r} after {value!r} was typed")
