"""The one gate before every route, Gradio's and ours: host, origin, access, headers.

A page on another site can make a browser send requests to 127.0.0.1, and DNS rebinding can make them look local. So a
request must name a host we answer for (else 421), one that changes something must come from our own pages (else 403),
and where the studio listens beyond this machine each request needs the cookie that the one-time address gives (else
401).
"""

import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.messages import say

ACCESS_COOKIE = "luthier_access"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether a bind address is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def loopback_hosts(port: int) -> frozenset[str]:
    """The Host headers that a browser on this machine sends."""
    names = ("127.0.0.1", "localhost", "[::1]")
    hosts = {f"{name}:{port}" for name in names}
    return frozenset(hosts | set(names)) if port == 80 else frozenset(hosts)


def new_access_token() -> str:
    return secrets.token_urlsafe(24)


class Guard:
    """ASGI middleware around the whole server.

    Args:
        app: what is guarded.
        hosts: allowed Host headers; empty where `access_token` guards a bind beyond this machine.
        access_token: if given, every request needs its cookie; `/?access=<token>` sets it.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], *, access_token: str | None = None) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._access_token = access_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._refusal(scope) or self._login(scope)
            await (answer or self._app)(scope, receive, _with_headers(send))
        else:
            # No page uses a WebSocket; an open one would need an origin check of its own.
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if self._hosts and host not in self._hosts:
            return PlainTextResponse(say("errors.server.foreign_host"), 421)
        if scope["method"] not in _SAFE and not _is_own(headers.get("origin"), host):
            return PlainTextResponse(say("errors.server.foreign_origin"), 403)
        return None

    def _login(self, scope: Scope) -> PlainTextResponse | RedirectResponse | None:
        if self._access_token is None or _same(_cookie(scope), self._access_token):
            return None
        offered = parse_qs(scope["query_string"].decode("latin-1")).get("access", [""])[0]
        if scope["method"] == "GET" and _same(offered, self._access_token):
            answer = RedirectResponse(quote(scope["path"]), 303)
            answer.set_cookie(ACCESS_COOKIE, self._access_token, httponly=True, samesite="strict")
            return answer
        return PlainTextResponse(say("errors.server.no_access"), 401)


def _is_own(origin: str | None, host: str) -> bool:
    """Whether a changing request may come from `origin`; programs send none, browsers always do across origins."""
    if origin is None:
        return True
    parts = urlsplit(origin.lower())
    return parts.scheme in ("http", "https") and parts.netloc == host


def _cookie(scope: Scope) -> str:
    try:
        jar = SimpleCookie(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return ""
    return jar[ACCESS_COOKIE].value if ACCESS_COOKIE in jar else ""


def _same(offered: str, expected: str) -> bool:
    return hmac.compare_digest(offered.encode(), expected.encode())


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
