"""The gate before every route: who is answered, who is not, and with which headers."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from app.guard import Guard, hosts_of, is_loopback

OURS = "http://127.0.0.1:7860"


def ask(
    guard: Guard, method: str = "GET", path: str = "/", *, host: str = "127.0.0.1:7860", **headers: str
) -> httpx.Response:
    async def asking() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=OURS) as client:
            return await client.request(method, path, headers={"host": host} | headers)

    return asyncio.run(asking())


@pytest.fixture
def guard() -> Guard:
    return Guard(PlainTextResponse("inside"), hosts_of("127.0.0.1", 7860))


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LocalHost:7860"])
def test_our_own_hosts_are_answered(guard, host):
    assert ask(guard, host=host).text == "inside"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1", "127.0.0.1:80", ""])
def test_a_foreign_host_is_misdirected(guard, host):
    assert ask(guard, host=host).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "ftp://127.0.0.1:7860"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_foreign_origin_changes_nothing(guard, method, origin):
    assert ask(guard, method, origin=origin).status_code == 403


def test_our_origin_and_programs_without_one_may_change(guard):
    assert ask(guard, "POST", origin=OURS).status_code == 200
    assert ask(guard, "POST").status_code == 200


def test_every_answer_carries_the_headers(guard):
    for answer in (ask(guard), ask(guard, host="evil.example")):
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_a_websocket_is_closed(guard):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(guard({"type": "websocket", "path": "/", "headers": []}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("box.lan", False)],
)
def test_which_binds_stay_on_this_machine(host, expected):
    assert is_loopback(host) is expected


def test_beyond_this_machine_names_are_listed_and_addresses_are_known():
    hosts = hosts_of("0.0.0.0", 7860, ["box.lan", "studio.example:8080"])
    known = ("box.lan:7860", "box.lan", "studio.example:8080", "192.168.1.7:9000", "[fe80::1]:7860", "localhost:1")
    assert [host for host in known if not hosts.knows(host)] == []
    strange = ("evil.example:7860", "studio.example:81", "box.lan.evil.example", "1.2.3.4.evil.example", "")
    assert [host for host in strange if hosts.knows(host)] == []
