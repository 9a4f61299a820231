"""The web server: our routes and one Gradio app per language behind one guard, until asked to stop.

    app.main.serve(workspace, Studio(desk, registry, token), host="127.0.0.1", port=7860, on_listening=...)

Starting the supervisor, holding the workspace's lock and writing server.json are the caller's.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.access import Access
from app.gradio_apps import Languages
from app.guard import Guard, hosts_of, is_loopback
from app.i18n import COOKIE, PAGES, choose_language, page_path
from app.login import Login
from app.quick_gradio import load_gradio
from app.uploads import Limited, sweep, upload_limit
from studio.errors import Conflict, RefusedInput
from studio.messages import LANGUAGES
from studio.paths import Workspace

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from app.api import Studio

DEFAULT_PORT = 7860
_PORTS_TRIED = 20
_SWEEP_SECONDS = 300.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to listen, and who may come."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    access: Access | None = None
    """Who may log in; needed for any host beyond this machine."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names that browsers may call the studio by, `box.lan`."""
    upload_bytes: int | None = None
    """The largest file that a page takes; None: what the settings page says."""


def serve(
    workspace: Workspace,
    studio: "Studio",
    address: Address | None = None,
    *,
    on_listening: Callable[[str], None] = lambda url: None,
    should_leave: Callable[[], bool] | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or `should_leave`; returns after a clean shutdown.

    Args:
        on_listening: called once with the address (`http://127.0.0.1:7860`) when the socket accepts requests.
        should_leave: asked every second; True ends the server.

    Raises:
        RefusedInput: a host beyond this machine where nobody has to log in.
        Conflict: no port is free.
    """
    address = address or Address()
    if not is_loopback(address.host) and address.access is None:
        raise RefusedInput("server.not_loopback", host=address.host)
    listener = bind(address.host, address.port)
    prepare_environment(workspace)
    # Importing Gradio and building pages makes a great many objects that stay; looking through them for garbage again
    # and again takes a sixth of the start. Once the socket listens the collector works as ever, on what is new.
    gc.disable()
    load_gradio()
    import uvicorn

    port = listener.getsockname()[1]
    shown = f"[{address.host}]" if ":" in address.host else address.host
    app = build_app(workspace, studio, address, port=port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
        # Any program of this machine could name another address for itself, and so guess passwords without a limit.
        proxy_headers=False,
        ws="none",
    )
    server = _server_class()(config)

    def ready() -> None:
        gc.freeze()
        gc.enable()
        on_listening(f"http://{shown}:{port}")

    server.when_ready = ready
    if should_leave is not None:
        threading.Thread(target=_leave_when, args=(server, should_leave), name="leave", daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        gc.enable()


def prepare_environment(workspace: Workspace) -> None:
    """What Gradio reads when it is imported: no calls home, its temporary files in the workspace."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.cache / "gradio")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on `port`, or on the next free one.

    Raises:
        Conflict: none of the next twenty is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for tried in range(port, min(port + _PORTS_TRIED, 65536)) if port else (0,):
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere this option would let two servers share one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), tried))
            listener.listen(128)
        except OSError:
            listener.close()
            continue
        return listener
    raise Conflict("server.no_port", first=port, last=port + _PORTS_TRIED - 1)


def build_app(workspace: Workspace, studio: "Studio", address: Address, *, port: int) -> "ASGIApp":
    """The whole server as one ASGI application."""
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import RedirectResponse, Response

    from app.api import router

    def most() -> int:
        return address.upload_bytes or upload_limit(studio.registry)

    languages = Languages(workspace, studio, has_login=address.access is not None, upload_bytes=most)
    uploads = workspace.cache / "gradio"

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        sweeping = asyncio.create_task(_sweep_now_and_then(uploads, studio))
        await languages.start()
        yield
        sweeping.cancel()
        await languages.stop()

    ours = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    ours.include_router(router(studio))

    @ours.get("/")
    async def root(request: Request) -> Response:
        language = choose_language(request.cookies.get(COOKIE), request.headers.get("accept-language"))
        return RedirectResponse(page_path(language, "home"), 307)

    async def dispatch(scope: "Scope", receive: "Receive", send: "Send") -> None:
        language = scope["path"].split("/")[1] if scope["type"] == "http" else None
        if scope["type"] == "http" and scope["path"].endswith("/data"):  # the one page that takes files
            languages.tell_upload_limit()
        if language not in LANGUAGES:
            await ours(scope, receive, send)
        elif (page := _without_slash(scope["path"])) is not None:
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"{page}?{query}" if query else page, 307)(scope, receive, send)
        else:
            await (await languages.app(language))(
                _uncompressed(scope) if address.access is None else scope, receive, send
            )

    login = Login(address.access, port=port) if address.access else None
    limited = Limited(dispatch, uploads, upload_bytes=most)
    return Guard(limited, hosts_of(address.host, port, address.allowed_hosts), login=login, token=studio.token)


async def _sweep_now_and_then(uploads: Path, studio: "Studio") -> None:
    """Give temporary files their end: at the start, and then every five minutes."""
    is_starting = True
    while True:
        try:
            await asyncio.to_thread(sweep, uploads, in_use=_waiting_sources(studio), is_starting=is_starting)
        except OSError:
            _log.exception("sweeping %s failed; tried again later", uploads)
        is_starting = False
        await asyncio.sleep(_SWEEP_SECONDS)


def _waiting_sources(studio: "Studio") -> list[Path]:
    """Files that jobs still have to read."""
    from studio.db import jobs
    from studio.jobs.lifecycle import ENDED

    with studio.registry.session() as session:
        found = [job for job in jobs.queue(session) + jobs.live(session) if job.state not in ENDED]
        return [Path(source) for job in found if (source := job.values.get("source"))]


def _uncompressed(scope: "Scope") -> "Scope":
    """The request without its wish for compression: to this machine itself, compressing costs more than it saves."""
    return scope | {"headers": [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]}


def _without_slash(path: str) -> str | None:
    """`/en/runs/` -> `/en/runs`: Gradio answers a page only without the slash. None where nothing is to be mended."""
    parts = path.strip("/").split("/")
    return f"/{parts[0]}/{parts[1]}" if path.endswith("/") and len(parts) == 2 and parts[1] in PAGES else None


def _leave_when(server, should_leave: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not server.should_exit:
        pause.wait(1.0)
        if should_leave():
            server.should_exit = True


def _server_class() -> type:
    """uvicorn's server with two changes; made here because importing uvicorn costs a start of the command line."""
    import uvicorn

    class Server(uvicorn.Server):
        when_ready: Callable[[], None]

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                self.when_ready()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """As uvicorn does, but the signal is not raised again afterwards: the caller has things to close."""
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            kept = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in kept.items():
                    signal.signal(number, handler)

    return Server
