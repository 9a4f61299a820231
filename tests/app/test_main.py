"""The server as a browser and a command meet it."""

import socket
import warnings

import httpx
import pytest

from app.gradio_apps import build_pages, in_a_loop
from app.i18n import PAGES
from app.main import Address, bind, serve
from app.theme import static_url
from studio.errors import Conflict, RefusedInput
from studio.messages import LANGUAGES
from studio.paths import workspace
from tests.app.conftest import opened
from tests.app.seeding import fill


@pytest.fixture(scope="module", params=LANGUAGES)
def blocks(request, tmp_path_factory):
    """All pages of a language; tests look at them alone."""
    place = workspace(tmp_path_factory.mktemp("built") / "luthier").make()
    for filled in opened(place, fill(place)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield in_a_loop(build_pages, request.param, filled.studio)


def test_every_page_is_built_in_both_languages(blocks):
    assert {page for page, _, _ in blocks.pages} == {"" if page == "home" else page for page in PAGES}
    for page in blocks.pages:
        assert [block for block in blocks.blocks.values() if block.page == page[0]], page


def test_no_page_holds_a_connection(blocks):
    assert blocks.get_config_file()["connect_heartbeat"] is False
    for function in blocks.fns.values():
        assert function.api_visibility == "private" and not function.types_generator, function.name
        if {event for _, event in function.targets} & {"tick", "load"}:
            assert not function.queue, function.name


def test_ids_are_unique_on_a_page_and_named_after_it(blocks):
    seen = set()
    for block in blocks.blocks.values():
        if getattr(block, "elem_id", None):
            assert (block.page, block.elem_id) not in seen
            assert block.elem_id.startswith((block.page or "home") + "-"), block.elem_id
            seen.add((block.page, block.elem_id))


def test_the_idle_queue_is_slowed_down(filled):
    from app.gradio_apps import SLEEP_WHEN_FREE, mount_language

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        app = in_a_loop(mount_language, "en", filled.studio)
    gradio_app = next(route.app for route in app.routes if route.path == "/en")
    assert gradio_app.get_blocks()._queue.sleep_when_free == SLEEP_WHEN_FREE


def test_the_server_answers_pages_redirects_and_guards(served):
    filled, url = served
    with httpx.Client(base_url=url) as client:
        assert client.get("/").headers["location"] == "/en/"
        assert client.get("/", headers={"accept-language": "zh-CN,en;q=0.5"}).headers["location"] == "/zh/"
        assert client.get("/", cookies={"luthier_language": "zh"}).headers["location"] == "/zh/"
        assert client.get("/en/runs/?run=3").headers["location"] == "/en/runs?run=3"
        for page in PAGES:
            answer = client.get(f"/en/{'' if page == 'home' else page}")
            assert answer.status_code == 200 and answer.headers["x-frame-options"] == "DENY", page
        for path in ("/docs", "/openapi.json", "/redoc", "/en/docs", "/en/openapi.json", "/static/../main.py"):
            assert client.get(path).status_code == 404, path
        for path in ("/en/", "/en/config", "/en/gradio_api/upload", "/api/series", "/static/chart.js"):
            assert client.get(path, headers={"host": "evil.example"}).status_code == 421, path
        upload = client.post("/en/gradio_api/upload", headers={"origin": "http://evil.example"})
        assert upload.status_code == 403
        assert client.get(static_url("chart.js")).headers["cache-control"].endswith("immutable")
        assert client.get("/api/health").json()["studio"] == "luthier"
        chart = client.get(f"/api/series?runs={filled.ids['ended']}&metric=loss").json()
        assert len(chart["panels"]["loss"]["x"]) == 300
        assert client.get("/api/series?runs=x").status_code == 422


def test_verbs_need_the_token_and_tell_refusals(served):
    filled, url = served
    run = filled.ids["running"]
    with httpx.Client(base_url=url, headers={"authorization": "Bearer token"}) as client:
        refused = client.post("/api/do/save_now", json={"job_id": run}, headers={"authorization": "Bearer no"})
        assert refused.status_code == 401
        assert client.post("/api/do/save_now", json={"job_id": run}).json() == {"result": None}
        error = client.post("/api/do/save_now", json={"job_id": 999})
        assert error.status_code == 422
        assert error.json()["error"] == {
            "kind": "UnknownName",
            "code": "job.unknown",
            "values": {"job": 999},
            "faults": [],
        }
        assert client.post("/api/do/leave_if_idle", json={}).status_code == 404
        assert client.post("/api/do/stop", json={"wrong": 1}).json()["error"]["code"] == "server.arguments"
        assert client.post("/api/do/stop", content=b"[").json()["error"]["code"] == "server.arguments"


def test_the_next_free_port_is_taken():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        listener = bind("127.0.0.1", taken)
        assert taken < listener.getsockname()[1] < taken + 20
        listener.close()


def test_no_port_at_all_is_one_sentence():
    with pytest.raises(Conflict, match="Choose another one"):
        bind("192.0.2.1", 65535)  # an address that is not ours: no port of it can be had


def test_a_bind_beyond_this_machine_needs_an_access_code(filled):
    with pytest.raises(RefusedInput, match=r"0\.0\.0\.0"):
        serve(filled.workspace, filled.studio, Address(host="0.0.0.0"))
