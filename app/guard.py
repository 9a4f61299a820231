"""The one gate before every route, Gradio's and ours: host, origin, login, which routes exist, headers.

A page on another site can make a browser send requests to 127.0.0.1, and DNS rebinding can make them look local. So a
request must name a host that we answer for (else 421), must not come from another site's page (else 403), and where a
login is asked for needs a session, or the token that commands show (else 401, or the login page).
"""

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.gradio_routes import is_answered
from app.i18n import PAGES
from app.login import Login
from app.page_policy import PageSend, without_encoding
from studio.messages import LANGUAGES, say

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
_HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), serial=(), payment=()",
}


def is_loopback(host: str) -> bool:
    """Whether a bind address is reachable from this machine alone."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


@dataclass(frozen=True)
class Hosts:
    """The Host headers that are answered."""

    exact: frozenset[str] = frozenset()
    """With their port, as a browser writes them."""
    names: frozenset[str] = frozenset()
    """With any port: a container's or a tunnel's differs from ours."""
    are_addresses_known: bool = False
    """Any number address: behind one there is no name that an attacker's name server could turn towards us."""

    def knows(self, header: str) -> bool:
        header = header.lower()
        name = header if header.endswith("]") else header.rpartition(":")[0] or header
        return header in self.exact or name in self.names or (self.are_addresses_known and _address(name) is not None)


def hosts_of(bound: str, port: int, allowed: Iterable[str] = ()) -> Hosts:
    """The hosts of a server bound to `bound`; `allowed` are further names, `box.lan` or `box.lan:8080`."""
    own = ("127.0.0.1", "localhost", "[::1]")
    exact = {f"{name}:{port}" for name in own} | (set(own) if port == 80 else set())
    given = {each.strip().lower() for each in allowed if each.strip()}
    exact |= given
    if is_loopback(bound):
        return Hosts(frozenset(exact), frozenset(given))
    here = socket.gethostname().lower()
    return Hosts(frozenset(exact), frozenset({*own, here, f"{here}.local", bound.lower(), *given}), True)


class Guard:
    """ASGI middleware around the whole server.

    Args:
        app: what is guarded.
        hosts: allowed Host headers.
        login: if given, every request needs its session, or `token`.
        token: what commands show as `Authorization: Bearer <token>`; no browser sends that by itself.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, *, login: Login | None = None, token: str = "") -> None:
        self._app = app
        self._hosts = hosts
        self._login = login
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            request = Request(scope, receive)
            answer = self._refusal(request) or await self._at_the_door(request) or _no_such_route(scope)
            compresses = self._login is not None and "gzip" in request.headers.get("accept-encoding", "")
            sending = PageSend(_with_headers(send, scope["path"]), compresses=compresses)
            await (answer or self._app)(without_encoding(scope) if _is_page(scope) else scope, receive, sending)
        else:
            # No page uses a WebSocket; an open one would need an origin check of its own.
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._hosts.knows(hosts[0]):
            return PlainTextResponse(say("errors.server.foreign_host"), 421)
        if not _is_own(headers.get("origin"), hosts[0].lower()) or _is_foreign_fetch(request.method, headers):
            return PlainTextResponse(say("errors.server.foreign_origin"), 403)
        return None

    async def _at_the_door(self, request: Request) -> Response | None:
        if self._login is None:
            return None
        answer = await self._login.answer(request)
        if answer is not None or self._login.is_in(request) or self._is_command(request.headers.get("authorization")):
            return answer
        return self._login.turned_away(request)

    def _is_command(self, header: str | None) -> bool:
        expected = f"Bearer {self._token}"
        return bool(self._token) and hmac.compare_digest((header or "").encode(), expected.encode())


def _is_own(origin: str | None, host: str) -> bool:
    """Whether a request may come from `origin`; programs send none, browsers always do where they change something."""
    if origin is None:
        return True
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == host


def _is_foreign_fetch(method: str, headers: Headers) -> bool:
    """Whether the browser says that another site's page asks; following a link from there to a page is all right."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest", "document") == "document"
    return method not in _SAFE or not is_link


def _no_such_route(scope: Scope) -> Response | None:
    path = scope["path"]
    if path.split("/")[1:2] and path.split("/")[1] in LANGUAGES and not is_answered(scope["method"], path):
        return PlainTextResponse("", 404)
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _is_page(scope: Scope) -> bool:
    parts = scope["path"].strip("/").split("/")
    return parts[0] in LANGUAGES and (len(parts) == 1 or parts[1] in PAGES)


def _with_headers(send: Send, path: str) -> Send:
    is_file = "/gradio_api/file=" in path

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name in [each for each in headers if each.lower().startswith("access-control-")]:
                del headers[name]  # Gradio lets pages of other ports and hosts read; nobody else has to
            for name, value in _HEADERS.items():
                headers[name] = value
            if is_file:  # a person's files are fetched, never shown or run, whatever they say they are
                headers["Content-Type"] = "application/octet-stream"
                headers["Content-Disposition"] = headers.get("Content-Disposition", "attachment")
                headers["Content-Security-Policy"] = _FILE_POLICY
        await send(message)

    return sending
