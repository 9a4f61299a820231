"""The pages in Chromium, on a seeded studio. The browser can reach this machine alone."""

import pytest

from app.gradio_front import mended_files
from app.i18n import PAGES
from studio.db import comparisons, jobs, metrics
from studio.db.engine import next_change
from studio.messages import LANGUAGES
from studio.paths import workspace
from tests.app.conftest import opened, serving
from tests.app.seeding import add_run, fill
from tests.app.test_live_view import answered, seeded
from tests.browsing import unfold_and_fill

pytestmark = pytest.mark.browser

PHONE = {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One studio for all tests of this file, which go on from what the ones before have left."""
    place = workspace(tmp_path_factory.mktemp("pages") / "luthier").make()
    for filled in opened(place, fill(place)):
        with serving(place, filled.studio) as url:
            yield filled, url


@pytest.fixture
def page(browser):
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.failed_requests = []
    opened.on("requestfailed", lambda request: opened.failed_requests.append((request.url, request.failure)))
    opened.on("pageerror", lambda error: opened.failed_requests.append(("script", str(error))))
    yield opened
    assert not [each for each in opened.failed_requests if "ERR_ABORTED" not in str(each[1])]
    opened.close()


def test_every_page_opens_in_both_languages_fits_a_phone_and_asks_nobody_else(served, page):
    _, url = served
    asked, wide = [], page.viewport_size
    page.on("request", lambda request: asked.append(request.url))
    for language in LANGUAGES:
        for name in PAGES:
            page.goto(f"{url}/{language}/{'' if name == 'home' else name}")
            page.wait_for_selector(f"#{name}-top-bar nav a[aria-current]")
            assert page.evaluate("document.documentElement.lang").startswith(language)
            page.set_viewport_size(PHONE)
            page.wait_for_timeout(300)
            assert width_of(page) <= PHONE["width"], (language, name)
            page.set_viewport_size(wide)
    for name, text in mended_files().items():
        assert page.request.get(f"{url}/en/assets/{name}").text() == text
    assert {address.split("?")[0][: len(url)] for address in asked if not address.startswith("data:")} == {url}


CLOSED_LATE = """
  const fetched = window.fetch;
  window.fetch = async (...given) => {
    const answer = await fetched(...given);
    if (!String(given[0].url || given[0]).includes("queue/data")) return answer;
    const parts = answer.body.getReader(), text = new TextDecoder(), bytes = new TextEncoder();
    const body = new ReadableStream({ async pull(into) {
      const { value, done } = await parts.read();
      if (done) return into.close();
      const [before, closing] = text.decode(value).split(/(?=data: [^\\n]*close_stream)/);
      into.enqueue(bytes.encode(before));
      if (!closing && !before.includes("close_stream")) return;
      window.closing = (window.closing || 0) + 1;
      await new Promise((done) => setTimeout(done, 1500));
      if (closing) into.enqueue(bytes.encode(closing));
    } });
    return new Response(body, { status: answer.status, headers: answer.headers });
  };
"""
"""The browser hears late that the stream of answers is closed, as on a busy machine."""


def test_a_press_while_the_stream_of_answers_closes_is_answered(served, page):
    _, url = served
    page.add_init_script(CLOSED_LATE)
    page.goto(f"{url}/en/settings")
    page.fill("#settings-kept input[name=token]", "short")
    page.click("#settings-kept button[data-do=keep]")
    page.wait_for_selector("#settings-kept .lu-notice.lu-bad")
    page.fill("#settings-kept input[name=limit]", "19")
    page.click("#settings-kept button[data-do=limit]")
    page.wait_for_selector("#settings-kept .lu-notice.lu-good", timeout=6000)
    assert page.evaluate("window.closing") >= 1


def test_a_press_on_a_page_whose_script_comes_late_is_answered(served, page):
    _, url = served

    def late(route):
        page.wait_for_timeout(1500)
        route.continue_()

    page.route("**/panel.js*", late)
    page.goto(f"{url}/en/settings")
    page.fill("#settings-kept input[name=token]", "short")
    page.click("#settings-kept button[data-do=keep]")
    page.wait_for_selector("#settings-kept .lu-notice.lu-bad", timeout=6000)


def width_of(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth")


def test_eight_pages_at_once_all_work(served, browser):
    filled, url = served
    with filled.studio.registry.session() as session:
        title = jobs.job(session, filled.ids["ended"]).title
    context = browser.new_context()
    pages = [context.new_page() for _ in range(8)]
    for each in pages:
        each.goto(f"{url}/en/runs?run={filled.ids['ended']}")
    for each in pages:
        each.wait_for_selector(f"#runs-head h1:has-text('{title}')")
        each.wait_for_selector(".lu-chart[data-painted]")
    last = pages[-1]
    last.click("#runs-keep summary")
    last.click("#runs-keep button[data-do=delete]")
    last.wait_for_selector(f"text=Delete {filled.ids['ended']} · {title} from the list?")
    last.click("#runs-keep button[data-do=no]")
    last.wait_for_selector("#runs-keep button[data-do=delete]")
    context.close()


def test_the_queue_and_the_list_answer_in_the_browser(served, page):
    filled, url = served
    with filled.writer.begin() as session:
        last = add_run(session, title="last of all", state="queued")
        next_change(session)
    page.goto(f"{url}/en/runs")
    page.click(f"#runs-queue button[data-do=up][data-run='{last}']")
    page.wait_for_selector(f"#runs-queue tbody tr:first-child a:has-text('{last} · last of all')")
    page.select_option("#runs-bar select[name=state]", "failed")
    page.select_option("#runs-bar select[name=state]", "queued")  # while the answer to the first is under way
    page.wait_for_function("document.querySelectorAll('#runs-list tbody tr').length == 2")
    page.wait_for_selector(f"#runs-list tbody tr:first-child a:has-text('{last} · last of all')")
    page.locator("#runs-list input[type=checkbox]").first.check()
    page.wait_for_selector("#runs-list button[data-do=archive]")
    page.click("#runs-list button[data-do=archive]")
    page.wait_for_selector(f"text=Job {last} has not ended")


def test_a_curve_grows_and_keeps_its_zoom(served, page):
    filled, url = served
    run = filled.ids["running"]
    page.goto(f"{url}/en/runs?run={run}")
    page.wait_for_selector(".lu-chart[data-painted]")
    box = page.locator(".lu-panel .u-over").first.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 40)
    page.mouse.up()
    page.wait_for_selector(".lu-zoom-out:visible")
    before = int(page.locator(".lu-chart").get_attribute("data-painted"))
    with filled.writer.begin() as session:
        metrics.append(session, run, 1, {"loss": [(121, 0.0625)]})
        next_change(session)
    page.wait_for_function(f"Number(document.querySelector('.lu-chart').dataset.painted) > {before}")
    page.wait_for_selector(".lu-summary:has-text('0.0625')")
    assert page.locator(".lu-zoom-out").is_visible()


def test_a_log_shows_its_newest_line(served, page):
    filled, url = served
    run = filled.ids["running"]
    log = filled.studio.desk.workspace.attempt(run, 1) / "train.log"
    log.write_text("".join(f"step {step}\n" for step in range(200)))
    page.goto(f"{url}/en/runs?run={run}")
    page.wait_for_selector("#runs-log :text('step 199')")
    below = page.evaluate(
        "(box => box.firstChild.getBoundingClientRect().bottom - box.getBoundingClientRect().bottom)"
        "(document.querySelector('#runs-log pre'))"
    )
    assert below <= 0, "the end of the text is in sight"


def test_the_running_job_and_a_stop_reach_a_page_that_is_open(served, page):
    filled, url = served
    run = filled.ids["running"]
    page.goto(f"{url}/zh/runs?run={run}")
    page.wait_for_selector("#runs-stop:enabled")
    page.click("#runs-stop")
    page.wait_for_selector(f"text={filled.context('zh').say('runs.wish.stop')}")
    with filled.studio.registry.session() as session:
        assert jobs.job(session, run).wish == "stop"
    with filled.writer.begin() as session:
        assert jobs.move(session, run, "stopped", reason="job.cancelled")
    page.wait_for_selector(f"#runs-head :text('{filled.context('zh').say('common.state.stopped')}')")
    page.wait_for_selector("#runs-resume:enabled")


def test_models_are_compared_from_the_page(served, page):
    filled, url = served
    page.goto(f"{url}/en/checkpoints?pick={filled.ids['checkpoint']}")
    page.wait_for_selector("#checkpoints-pick input:checked")
    assert page.locator("#checkpoints-pick input:checked").count() == 2
    page.fill("#checkpoints-prompts textarea", "What is spruce?\nWhat is maple?")
    page.click("#checkpoints-compare")
    page.wait_for_url("**/checkpoints?compare=*")
    page.wait_for_selector(".lu-grid td:has-text('What is maple?')")
    assert page.locator(".lu-grid tbody tr").count() == 2


def test_no_run_or_comparison_is_wider_than_a_phone(served, page):
    _, url = served
    page.set_viewport_size(PHONE)
    for path in ("/en/runs?run=1", "/en/checkpoints?compare=1"):
        page.goto(url + path)
        page.wait_for_selector(".lu-bar")
        page.wait_for_timeout(1000)
        assert width_of(page) <= PHONE["width"], path


def test_a_setting_typed_in_the_fold_is_the_one_used(served, page):
    filled, url = served
    page.goto(f"{url}/en/checkpoints")
    page.locator("#checkpoints-pick input[type=checkbox]").first.check()
    unfold_and_fill(page, "#checkpoints-settings", "#checkpoints-max-new-tokens", "32")
    page.locator("#checkpoints-prompts textarea").fill("What is up?")
    with filled.writer.begin() as session:
        next_change(session)
    page.wait_for_timeout(4000)
    assert page.locator("#checkpoints-max-new-tokens input").input_value() == "32"
    page.locator("#checkpoints-compare").click()
    page.wait_for_url("**compare=*", timeout=30_000)
    number = int(page.url.rpartition("=")[2])
    with filled.studio.registry.session() as session:
        assert comparisons.comparison(session, number).settings["max_new_tokens"] == 32


def test_a_rewarded_run_shows_its_rules_and_answers_and_is_tried_again(served, page):
    filled, url = served
    run = seeded(filled)
    answered(filled, run, [0, 5])
    page.goto(f"{url}/en/runs?run={run}")
    page.wait_for_selector(".lu-panel[data-metric='rewards/json/mean'] .lu-panel-title:has-text('JSON')")
    shown = page.locator(".lu-chart-group:visible > h3").all_text_contents()
    assert shown == ["Reward", "The answers", "How far the model has moved", "Learning"]
    page.wait_for_selector("#runs-answers .lu-sample:has-text('5 <script>')")
    page.click("#runs-answers button[data-do=back]")
    page.wait_for_selector("#runs-answers .lu-sample:has-text('0 <script>')")
    page.locator("#runs-alarms button[data-do=try_again]").first.click()
    page.wait_for_selector("#runs-head h1:has-text('beta 0.003')")
