"""The data page in Chromium: the real server, real jobs, real rows. The browser can reach this machine alone."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.commands import followed
from app.pages.data import TABS
from studio.messages import LANGUAGES, say
from studio.paths import workspace
from tests.e2e.server import Server, end_everything
from tests.unit.workshop.real_rows import corpus

pytestmark = pytest.mark.browser

KEY = re.compile(r"\b(?:data|problems|errors|reward)\.[a-z_]+\.[a-z_]+")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = workspace(tmp_path_factory.mktemp("browser") / "luthier")
    place.make()
    # An answer of a search ends after one row group, so that a few megabytes are a long search.
    started = Server(place, before="from app.data import rows; rows.SEARCH_SECONDS = 0.0").start()
    yield started
    started.stop()
    end_everything(place)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """chatterbot's tech_support, 10 distinct rows in 1,050, and two that cannot be used."""
    path = tmp_path_factory.mktemp("source") / "support.jsonl"
    rows = corpus("english", "tech_support").select("prompt", "completion", "category")
    lines = [json.dumps(row) for row in rows.iter_rows(named=True)]
    path.write_text("\n".join([*lines, "{'prompt': 'Hi', 'completion': 'Hello'}", '{"prompt": "no answer"}']), "utf-8")
    return path


@pytest.fixture(scope="module")
def rows(server: Server, source: Path) -> str:
    """The same as a data set, for tests that do not begin with the upload: each may run in a process of its own."""
    job_id = server.do("import_dataset", source=str(source), name="rows")
    assert followed(server.workspace, job_id).state == "succeeded"
    return "rows"


@pytest.fixture
def page(browser, server):
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    asked: set[str] = set()
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: asked.add(request.url.split("?")[0]))
    yield opened
    assert faults == []
    assert {url for url in asked if not url.startswith((server.url, "data:", "blob:"))} == set()
    opened.close()


def open_tab(page, name: str, language: str = "en") -> None:
    page.get_by_role("tab").filter(has_text=say(f"data.tab.{name}", language)).first.click()
    page.wait_for_selector(f"#data-{name} >> visible=true")


def wait_title(page, words: str) -> None:
    page.wait_for_selector(f"#data-title :text('{words}')", timeout=60_000)


def test_from_upload_to_clean_rows_and_back(page, server, source):
    page.goto(f"{server.url}/en/data")
    page.locator("#data-file input[type=file]").set_input_files(str(source))
    page.wait_for_selector("#data-reading select[name='column.1']")
    assert page.locator("#data-reading select[name='column.1']").input_value() == "completion"
    assert "category" in page.locator("#data-reading table").inner_text()
    page.locator("#data-import").click()
    wait_title(page, "1,050 rows")
    assert "dataset=support" in page.url

    open_tab(page, "problems")
    page.locator("#data-problems button[data-do=fix_all]").click()
    wait_title(page, "1,051 rows")
    assert "1 row mended" in page.locator("#data-title").inner_text()
    page.locator("#data-problems button[data-do=exclude_kind]").click()
    wait_title(page, "1 excluded")

    open_tab(page, "clean")
    assert "tab=clean" in page.url
    page.locator("#data-clean button[data-do=look]").click()
    figure = page.locator("#data-clean .lu-figure")
    figure.wait_for(timeout=60_000)
    assert "1,051 → 11 rows" in figure.inner_text()
    switch = page.locator("#data-clean input[name='on.duplicates']")
    switch.focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#data-clean .lu-figure:has-text('about 1,051')")
    page.wait_for_function(
        "!document.querySelector('#data-clean .lu-figure').innerText.includes('about')", timeout=60_000
    )
    assert page.evaluate("document.activeElement.name") == "on.duplicates", "the focus stays where the person is"
    page.keyboard.press("Space")
    page.wait_for_selector("#data-clean .lu-figure:has-text('→ 11 rows')")
    page.locator("#data-clean button[data-do=clean]").click()
    wait_title(page, "11 rows")
    page.locator("#data-title button[data-do=undo]").click()
    wait_title(page, "1,051 rows")

    page.reload()
    page.wait_for_selector("#data-clean .lu-figure", timeout=30_000)


def test_a_row_is_edited_and_what_is_typed_outlives_a_redraw(page, server, rows):
    page.goto(f"{server.url}/en/data?dataset={rows}")
    page.locator("#data-rows button[data-do=edit]").first.click()
    page.fill("#data-rows textarea[name='completion.0']", "")
    page.locator("#data-rows button[data-do=save_turns]").click()
    page.wait_for_selector("#data-rows .lu-notice")
    page.fill("#data-rows textarea[name='completion.0']", "Turn it off and on again.")
    page.locator("#data-rows button[data-do=save_turns]").click()
    page.wait_for_selector("#data-rows .lu-turn:has-text('Turn it off and on again.')", timeout=60_000)
    page.fill("#data-rows input[name=search]", "off and on")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('#data-rows article').length === 1")


def test_a_panel_is_free_again_once_it_was_answered(page, server, rows):
    """A refusal redraws nothing, and the same answer twice shows nothing new; neither may leave the panel waiting."""
    is_free = "!document.querySelector('.lu-busy')"
    page.goto(f"{server.url}/en/data?dataset={rows}")
    for _ in range(2):
        page.locator("#data-rows button[data-do=search]").click()
        page.wait_for_function(is_free, timeout=7_000)
    open_tab(page, "versions")
    page.locator("#data-versions summary").first.click()
    for _ in range(2):
        page.locator("#data-versions button[data-do=push]").click()
        page.wait_for_function(is_free, timeout=7_000)
    assert page.locator("[data-testid=toast-body]").count() >= 1


@pytest.fixture(scope="module")
def long(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """16 MB of 601 rows, a needle in the last."""
    told = " ".join(corpus("english", "computers")["completion"])
    lines = [{"prompt": f"Question {n}?", "completion": f"{told[n:]}{8 * told} No {n}."} for n in range(600)]
    lines.append({"prompt": "The last?", "completion": "The needle."})
    path = tmp_path_factory.mktemp("source") / "long.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    assert followed(server.workspace, server.do("import_dataset", source=str(path), name="long")).state == "succeeded"
    return "long"


def test_long_work_is_cancelled_and_leaves_nothing(page, server, long):
    page.goto(f"{server.url}/en/data?dataset={long}&tab=clean")
    page.locator("#data-clean button:has-text('recommended recipe')").click()
    page.locator("#data-cancel").click()
    page.wait_for_selector("#data-cancel", state="hidden", timeout=30_000)
    assert "Stopped at once" in page.locator("#data-progress").inner_text()
    assert "version 1" in page.locator("#data-title").inner_text()
    page.locator("#data-clean button:has-text('recommended recipe')").wait_for()


def test_a_long_search_goes_on_by_itself(page, server, long):
    """Nobody presses anything between the first answer and the row at the end of the data set."""
    page.goto(f"{server.url}/en/data?dataset={long}")
    page.wait_for_selector("#data-rows article")
    page.evaluate("""() => {
        window.seen = [];
        const look = () => {
            const bar = document.querySelector('#data-rows .lu-progress div');
            if (bar && window.seen.at(-1) !== bar.style.width) window.seen.push(bar.style.width);
        };
        new MutationObserver(look).observe(document.body, {childList: true, subtree: true, attributes: true});
    }""")
    page.fill("#data-rows input[name=search]", "the NEEDLE")
    page.keyboard.press("Enter")
    page.wait_for_selector("#data-rows article:has-text('The needle.')", timeout=30_000)
    assert page.locator("#data-rows article").count() == 1
    page.wait_for_selector("#data-rows .lu-searching", state="detached")
    shares = [float(each.rstrip("%")) for each in page.evaluate("window.seen")]
    assert len(shares) >= 2 and shares == sorted(shares) and shares[-1] < 100


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_tab_on_a_phone_in_the_dark(browser, server, rows, language):
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
    page.goto(f"{server.url}/{language}/data?dataset={rows}")
    page.wait_for_selector("#data-rows article")
    for tab in TABS:
        page.goto(f"{server.url}/{language}/data?dataset={rows}&tab={tab.name}")
        page.wait_for_selector(f"#data-{tab.name} >> visible=true")
        page.wait_for_function(f"document.querySelector('#data-{tab.name}').innerText.length > 20")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, tab.name
        words = page.locator("#data-dataset-panel").inner_text()
        assert KEY.findall(words) == [] and say("errors.server.unexpected", language) not in words, tab.name
    page.close()
