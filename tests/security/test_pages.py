"""The pages in Chromium: text that wants to be HTML or script, pages of other sites, framing, sessions.

One studio whose every name, row, note, tag, log line and setting bears `MARKED`; a script that ran would set
`window.marked`, an image that was fetched would call the trap.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import start
from app.commands import followed
from app.i18n import PAGES
from app.pages.data import TABS
from studio.db import comparisons, datasets, jobs, runs
from studio.db.engine import Writer
from studio.db.tables import Dataset, Job, Model
from studio.paths import workspace
from tests.app.seeding import add_checkpoint, add_comparison, add_curve, add_run, add_starter
from tests.conftest import BROWSER_FLAGS
from tests.e2e.server import Server, end_everything
from tests.security.conftest import PASSWORD, Trap

pytestmark = pytest.mark.browser

SCRIPTS = (
    "'\"><img src=x onerror=\"window.marked='img'\">"
    "<script>window.marked='script'</script><svg onload=\"window.marked='svg'\"></svg>"
    "${window.marked='dollar'}{{window.marked='braces'}}<%= window.marked='percent' %>"
    "<a href=\"javascript:window.marked='link'\">x</a>"
    "<iframe srcdoc=\"<script>parent.marked='frame'</script>\"></iframe>"
    "<math><mtext><table><mglyph><style><img src=x onerror=\"window.marked='math'\"></style></mglyph></table></mtext>"
    "![x](TRAP/markdown)<img src='TRAP/image'><link rel=stylesheet href='TRAP/style'><base href='TRAP/'>"
)
FOUND = """() => {
  const marks = 'img[onerror], svg[onload], a[href^=javascript], iframe, mglyph, img[src=x]';
  const callers = [...document.querySelectorAll('img, link, script, base')];
  const calls = callers.filter((each) => (each.src || each.href || '').includes('TRAP'));
  const found = [window.marked || '', ...document.querySelectorAll(marks), ...calls];
  return found.filter(Boolean).map((each) => each.outerHTML || String(each));
}"""
TOKEN = "hf_TheSecretThatNobodyMayEverSee7654321"
FIRST_TABS = ("rows", "problems", "versions")


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


@pytest.fixture(scope="module")
def marked(trap: Trap) -> str:
    return SCRIPTS.replace("TRAP", trap.url)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, marked: str) -> Iterator[tuple[Server, dict[str, int]]]:
    place = workspace(tmp_path_factory.mktemp("marked") / "luthier").make()
    source = tmp_path_factory.mktemp("source") / "<img src=x onerror=window.marked=1>.jsonl"
    rows = [
        {"prompt": f"{marked} {n}", "completion": f"{marked} {n}", "category": marked[:40], marked: 1} for n in range(6)
    ]
    lines = [json.dumps(row) for row in rows] + [marked, json.dumps({"prompt": marked}), f"{{'{marked}': 1}}"]
    source.write_text("\n".join(lines), "utf-8")
    server = Server(place).start()
    job = followed(place, server.do("import_dataset", source=str(source), name="rows"))
    assert job.state == "succeeded", job.reason
    job = followed(place, server.do("check_dataset", name="rows"))
    job = followed(place, server.do("look_dataset", name="rows"))
    labels = [marked[:40], "b"]
    number = server.do("labelling.open_round", dataset="rows", name="round", kind="labels", labels=labels)
    server.do("labelling.edit_guide", round_id=number, guide=marked)
    server.do("labelling.mark_row", round_id=number, row=1, annotator=marked[:40], rating=marked[:40], note=marked)
    server.stop()
    ids = seed(Writer(place.registry), marked)
    log = place.attempt(ids["run"], 1)
    log.mkdir(parents=True)
    (log / "train.log").write_text(f"step 1 {marked}\n\x1b[31m{marked}\n", "utf-8")
    server.start()
    yield server, ids
    server.stop()
    end_everything(place)


def seed(writer: Writer, marked: str) -> dict[str, int]:
    with writer.begin() as session:
        model_id = add_starter(session)
        model = session.get_one(Model, model_id)
        model.name = marked
        model.facts = model.facts | {"license": marked, "architecture": marked} if hasattr(model, "facts") else None
        session.query(Dataset).one().name = marked
        datasets.set_note(session, marked, 1, marked)
        values = {"goal": marked, "dataset": marked, "model_name_or_path": marked, "run_name": marked, marked: marked}
        run = add_run(session, title=marked, state="succeeded", model_id=model_id, values=values)
        failed = add_run(session, title=marked, state="failed", model_id=model_id, values=values)
        for each in (run, failed):
            add_curve(session, each, count=40)
            runs.set_tags(session, each, [marked[:60], "b"])
            runs.set_note(session, each, marked)
        job = session.get_one(Job, failed)
        job.reason, job.reason_values = "job.unexpected", {"error": marked}
        fetch = jobs.add_job(session, jobs.NewJob(kind="fetch", title=marked, values={}, needs_device=False))
        jobs.move(session, fetch, "starting")
        jobs.move(session, fetch, "failed", reason="job.hub_unknown", values={"model": marked})
        jobs.record_event(
            session, run, type="alert", data={"code": marked, "severity": "warning", "values": {"x": marked}}
        )
        add_run(session, title=marked, state="queued", model_id=model_id, values=values)
        saved = add_checkpoint(session, run, 20)
        comparison = add_comparison(session, [saved], text=marked)
        column = {"model": marked, "checkpoint": saved, "title": marked}
        settings = {"seed": 42, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 64, "system": marked}
        talk = comparisons.add_comparison(session, kind="chat", columns=[column], settings=settings)
        answer = comparisons.ask(session, talk, column=0, prompt=0, messages=[{"role": "user", "content": marked}])
        done = {"answer_id": answer, "text": marked, "done": True, "tokens": 2, "seconds": 1.0}
        comparisons.update_answer(session, done)
    writer.close()
    return {"run": run, "failed": failed, "comparison": comparison, "talk": talk}


@pytest.fixture
def page(browser: Any, studio: tuple[Server, dict[str, int]]) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(20_000)
    opened.blocked = []
    opened.on("console", lambda said: opened.blocked.append(said.text) if "Content Security" in said.text else None)
    opened.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    yield opened
    opened.close()


def addresses(ids: dict[str, int], *, every: bool) -> list[str]:
    tabs = [f"data?tab={tab.name}" for tab in TABS if every or tab.name in FIRST_TABS]
    run = [f"runs?run={ids['run']}", f"runs?run={ids['failed']}", f"runs?runs={ids['run']},{ids['failed']}"]
    asked = [f"checkpoints?compare={ids['comparison']}", f"checkpoints?talk={ids['talk']}"]
    return ["", *PAGES[1:], *tabs, *run, *asked]


def settle(page: Any) -> None:
    """Until the page has drawn what the server sends, folds are open and scripts that were to run have run."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.wait_for_timeout(300)


def test_the_trap_works_where_nothing_protects(page, trap, marked):
    """Without the studio's policy the same text runs, so that what follows means something."""
    page.set_content(f"<body>{marked}</body>")
    page.wait_for_timeout(500)
    assert page.evaluate("window.marked") in ("img", "script", "svg", "frame", "math")
    trap.calls.clear()


@pytest.mark.parametrize(
    ("language", "every"),
    [
        pytest.param("en", False, marks=pytest.mark.slow),
        pytest.param("en", True, marks=pytest.mark.slow),
        pytest.param("zh", True, marks=pytest.mark.slow),
    ],
)
def test_text_is_text_on_every_page(studio, page, trap, language, every):
    server, ids = studio
    shown = 0
    for address in addresses(ids, every=every):
        page.goto(f"{server.url}/{language}/{address}")
        settle(page)
        assert page.evaluate(FOUND.replace("TRAP", trap.url)) == [], address
        shown += "window.marked=" in page.locator("body").inner_text()
        assert page.blocked == [], address
    assert shown >= (14 if every else 9), "the marks stand on the pages, as text"
    assert trap.calls == []


def test_text_is_text_in_notices_legends_and_fields(studio, page, trap, marked):
    server, ids = studio
    page.goto(f"{server.url}/en/models")
    settle(page)
    page.locator("#models-add-fold button").first.click()
    page.locator("#models-folder textarea, #models-folder input").first.fill(f"/nowhere/{marked}")
    page.locator("#models-name textarea, #models-name input").first.fill(marked)
    page.locator("#models-add").click()
    page.wait_for_selector("[data-testid=toast-body]")
    assert "window.marked" in page.locator("[data-testid=toast-body]").first.inner_text()
    assert page.evaluate(FOUND.replace("TRAP", trap.url)) == []
    page.goto(f"{server.url}/en/runs?run={ids['run']}")
    page.wait_for_selector(".lu-chart[data-painted]")
    page.locator(".lu-canvas .u-over:visible").first.hover()
    assert "window.marked" in page.locator(".lu-legend:visible").first.inner_text()
    page.goto(f"{server.url}/en/runs")
    settle(page)
    page.locator("#runs-search input, #runs-search textarea").first.fill(marked)
    settle(page)
    assert page.evaluate(FOUND.replace("TRAP", trap.url)) == [] and trap.calls == []


def test_a_file_is_shown_as_text_before_it_is_imported(studio, page, trap, marked, tmp_path):
    server, _ = studio
    source = tmp_path / "<svg onload=window.marked=1>.csv"
    quoted = marked.replace('"', '""')
    source.write_text(f'"{quoted}","completion"\n"{quoted}","{quoted}"\n', "utf-8")
    page.goto(f"{server.url}/en/data")
    settle(page)
    page.locator("#data-add").click()
    page.locator("#data-file input[type=file]").set_input_files(str(source))
    page.wait_for_selector("#data-reading select")
    settle(page)
    assert "window.marked" in page.locator("#data-reading").inner_text()
    assert page.evaluate(FOUND.replace("TRAP", trap.url)) == [] and trap.calls == []


def test_html_that_slipped_into_a_page_runs_nothing(studio, page, trap, marked):
    """The pages' policy holds where escaping was forgotten: the browser itself refuses scripts, handlers, addresses."""
    server, _ = studio
    page.goto(f"{server.url}/en/runs")
    settle(page)
    page.evaluate(
        """(html) => {
            document.body.insertAdjacentHTML('beforeend', html);
            const script = document.createElement('script');
            script.textContent = "window.marked = 'made'";
            document.body.append(script);
        }""",
        marked,
    )
    page.wait_for_timeout(500)
    assert page.evaluate("window.marked || ''") == "" and trap.calls == []
    assert page.blocked != []


def test_an_uploaded_script_is_no_script_of_the_studio(studio, page, trap):
    server, _ = studio
    page.goto(f"{server.url}/en/runs")
    settle(page)
    ran = page.evaluate(
        """async () => {
            const form = new FormData();
            form.append('files', new File(["window.marked = 'uploaded'"], 'evil.js', {type: 'text/javascript'}));
            const [path] = await (await fetch('/en/gradio_api/upload', {method: 'POST', body: form})).json();
            return await new Promise((done) => {
                const script = document.createElement('script');
                script.src = '/en/gradio_api/file=' + path;
                script.onload = () => done(window.marked || 'loaded');
                script.onerror = () => done('refused');
                document.body.append(script);
            });
        }"""
    )
    assert ran == "refused" and page.evaluate("window.marked || ''") == ""


# -- other sites' pages ------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """Another web server of this machine: the same site for the browser's cookies, another origin."""
    served: dict[str, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(served.get(self.path, "").encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.served = served
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


ATTACK = """
<body><iframe id="frame" src="STUDIO/en/"></iframe>
<form id="form" method="post" enctype="text/plain" action="STUDIO/en/gradio_api/run/predict" target="hidden">
<input name='{"fn_index":0,"data":[],"session_hash":"' value='x"}'></form><iframe name="hidden"></iframe>
<script>
  window.done = (async () => {
    const found = [];
    const tried = [
      ['/api/health', {}], ['/api/series?runs=1&metric=loss', {}], ['/en/', {}],
      ['/en/gradio_api/upload', {method: 'POST', body: new FormData()}],
      ['/en/gradio_api/run/predict', {method: 'POST', body: '{"fn_index": 0}'}],
      ['/api/do/stay', {method: 'POST', body: '{}', headers: {'content-type': 'application/json'}}],
    ];
    for (const [path, options] of tried) for (const mode of ['cors', 'no-cors']) {
      try {
        const answer = await fetch('STUDIO' + path, {credentials: 'include', ...options, mode});
        if (answer.type !== 'opaque') found.push(path + ' ' + mode + ' ' + answer.status);
      } catch (refused) {}
    }
    const events = new EventSource('STUDIO/en/gradio_api/queue/data?session_hash=x', {withCredentials: true});
    events.onmessage = () => found.push('events');
    document.getElementById('form').submit();
    await new Promise((ready) => setTimeout(ready, 800));
    try {
      if (document.getElementById('frame').contentDocument?.body?.innerText) found.push('frame');
    } catch (refused) {}
    return found;
  })();
</script>"""


class NewJobs:
    """How many jobs a studio has got since."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def _count(self) -> int:
        from studio.db.engine import Reader

        reader = Reader(self._server.workspace.registry)
        with reader.session() as session:
            found = len(jobs.list_jobs(session))
        reader.close()
        return found

    def __enter__(self) -> Any:
        before = self._count()
        return lambda: self._count() - before

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_reads_and_frames_nothing(studio, page, elsewhere, host):
    server, _ = studio
    elsewhere.served["/"] = ATTACK.replace("STUDIO", server.url.replace("127.0.0.1", host))
    refused: list[int] = []
    page.on("response", lambda answer: refused.append(answer.status) if server.url in answer.url else None)
    with NewJobs(server) as count:
        page.goto(elsewhere.url)
        assert page.evaluate("window.done") == []
        if host == "127.0.0.1":
            assert refused and set(refused) <= {403}, refused
        assert count() == 0
    assert all("Luthier" not in frame.content() for frame in page.frames[1:])


def test_a_name_that_an_attackers_name_server_turns_here_gets_nothing(studio, browser):
    """DNS rebinding: for this browser evil.example is this machine."""
    server, _ = studio
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    flags = [flag for flag in BROWSER_FLAGS if not flag.startswith("--host-resolver-rules")]
    other = browser.browser_type.launch(executable_path=start.find_browser(), args=[*flags, rules])
    page = other.new_page()
    for path in ("/en/", "/api/health", "/static/page.js"):
        answer = page.goto(server.url.replace("127.0.0.1", "evil.example") + path)
        assert answer is not None and answer.status == 421 and "Luthier" not in page.content(), path
    other.close()


# -- the login ---------------------------------------------------------------------------------------------------------


def log_in(page: Any, secret: str) -> None:
    page.fill("#secret", secret)
    page.click("main button")
    page.wait_for_load_state("load")


@pytest.mark.slow
def test_the_login_in_the_browser(locked, browser):
    """In by the password, out by the button, out by a restart, slowed after wrong ones; another window is no way in."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{locked.url}/en/settings")
    assert "/login" in page.url and "Settings" not in page.content()
    log_in(page, "wrong password")
    assert page.locator("p.bad").inner_text() != ""
    log_in(page, PASSWORD)
    page.wait_for_selector("#settings-top-bar nav a[aria-current]")
    assert page.url.endswith("/en/settings")
    assert page.evaluate("document.cookie").find("luthier_session") == -1, "no script reads the session"
    other = browser.new_context().new_page()
    other.goto(f"{locked.url}/en/settings")
    assert "/login" in other.url, "another browser is not logged in"
    page.click("#settings-logout button")
    page.wait_for_selector("#secret")
    page.go_back()
    page.wait_for_selector("#secret, main")
    page.goto(f"{locked.url}/en/runs")
    assert "/login" in page.url
    log_in(page, PASSWORD)
    page.wait_for_selector("#runs-top-bar nav a[aria-current]")
    locked.stop()
    locked.start()
    page.goto(f"{locked.url}/en/runs")
    assert "/login" in page.url, "a restart ends every session"
    for _ in range(5):
        log_in(page, "wrong password")
    log_in(page, PASSWORD)
    assert "/login" in page.url and page.locator("p.bad").inner_text() != "", "not even the right one for a while"
    context.close()
    other.context.close()


# -- settings ----------------------------------------------------------------------------------------------------------


def test_a_token_is_typed_kept_and_never_shown(studio, page):
    server, _ = studio
    page.goto(f"{server.url}/en/settings")
    page.fill("#settings-kept input[name=token]", TOKEN)
    page.click("#settings-kept button[data-do=keep]")
    page.wait_for_selector("#settings-kept .lu-notice.lu-good")
    assert server.workspace.secrets.stat().st_mode & 0o777 == 0o600
    assert TOKEN in server.workspace.secrets.read_text("utf-8")
    assert page.input_value("#settings-kept input[name=token]") == ""
    for _ in range(2):
        assert TOKEN not in page.content() and TOKEN not in page.evaluate("JSON.stringify(window.localStorage)")
        page.reload()
        page.wait_for_selector("#settings-kept button[data-do=forget]")
    page.fill("#settings-kept input[name=token]", "short")
    page.click("#settings-kept button[data-do=keep]")
    page.wait_for_selector("#settings-kept .lu-notice.lu-bad")
    page.click("#settings-kept button[data-do=forget]")
    page.wait_for_selector("#settings-kept button[data-do=forget]", state="detached")
    assert not server.workspace.secrets.exists()


def test_the_largest_upload_is_a_setting_that_holds_at_once(studio, page):
    server, _ = studio
    page.goto(f"{server.url}/en/settings")
    page.wait_for_selector("#settings-kept input[name=limit]")
    page.fill("#settings-kept input[name=limit]", "0.001")
    page.click("#settings-kept button[data-do=limit]")
    page.wait_for_selector("#settings-kept .lu-notice.lu-good")
    sent = httpx.post(f"{server.url}/en/gradio_api/upload", files={"files": ("a.jsonl", b"x" * 2_000_000)}, timeout=30)
    assert sent.status_code == 413
    page.goto(f"{server.url}/en/data")
    assert page.evaluate("window.gradio_config.max_file_size") == 1_000_000, "the browser refuses it before it is sent"
    page.goto(f"{server.url}/en/settings")
    page.fill("#settings-kept input[name=limit]", "-3")
    page.click("#settings-kept button[data-do=limit]")
    page.wait_for_selector("#settings-kept .lu-notice.lu-bad")
    server.do("limit_uploads", size_bytes=20 * 10**9)
