"""How much a request may bring, and the end of every temporary file.

    Limited(app, folder, upload_bytes=limit)             ASGI: larger ones are refused before anything is kept
    sweep(folder, in_use={...}, is_starting=True)        what was broken off, and what nobody came back for

Gradio writes an upload to `<folder>/tmp...` while it comes and moves it to `<folder>/<hash>/<name>` when it is whole.
A whole one belongs to the page that holds it, then to the import job, which deletes it when it succeeds.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.gradio_routes import is_upload
from app.i18n import bytes_text
from studio.db.engine import Reader
from studio.db.preferences import preference
from studio.desk_settings import UPLOAD_LIMIT
from studio.messages import say

UPLOAD_BYTES = 20_000_000_000
OTHER_BYTES = 64_000_000
"""Of any other request: those are held in memory. Marks and prompts that a person brings come this way."""
_KEPT_FREE_BYTES = 1_000_000_000
_KEPT_SECONDS = 86_400.0
_BROKEN_OFF_SECONDS = 900.0


def upload_limit(registry: Reader) -> int:
    """Bytes of the largest upload as a person set it on the settings page, else what is standard."""
    with registry.session() as session:
        kept = preference(session, UPLOAD_LIMIT)
    return int(kept["bytes"]) if kept else UPLOAD_BYTES


class Limited:
    """Refuses what is too large (413) or would fill the disk (507), whether or not its size was told beforehand."""

    def __init__(self, app: ASGIApp, folder: Path, *, upload_bytes: Callable[[], int] = lambda: UPLOAD_BYTES) -> None:
        self._app = app
        self._folder = folder
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        uploads = is_upload(scope["method"], scope["path"])
        limit = self._upload_bytes() if uploads else OTHER_BYTES
        refused = self._refused_by_its_size(Headers(scope=scope).get("content-length"), limit, uploads)
        if refused is not None:
            await refused(scope, receive, send)
            return
        counted = _Counted(receive, send, limit)
        with suppress(ClientDisconnect):
            await self._app(scope, counted.receive, counted.send)
        if counted.is_too_large:
            await too_large(limit)(scope, receive, send)

    def _refused_by_its_size(self, told: str | None, limit: int, uploads: bool) -> PlainTextResponse | None:
        size = int(told) if told and told.isdecimal() and len(told) < 19 else 0
        if size > limit:
            return too_large(limit)
        if uploads and size > shutil.disk_usage(self._folder.parent).free - _KEPT_FREE_BYTES:
            free = bytes_text(shutil.disk_usage(self._folder.parent).free)
            return _refusal("login.upload.no_room", 507, size=bytes_text(size), free=free)
        return None


class _Counted:
    """A request's body, counted; past the limit the app behind sees a client that left, and is not heard any more."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._left = limit
        self._has_begun = False
        self.is_too_large = False

    async def receive(self) -> Message:
        if self.is_too_large:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0 and not self._has_begun:
            self.is_too_large = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        self._has_begun = True
        if not self.is_too_large:
            await self._send(message)


def too_large(limit: int) -> PlainTextResponse:
    return _refusal("login.upload.too_large", 413, limit=bytes_text(limit))


def _refusal(key: str, status: int, **values: object) -> PlainTextResponse:
    # The body that still comes is not read, so the connection ends here.
    words = " ".join(say(key, language, **values) for language in ("en", "zh"))
    return PlainTextResponse(words, status, headers={"Connection": "close"})


def sweep(folder: Path, *, in_use: Iterable[Path] = (), is_starting: bool = False, now: float | None = None) -> int:
    """Delete broken-off uploads, and whole ones that were left a day ago and belong to no job; returns how many.

    Args:
        in_use: sources of jobs that wait or run.
        is_starting: nobody can be uploading yet, so whatever is not whole is broken off.
    """
    now = time.time() if now is None else now
    kept = {path.resolve() for path in in_use}
    broken_off = 0.0 if is_starting else _BROKEN_OFF_SECONDS
    ended = [path for path in folder.glob("tmp*") if path.is_file() and now - _touched_at(path) >= broken_off]
    # A file that has another name elsewhere is an export: it costs nothing here.
    ended += [
        path
        for path in folder.glob("*/*")
        if path.is_file()
        and now - _touched_at(path) > _KEPT_SECONDS
        and path.resolve() not in kept
        and path.lstat().st_nlink == 1
    ]
    for path in ended:
        path.unlink(missing_ok=True)
    for each in list(folder.glob("*/")):
        if not each.is_symlink() and not any(each.iterdir()):
            each.rmdir()
    return len(ended)


def _touched_at(path: Path) -> float:
    stat = path.lstat()
    return max(stat.st_mtime, stat.st_ctime)
