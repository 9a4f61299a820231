"""Who is let in, and which routes exist at all: attacks on the real server through HTTP."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.e2e.server import Server
from tests.security.conftest import PASSWORD

EVIL = "http://evil.example"
ROUTES = (
    ("GET", "/"),
    ("GET", "/en/"),
    ("GET", "/zh/runs"),
    ("GET", "/en/config"),
    ("GET", "/en/theme.css"),
    ("GET", "/en/assets/x.js"),
    ("GET", "/en/gradio_api/info"),
    ("GET", "/en/gradio_api/openapi.json"),
    ("GET", "/en/gradio_api/app_id"),
    ("GET", "/en/gradio_api/startup-events"),
    ("GET", "/en/gradio_api/heartbeat/x"),
    ("GET", "/en/gradio_api/queue/data?session_hash=x"),
    ("POST", "/en/gradio_api/queue/join"),
    ("POST", "/en/gradio_api/run/predict"),
    ("POST", "/en/gradio_api/upload"),
    ("GET", "/en/gradio_api/file=/etc/passwd"),
    ("GET", "/api/health"),
    ("GET", "/api/series?runs=1&metric=loss"),
    ("POST", "/api/do/stay"),
    ("GET", "/static/chart.js"),
    ("GET", "/favicon.ico"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
)
NOT_THERE = (
    "config",
    "config/",
    "docs",
    "openapi.json",
    "login_check",
    "token",
    "user",
    "monitoring",
    "monitoring/summary",
    "svelte/x.js",
    "gradio_api/info",
    "gradio_api/info/",
    "gradio_api/openapi.json",
    "gradio_api/token",
    "gradio_api/user",
    "gradio_api/runs",
    "gradio_api/heartbeat/abc",
    "gradio_api/vibe-code",
    "gradio_api/call/look/abc",
    "gradio_api/mcp",
    "gradio_api/mcp/sse",
    "gradio_api/custom_component/x/client/component/index.js",
    "gradio_api/deep_link",
    "gradio_api/dev/reload",
)
NOT_TO_BE_POSTED = (
    "gradio_api/component_server",
    "gradio_api/component_server/",
    "gradio_api/vibe-edit",
    "gradio_api/vibe-code",
    "gradio_api/process_recording",
    "gradio_api/call/look",
    "gradio_api/call/v2/look",
    "gradio_api/api/look",
    "gradio_api/run/look",
    "gradio_api/run/bound",
    "gradio_api/stream/x",
    "login",
)


@contextmanager
def log_in(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        assert client.post("/login", data={"secret": PASSWORD}).status_code == 303
        yield client


def takers_of_files(client: httpx.Client) -> list[tuple[int, list[bool]]]:
    """Handlers that are given a file, and which of their values it is; the page itself names them."""
    page = client.get("/en/data").text
    config = json.JSONDecoder().raw_decode(page, page.index("gradio_config = ") + 16)[0]
    files = {each["id"] for each in config["components"] if each["type"] == "file"}
    inputs = {each["id"]: each["inputs"] for each in config["dependencies"]}
    found = [(place, [each in files for each in given]) for place, given in inputs.items() if files & set(given)]
    assert len(found) >= 3
    return found


def ask_with(client: httpx.Client, given: dict[str, object]) -> list[httpx.Response]:
    """`given` handed to every handler that takes a file, in place of the file."""
    event = {"event_data": {"do": "shape", "fields": {}}}
    answers = []
    for number, places in takers_of_files(client):
        body = {"fn_index": number, "data": [given if is_file else "{}" for is_file in places], "session_hash": "x"}
        answers.append(client.post("/en/gradio_api/run/predict", json=body | event))
    return answers


# -- other sites -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_rebound_name_gets_nothing_from_any_route(http_client, method, path):
    for host in ("evil.example", f"evil.example:{http_client.base_url.port}", "127.0.0.1.evil.example", "0.0.0.0"):
        assert http_client.request(method, path, headers={"host": host}).status_code == 421, host


def test_a_rebound_name_gets_nothing_behind_the_password_either(locked):
    with log_in(locked) as client:
        assert client.get("/api/health", headers={"host": "evil.example"}).status_code == 421
        assert client.get("/api/health", headers={"host": "192.0.2.7:9000"}).status_code == 200, "a container's port"


@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost:9", "https://127.0.0.1.evil.example", "http://["])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_foreign_page_reads_and_changes_nothing(http_client, method, path, origin):
    assert http_client.request(method, path, headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("path", ["/en/gradio_api/queue/join", "/en/gradio_api/run/predict", "/en/gradio_api/upload"])
def test_a_form_of_a_foreign_page_is_not_carried_out(http_client, path, kind):
    body = json.dumps({"fn_index": 0, "data": [], "session_hash": "x"})
    for headers in ({"origin": EVIL}, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}):
        answer = http_client.post(path, content=body, headers={"content-type": kind} | headers)
        assert answer.status_code == 403


def test_a_foreign_page_frames_nothing_but_may_link_here(http_client):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert http_client.get("/en/", headers=link).status_code == 200
    assert http_client.get("/en/", headers=link | {"sec-fetch-dest": "iframe"}).status_code == 403
    image = {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert http_client.get("/api/health", headers=image).status_code == 403


def test_no_answer_lets_another_origin_read(http_client):
    own = str(http_client.base_url)
    for path in ("/en/", "/en/theme.css", "/api/health", "/en/gradio_api/app_id"):
        answer = http_client.get(path, headers={"origin": own})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control")], path
    asked = {"origin": own, "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in http_client.options("/en/gradio_api/upload", headers=asked).headers


def test_every_answer_carries_the_security_headers(http_client):
    for path in ("/", "/en/", "/en/runs", "/static/chart.js", "/api/health", "/nothing", "/en/config"):
        headers = http_client.get(path).headers
        assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin" and "camera=()" in headers["permissions-policy"], path
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "object-src 'none'" in policy and "connect-src 'self'" in policy
        assert "server" not in headers, path


# -- routes that do not exist ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOT_THERE)
def test_gradios_other_routes_do_not_exist(http_client, path):
    assert http_client.get(f"/en/{path}").status_code == 404


@pytest.mark.parametrize("path", NOT_TO_BE_POSTED)
def test_no_handler_has_a_public_endpoint(http_client, path):
    assert http_client.post(f"/en/{path}", json={"data": []}).status_code in (404, 405)


def test_the_server_fetches_no_address_for_anybody(http_client, trap):
    for path in (f"proxy={trap.url}/x", f"file={trap.url}/x", f"file/{trap.url}/x", f"proxy={trap.url[5:]}/x"):
        assert http_client.get(f"/en/gradio_api/{path}").status_code in (403, 404), path
    given = {"path": f"{trap.url}/rows.jsonl", "url": f"{trap.url}/rows.jsonl", "meta": {"_type": "gradio.FileData"}}
    elsewhere = {
        name: value.replace(trap.url, "http://192.0.2.7") if name != "meta" else value for name, value in given.items()
    }
    for each in (given, elsewhere):  # an address of another machine would be told by the tests' socket guard
        assert {answer.status_code for answer in ask_with(http_client, each)} == {500}
    assert trap.calls == []


# -- files -------------------------------------------------------------------------------------------------------------


def test_no_file_outside_the_pages_own_folder_is_given_out(server, http_client, secret_file):
    root = server.workspace.root
    up = "../" * 12
    wanted = [
        secret_file,
        root / "server.json",
        root / "registry.sqlite",
        root / "cache" / "gradio" / ".." / "language",
    ]
    wanted += [f"{root}/cache/gradio/{up}{secret_file}", f"{up}{secret_file}", "app/main.py", f"file://{secret_file}"]
    for path in wanted:
        for shown in (str(path), str(path).replace("..", "%2e%2e"), str(path).replace("/", "%2f")):
            answer = http_client.get(f"/en/gradio_api/file={shown}")
            assert answer.status_code in (403, 404), shown
            assert "the secret" not in answer.text and 'token"' not in answer.text


def test_a_link_in_the_pages_folder_leads_nowhere(server, http_client, secret_file):
    place = server.workspace.cache / "gradio" / "linked"
    place.mkdir(parents=True)
    link = place / "rows.jsonl"
    link.symlink_to(secret_file)
    answer = http_client.get(f"/en/gradio_api/file={link}")
    link.unlink()  # the server is shared: another test looks through this folder for the secret
    assert answer.status_code in (403, 404) and "secret" not in answer.text


@pytest.mark.parametrize("folder", ["/static/", "/en/static/", "/en/assets/"])
def test_static_folders_are_not_left(http_client, folder):
    for path in ("../main.py", "..%2fmain.py", "%2e%2e/%2e%2e/main.py", "....//main.py", "..\\main.py", "/etc/passwd"):
        answer = http_client.get(folder + path)
        assert answer.status_code in (403, 404) and "root:" not in answer.text and "import " not in answer.text, path


def test_no_handler_takes_a_path_that_was_not_uploaded(server, http_client, secret_file):
    marker = server.workspace.server_json
    for path in (secret_file, marker):
        given = {"path": str(path), "orig_name": "rows.jsonl", "meta": {"_type": "gradio.FileData"}}
        for answer in ask_with(http_client, given):
            assert answer.status_code == 500, answer.text
            assert "the secret" not in answer.text and '"token"' not in answer.text


def test_a_file_that_was_uploaded_is_taken(http_client):
    sent = http_client.post("/en/gradio_api/upload", files={"files": ("rows.jsonl", b'{"text": "hello"}')}).json()
    given = {"path": sent[0], "orig_name": "rows.jsonl", "meta": {"_type": "gradio.FileData"}}
    assert ask_with(http_client, given)[0].status_code == 200


def test_an_uploaded_page_is_fetched_as_a_file_and_runs_nothing(http_client):
    page = b"<script>document.title = 'ran'</script>"
    sent = http_client.post("/en/gradio_api/upload", files={"files": ("page.html", page, "text/html")}).json()
    answer = http_client.get(f"/en/gradio_api/file={sent[0]}")
    assert answer.status_code == 200 and answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_an_uploads_name_stays_in_its_folder(server, http_client):
    for name in ("../../../escaped.jsonl", "/tmp/escaped.jsonl", "..\\..\\escaped.jsonl", "a/../../escaped.jsonl"):
        sent = http_client.post("/en/gradio_api/upload", files={"files": (name, b"{}")}).json()
        assert str(sent[0]).startswith(str(server.workspace.cache / "gradio") + "/") and ".." not in sent[0].split("/")
    assert not list(server.workspace.root.parent.glob("**/escaped.jsonl")) or all(
        path.is_relative_to(server.workspace.cache / "gradio")
        for path in server.workspace.root.glob("**/escaped.jsonl")
    )


# -- the password ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_login_no_route_answers(locked, method, path):
    with httpx.Client(base_url=locked.url, timeout=20) as client:
        answer = client.request(method, path)
        assert answer.status_code == 401
        assert "luthier" not in answer.text and str(locked.workspace.root) not in answer.text
        if method == "GET":
            page = client.get(path, headers={"accept": "text/html"})
            assert page.status_code == 303 and page.headers["location"].startswith("/login")


def test_the_password_opens_and_logging_out_closes(locked):
    with log_in(locked) as client:
        cookie = next(iter(client.cookies.jar))
        assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "strict"
        assert client.get("/en/").status_code == 200 and client.get("/en/config").status_code == 404
        kept = dict(client.cookies)
        client.post("/logout")
        for stolen in ({}, kept):
            with httpx.Client(base_url=locked.url, cookies=stolen) as again:
                assert again.get("/api/health").status_code == 401


def test_a_made_up_session_opens_nothing(locked):
    with log_in(locked) as client:
        name = next(iter(client.cookies))
    for value in ("", "x", "true", "'", "../..", "é".encode().decode("latin-1"), "A" * 4000):
        answer = httpx.get(f"{locked.url}/api/health", headers={"cookie": f"{name}={value}".encode("latin-1")})
        assert answer.status_code == 401


def test_the_login_leads_to_no_other_site(locked):
    with httpx.Client(base_url=locked.url) as client:
        for wanted in ("//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "javascript:1"):
            answer = client.post("/login", data={"secret": PASSWORD, "next": wanted})
            assert answer.headers["location"] == "/", wanted
        answer = client.post("/login", data={"secret": PASSWORD, "next": "/en/runs?run=1"})
        assert answer.headers["location"] == "/en/runs?run=1"
        marked = client.get("/login", params={"next": '"><script>x</script>'}, headers={"cookie": ""})
        assert "<script>" not in marked.text


def test_another_site_logs_nobody_in_or_out(locked):
    with log_in(locked) as client:
        assert client.post("/login", data={"secret": PASSWORD}, headers={"origin": EVIL}).status_code == 403
        assert client.post("/logout", headers={"origin": EVIL}).status_code == 403
        assert client.get("/logout").status_code == 404
        assert client.get("/api/health").status_code == 200


def test_commands_get_in_by_their_token_and_not_by_another(locked):
    assert locked.do("stay") is None
    for shown in ("Bearer x", "Bearer", "Basic eDp4", PASSWORD):
        answer = httpx.post(f"{locked.url}/api/do/stay", json={}, headers={"authorization": shown})
        assert answer.status_code == 401, shown


def test_the_password_stands_nowhere(locked):
    assert PASSWORD not in locked.log()
    for path in locked.workspace.root.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


def guess(server: Server, number: int) -> httpx.Response:
    """A wrong password from a program that claims another address each time."""
    claimed = f"203.0.113.{number}"
    names = ("x-forwarded-for", "x-real-ip", "x-client-ip", "cf-connecting-ip", "true-client-ip")
    headers = {name: claimed for name in names} | {"forwarded": f"for={claimed}"}
    return httpx.post(f"{server.url}/login", data={"secret": f"guess {number}"}, headers=headers)


def test_a_restart_ends_every_session_and_guessing_is_slowed(locked):
    with log_in(locked) as client:
        locked.stop()
        locked.start()
        assert httpx.get(f"{locked.url}/api/health", cookies=dict(client.cookies)).status_code == 401
    with log_in(locked) as owner:
        owner.post("/logout")
        answers = [guess(locked, each) for each in range(8)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
        assert owner.post("/login", data={"secret": PASSWORD}).status_code == 303, "a browser that was in before"
        assert owner.get("/api/health").status_code == 200
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    began = time.monotonic()
    assert httpx.post(f"{locked.url}/login", data={"secret": PASSWORD}).status_code == 429, "not even the right one"
    assert time.monotonic() - began < 2


def test_no_handler_copies_a_file_that_a_page_names_anywhere_in_its_values(server, http_client, secret_file):
    """Every handler of every page, with a file's name in every value, in its event and nested in both."""
    page = http_client.get("/en/data").text
    config = json.JSONDecoder().raw_decode(page, page.index("gradio_config = ") + 16)[0]
    named = {"path": str(secret_file), "url": str(secret_file), "meta": {"_type": "gradio.FileData"}}
    event = {"do": "rows", "fields": {"x": named, "marks": named}, "field": named, "answer": named, "code": named}
    told, tried = [], 0
    for each in config["dependencies"]:
        for given in (named, [named], {"x": named}, json.dumps(named)):
            body = {"fn_index": each["id"], "data": [given] * len(each["inputs"]), "session_hash": "x"}
            answer = http_client.post("/en/gradio_api/run/predict", json=body | {"event_data": event})
            tried += 1
            if "the secret" in answer.text:
                told.append((each["id"], each["targets"]))
    assert told == [] and tried > 100
    for path in (server.workspace.cache / "gradio").rglob("*"):
        assert not path.is_file() or b"the secret" not in path.read_bytes(), path
