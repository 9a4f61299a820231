"""Which scripts a page may run: those that came with it, told apart by their hashes, and the studio's own files.

    <script>window.gradio_config = {...};</script>   ->   script-src 'self' 'unsafe-eval' 'sha256-47DEQ...'

Gradio writes its settings as inline scripts into each page. Without this the policy would have to allow every inline
script, and with it whatever text slips into a page as HTML: `<img onerror=...>`, `<script>`. A page is held back until
it is whole (some 300 kB), because its header comes first.
"""

import base64
import gzip
import hashlib
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope, Send

_INLINE = re.compile(rb"<script((?:\s[^>]*)?)>(.*?)</script", re.DOTALL | re.IGNORECASE)
_SRC = re.compile(rb"\ssrc\s*=", re.IGNORECASE)
_POLICY = "Content-Security-Policy"
_POLICY_PARTS = (
    "default-src 'self'",
    # Gradio makes functions of the texts that its components are given.
    "script-src 'self' 'unsafe-eval'{hashes}",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",  # Gradio's pages set their own
    "form-action 'self'",
    "frame-src 'none'",
    "frame-ancestors 'none'",
)


def policy(page: bytes = b"") -> str:
    """The content security policy of a page; its inline scripts run, no others do."""
    marks = dict.fromkeys(_mark(body) for attributes, body in _INLINE.findall(page) if not _SRC.search(attributes))
    return "; ".join(_POLICY_PARTS).format(hashes="".join(f" '{mark}'" for mark in marks))


def without_encoding(scope: Scope) -> Scope:
    """The request without its wish for compression: `PageSend` reads what comes back."""
    return scope | {"headers": [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]}


class PageSend:
    """Sends an answer on; a page of HTML once it is whole, with its policy, compressed where the browser takes that."""

    def __init__(self, send: Send, *, compresses: bool) -> None:
        self._send = send
        self._compresses = compresses
        self._start: Message | None = None
        self._parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
        elif self._start is None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault(_POLICY, policy())
            await self._send(message)
        else:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._finish(b"".join(self._parts))

    async def _finish(self, page: bytes) -> None:
        assert self._start is not None
        headers = MutableHeaders(scope=self._start)
        headers.setdefault(_POLICY, policy(page))
        if self._compresses:
            page = gzip.compress(page, 5)
            headers["Content-Encoding"] = "gzip"
            headers.add_vary_header("Accept-Encoding")
        headers["Content-Length"] = str(len(page))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": page})


def _is_page(message: Message) -> bool:
    headers = Headers(raw=message["headers"])
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers


def _mark(script: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script).digest()).decode()
