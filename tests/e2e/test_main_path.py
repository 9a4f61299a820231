"""The whole path in a real browser: file, bad row, Train, curve, reload, SIGKILL, compare.

With the starter model, whose answers then follow the style, behind `--all`; by default with its first two layers, which
learn in a fraction of the time and say nothing sensible.

The browser finds no host but 127.0.0.1, and server and jobs run behind the socket guard of `tests/conftest.py`.
"""

import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.i18n import PAGES
from studio.db import comparisons, jobs, metrics
from studio.db.engine import Reader
from studio.paths import Workspace
from tests.browsing import unfold_and_fill
from tests.e2e import style
from tests.e2e.server import Server, end_everything, wait_until

pytestmark = pytest.mark.browser

NUM_ROWS = 80
BROKEN_LINE = 5
STEP_BUDGET_SECONDS = 400
ANSWER_TOKENS = 16


@dataclass(frozen=True)
class Model:
    workspace: str
    """The fixture that holds it."""
    steps: int
    """Enough for the whole one to learn the style; for two layers, to be killed and looked at meanwhile."""
    speaks: bool


MODELS = [
    pytest.param(Model("workspace_with_small_starter", 60, speaks=False), id="two layers"),
    pytest.param(Model("workspace_with_starter", 20, speaks=True), id="starter", marks=pytest.mark.slow),
]


@pytest.fixture
def server(model: Model, request: pytest.FixtureRequest):
    workspace = request.getfixturevalue(model.workspace)
    made = Server(workspace).start()
    yield made
    try:
        made.stop()
    finally:
        end_everything(workspace)


@pytest.fixture
def page(browser: Any):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(30_000)
    opened = context.new_page()
    opened.faults = []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    yield opened
    context.close()


def style_file(folder: Path, trivia: Path) -> tuple[Path, list[str]]:
    """A JSONL file in the style with one broken line, and held-out questions."""
    rows, held_out = style.split(trivia)
    lines = [json.dumps(row) for row in rows[:NUM_ROWS]]
    lines.insert(BROKEN_LINE - 1, '{"prompt": "What is broken here?", "completion": "Answer for you')
    path = folder / "house style.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path, held_out


def the_run(workspace: Workspace) -> Any:
    with Reader(workspace.registry).session() as session:
        return next(iter(jobs.list_jobs(session, kinds=("train",), limit=1)), None)


def series(server: Server, run: int) -> list[int]:
    """Steps of the loss curve."""
    with Reader(server.workspace.registry).session() as session:
        return metrics.points(session, run, "loss").steps.tolist()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", MODELS)
def test_the_main_job_in_the_browser(
    model: Model, server: Server, page: Any, browser: Any, tmp_path: Path, request: pytest.FixtureRequest
):
    workspace = server.workspace
    file, held_out = style_file(tmp_path, workspace.starter_data / "trivia.jsonl")

    bring_in_and_mend(page, server, file)
    run = train(page, server, model.steps)
    watch(page, server, run)
    survive_a_kill(page, server, run)

    finished = wait_until(
        lambda: (job := the_run(workspace)).state not in ("starting", "running") and job,
        seconds=STEP_BUDGET_SECONDS,
        what=server.log,
    )
    assert (finished.state, finished.last_metrics["step"]) == ("succeeded", model.steps)
    steps = series(server, run)
    assert steps == sorted(set(steps))
    assert steps[-1] == model.steps

    compare(page, server, held_out[:3], speaks=model.speaks)
    assert page.faults == []
    if pictures := request.config.getoption("--pictures"):
        take_pictures(browser, server, Path(pictures), run)


def bring_in_and_mend(page: Any, server: Server, file: Path) -> None:
    """Upload, see the bad row by its number, exclude it."""
    page.goto(f"{server.url}/en/data")
    page.locator("#data-file input[type=file]").set_input_files(str(file))
    page.locator("#data-import").click()
    problems = page.get_by_role("tab", name=re.compile("Problems"))
    problems.click()
    page.locator("#data-problems").get_by_text(re.compile(rf"\b{BROKEN_LINE}\b")).first.wait_for()
    page.locator("#data-problems button[data-do=exclude_kind]").first.click()
    page.locator("#data-title").get_by_text(re.compile(r"v?\b2\b")).first.wait_for()


def train(page: Any, server: Server, steps: int) -> int:
    """Press Train with the prefilled form; returns the run's number."""
    page.goto(f"{server.url}/en/train?dataset=house%20style")
    start = page.locator("button#train-start")
    wait_until(start.is_enabled, seconds=90, what=server.log)
    unfold_and_fill(page, "#train-group-length", "#train-max_steps", str(steps))
    wait_until(start.is_enabled, seconds=30, what="the form did not settle")
    pressed = time.monotonic()
    start.click()
    page.wait_for_url(re.compile(r"/en/runs\?run=\d+"), timeout=60_000)
    page.locator("#runs-chart .lu-summary:visible", has_text="1").first.wait_for(timeout=180_000)
    report(
        f"Train pressed to first loss on the chart: {time.monotonic() - pressed:.1f} s, load {os.getloadavg()[0]:.1f}"
    )
    return int(page.url.rpartition("=")[2])


def report(line: str) -> None:
    """A figure for docs/measurements.md; `pytest -s` shows it."""
    sys.stderr.write(f"{line}\n")


def watch(page: Any, server: Server, run: int) -> None:
    """The curve moves, and is still there after a reload."""
    page.locator("#runs-chart canvas:visible").first.wait_for(timeout=120_000)
    wait_until(lambda: len(series(server, run)) >= 2, seconds=120, what=server.log)
    seen = len(series(server, run))
    wait_until(lambda: len(series(server, run)) > seen, seconds=120, what=server.log)
    page.reload()
    page.locator("#runs-chart canvas:visible").first.wait_for()
    assert page.locator("#runs-head").inner_text()


def survive_a_kill(page: Any, server: Server, run: int) -> None:
    """SIGKILL the server; the run goes on and is shown as running within 10 s of the restart, its curve whole."""
    before = series(server, run)
    server.kill()
    time.sleep(1)
    server.start()
    began = time.monotonic()
    page.goto(f"{server.url}/en/runs?run={run}")
    page.locator("#runs-head").get_by_text(re.compile("Running")).first.wait_for(timeout=10_000)
    assert time.monotonic() - began < 10
    after = wait_until(lambda: series(server, run), seconds=10)
    assert after[: len(before)] == before
    page.locator("#runs-chart canvas:visible").first.wait_for()


def compare(page: Any, server: Server, questions: list[str], *, speaks: bool) -> None:
    """Base and two checkpoints answer side by side; the trained one has moved, to the style where it can speak."""
    page.goto(f"{server.url}/en/checkpoints")
    boxes = page.locator("#checkpoints-pick input[type=checkbox]")
    boxes.first.wait_for()
    assert boxes.count() >= 3
    for place in (0, 1, boxes.count() - 1):  # the untouched model, the first checkpoint, the last one
        boxes.nth(place).check()
    unfold_and_fill(page, "#checkpoints-settings", "#checkpoints-max-new-tokens", str(ANSWER_TOKENS))
    page.locator("#checkpoints-prompts textarea").fill("\n".join(questions))
    page.locator("#checkpoints-compare").click()
    page.wait_for_url(re.compile(r"compare=\d+"), timeout=30_000)
    number = int(re.search(r"compare=(\d+)", page.url)[1])
    view = wait_until(lambda: answered(server.workspace, number), seconds=240, what=server.log)
    assert {answer.state for answer in view.answers} == {"done"}
    assert view.settings["max_new_tokens"] == ANSWER_TOKENS
    last = len(view.columns) - 1
    base = [answer.text for answer in view.answers if answer.column == 0]
    tuned = [answer.text for answer in view.answers if answer.column == last]
    page.locator("#checkpoints-answers").get_by_text(" ".join(tuned[0].split())[:20]).first.wait_for()
    assert not any(style.PHRASE in text for text in base)
    assert tuned != base
    if speaks:
        assert sum("answer" in text.lower() and "{" in text for text in tuned) >= 2, tuned


def answered(workspace: Workspace, number: int) -> Any:
    with Reader(workspace.registry).session() as session:
        view = comparisons.comparison(session, number)
    return None if view.is_open else view


def take_pictures(browser: Any, server: Server, folder: Path, run: int) -> None:
    """Every page as a person sees it: both languages, light and dark, wide and as narrow as a phone."""
    folder.mkdir(parents=True, exist_ok=True)
    queries = {"home": "", "data": "data?dataset=house%20style", "train": "train?dataset=house%20style"}
    queries |= {"runs": f"runs?run={run}", "checkpoints": "checkpoints?compare=1"}
    for theme, width, suffix in (("light", 1280, "light"), ("dark", 1280, "dark"), ("light", 400, "phone")):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        for language in ("en", "zh"):
            for name in PAGES:
                opened = context.new_page()
                opened.goto(f"{server.url}/{language}/{queries.get(name, name)}")
                opened.wait_for_selector(f"#{name}-top-bar nav a[aria-current]")
                opened.wait_for_timeout(4000 if name in ("train", "runs") else 2500)
                opened.screenshot(path=folder / f"{name}-{language}-{suffix}.png", full_page=True)
                opened.close()
        context.close()
