"""The gate before every route: who is answered, who is not, and with which headers."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from app.guard import Guard, is_loopback, loopback_hosts

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
    return Guard(PlainTextResponse("inside"), loopback_hosts(7860))


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


def test_beyond_this_machine_the_cookie_is_needed():
    guard = Guard(PlainTextResponse("inside"), frozenset(), access_token="secret")
    assert ask(guard, host="box.lan:7860").status_code == 401
    assert ask(guard, path="/?access=wrong", host="box.lan:7860").status_code == 401
    login = ask(guard, path="/?access=secret", host="box.lan:7860")
    assert login.status_code == 303 and login.headers["location"] == "/"
    cookie = login.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert ask(guard, host="box.lan:7860", cookie=cookie.split(";")[0]).text == "inside"
    assert ask(guard, "POST", host="box.lan:7860", cookie=cookie.split(";")[0], origin=OURS).status_code == 403


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
