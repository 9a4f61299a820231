"""The card Difficulty with a real model: asked by a press, its losses beside every row, and kept for the curriculum."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from app.context import Context
from app.data import difficulty
from studio.db import datasets
from studio.opening import open_studio
from studio.paths import workspace
from studio.workshop import reports
from tests.app.data_page import Page, imported

ROWS = [
    {"prompt": "What is the capital of France?", "completion": "The capital of France is Paris."},
    {"prompt": "What is the capital of Spain?", "completion": "Purple seventeen gladly of the the."},
    {"prompt": "Say hello.", "completion": "Hello!"},
]


@pytest.fixture(scope="module", name="context")
def fixture_context(tmp_path_factory: pytest.TempPathFactory, starter: Path) -> Iterator[Context]:
    opened = open_studio(workspace(tmp_path_factory.mktemp("studio") / "luthier"))
    path = tmp_path_factory.mktemp("source") / "shop.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), "utf-8")
    context = Context("en", opened.desk, opened.registry)
    opened.desk.add_model(str(starter), name="small")
    imported(context, path)
    yield context
    opened.close()


def card(page: Page) -> str:
    return re.search(r'data-check="difficulty">.*?</section>', page.shown("checks"), re.S)[0]


def test_a_model_is_asked_and_its_losses_stand_beside_the_rows(context: Context) -> None:
    page = Page(context, dataset="shop", tab="checks")
    page.press("checks", "check")
    assert "Ask a model too" in card(page) and "Ask the model" not in card(page)
    page.press("checks", "found", check="difficulty")
    assert "Loss" not in card(page) and card(page).count("<tr>") == 1 + len(ROWS)

    page.press("checks", "scorer", {"scorer": "model:small"})
    assert "Ask the model" in card(page) and "Squeeze the model" in card(page)
    page.press("checks", "ask", {"scorer": "model:small"})
    shown = card(page)
    assert "small was asked about 3 rows" in shown and "Ask the model<" not in shown
    lines = re.findall(r"<tr><td>.*?data-row=\"(\d)\".*?</td><td>([\d.]+)</td><td>([\d.]+)</td><td>(.*?)</td>", shown)
    assert len(lines) == 3 and [float(score) for _, score, _, _ in lines] == sorted(
        (float(score) for _, score, _, _ in lines), reverse=True
    )
    losses = {int(row): float(loss) for row, _, loss, _ in lines}
    assert losses[2] > 3 > 1 > losses[1] and "Purple seventeen" in shown
    assert not re.search(r"data\.(checks|difficulty)\.", shown)

    page.press("checks", "order")
    with context.registry.session() as session:
        version = datasets.dataset(session, "shop")
    stored = pl.read_parquet(Path(version.path) / reports.DIFFICULTY)
    assert version.has_difficulty and version.manifest["steps"][-1]["parameters"]["model"] == "small"
    assert dict(zip(stored["row"], stored["loss"], strict=True)) == pytest.approx(losses, abs=0.01)
    # The new version trains alike, so its check takes no model.
    assert context.desk.check_difficulty("shop", "small") is not None
    page.press("checks", "ask", {"scorer": "model:small"})
    assert "small was asked about 3 rows" in card(page)


def test_a_model_that_is_gone_is_as_if_none_was_chosen(context: Context) -> None:
    with context.registry.session() as session:
        version = datasets.dataset(session, "shop")
    gone = {"scorer": "checkpoint:77"}
    assert difficulty.kept(context, version, gone) is None
    assert "Ask the model" not in difficulty.chooser(context, version, gone)
