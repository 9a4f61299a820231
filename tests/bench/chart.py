"""Milliseconds from asking for a chart's update to its paint: 3 runs x 100,000 points, in Chromium.

    python -m tests.bench.chart [--updates 5]

Each update appends ten points to every run's four series, as a training run would, and waits until the page has drawn
them. The page itself measures (`data-painted-ms`): request, answer, drawing of all panels and the frame after it.
"""

import argparse
import tempfile
from pathlib import Path

from studio.db.engine import Writer
from studio.paths import Workspace
from tests.app.seeding import add_curve, add_run
from tests.bench.machine import chromium, load, server

RUNS, POINTS, NEW_POINTS = 3, 100_000, 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--updates", type=int, default=5)
    updates = parser.parse_args().updates
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder)).make()
        writer = Writer(workspace.registry)
        with writer.begin() as session:
            runs = [add_run(session, title=f"run {place}", state="stopped") for place in range(RUNS)]
        for run in runs:
            with writer.begin() as session:
                add_curve(session, run, count=POINTS)
        writer.close()
        with server(workspace.root) as (_, url), chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{url}/en/runs?runs={','.join(map(str, runs))}")
            page.wait_for_selector(".lu-chart[data-painted='1']")
            first = _painted_ms(page)
            took = [_update(page, workspace, runs, turn) for turn in range(updates)]
    print(f"first painting {first:.0f} ms; updates {', '.join(f'{each:.0f}' for each in took)} ms")  # noqa: T201
    print(f"best of {updates}: {min(took):.0f} ms, load {load()}")  # noqa: T201


def _update(page: object, workspace: Workspace, runs: list[int], turn: int) -> float:
    seen = page.locator(".lu-chart").get_attribute("data-painted")
    # A second writer beside the server's, only here, where nothing else is written.
    writer = Writer(workspace.registry)
    with writer.begin() as session:
        for run in runs:
            add_curve(session, run, count=NEW_POINTS, start=POINTS + 1 + turn * NEW_POINTS)
    writer.close()
    page.wait_for_function(f"document.querySelector('.lu-chart').dataset.painted > {seen}")
    return _painted_ms(page)


def _painted_ms(page: object) -> float:
    return float(page.locator(".lu-chart").get_attribute("data-painted-ms"))


if __name__ == "__main__":
    main()
