"""One Gradio app a language, with what Gradio must be told or kept from: `Languages`, `mount_language`.

Each language's pages are built when that language is first asked for; the last one used is built before the socket
opens.
"""

import asyncio
import contextlib
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from app.gradio_front import serve_mended
from app.i18n import PAGES
from app.uploads import UPLOAD_BYTES
from studio.messages import LANGUAGES
from studio.paths import Workspace

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

    from app.api import Studio

SLEEP_WHEN_FREE = 0.05
"""Seconds between two looks of Gradio's idle queue; its own 0.001 burns 4.5 % of a core. It delays clicks so."""
Built = TypeVar("Built")


class Languages:
    """One Gradio app per language, built when first asked for and kept until the server stops."""

    def __init__(
        self, workspace: Workspace, studio: "Studio", *, has_login: bool, upload_bytes: Callable[[], int]
    ) -> None:
        self._studio = studio
        self._has_login = has_login
        self._upload_bytes = upload_bytes
        self._last_used = workspace.cache / "language"
        self._apps: dict[str, FastAPI] = {}
        self._lock = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task] = []

    async def start(self) -> None:
        """Build the language that was used last."""
        try:
            wanted = self._last_used.read_text("utf-8").strip()
        except OSError:
            wanted = ""
        await self.app(wanted if wanted in LANGUAGES else LANGUAGES[0])

    async def stop(self) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def tell_upload_limit(self) -> None:
        """Put the limit as it is now into pages that are opened next: a browser refuses before it sends anything."""
        limit = self._upload_bytes()
        for app in self._apps.values():
            blocks = app.state.blocks
            blocks.max_file_size = blocks.config["max_file_size"] = limit

    async def app(self, language: str) -> "FastAPI":
        """The app of one language, building it if need be."""
        if language not in self._apps:
            # One at a time: Gradio keeps the Blocks under construction in a global.
            async with self._lock:
                if language not in self._apps:
                    self._apps[language] = await self._build(language)
        return self._apps[language]

    async def _build(self, language: str) -> "FastAPI":
        mount = partial(mount_language, has_login=self._has_login, upload_bytes=self._upload_bytes())
        app = await asyncio.to_thread(in_a_loop, mount, language, self._studio)
        ready = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._keep(app, ready)))
        await ready.wait()
        with contextlib.suppress(OSError):  # only speeds up the next start
            self._last_used.write_text(language, "utf-8")
        return app

    async def _keep(self, app: "FastAPI", ready: asyncio.Event) -> None:
        """Hold the app's life span open; entered and left in this one task."""
        try:
            async with app.router.lifespan_context(app):
                ready.set()
                await self._stopping.wait()
        finally:
            ready.set()


def in_a_loop(build: Callable[..., Built], *arguments: object) -> Built:
    """Call `build` with an event loop running: where Gradio finds none it makes one, and never closes it."""

    async def building() -> Built:
        return build(*arguments)

    return asyncio.run(building())


def mount_language(
    language: str, studio: "Studio", *, has_login: bool = False, upload_bytes: int = UPLOAD_BYTES
) -> "FastAPI":
    """A FastAPI app with one language's pages at `/<language>`."""
    import gradio as gr
    from fastapi import FastAPI

    from app.theme import head, theme

    blocks = build_pages(language, studio, has_login=has_login)
    host = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    serve_mended(host, f"/{language}/assets")
    with warnings.catch_warnings():
        # Gradio warns that several pages cannot be rendered on the server; nobody asked it to.
        warnings.filterwarnings("ignore", message="SSR mode is not supported with multi-page apps")
        gr.mount_gradio_app(
            host,
            blocks,
            f"/{language}",
            app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
            footer_links=[],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            mcp_server=False,
            max_file_size=upload_bytes,  # told to the browser, which refuses before it sends anything
            theme=theme(),
            head=head(),
        )
    _quieten(blocks)
    # Gradio looks whether a file that a page names was uploaded only once its app was launched; ours is mounted, and
    # without this any file of this machine could be named.
    blocks.has_launched = True
    _fetch_nothing()
    host.state.blocks = blocks
    return host


def build_pages(language: str, studio: "Studio", *, has_login: bool = False) -> "gr.Blocks":
    """All pages of one language, each at its own address; no handler is a public endpoint."""
    import gradio as gr

    from app.context import Context
    from app.pages.shell import top_bar

    context = Context(language, studio.desk, studio.registry, has_login=has_login)
    blocks = gr.Blocks(title="Luthier", analytics_enabled=False, fill_width=True)
    for page in PAGES[1:]:
        blocks.route(context.say(f"common.page.{page}"), page)
    # One `with` for all pages: each time one ends, Gradio makes its whole app anew, 0.2 s a page.
    with blocks:
        for page in PAGES:
            blocks.current_page = "" if page == "home" else page
            top_bar(context, page)
            import_module(f"app.pages.{page}").build(context)
    for function in blocks.fns.values():
        # A queued call opens a connection while it lasts, so what happens by itself does not queue. What a person asks
        # for does: Gradio shows an error of an unqueued call nowhere.
        function.queue = function.queue and not {event for _, event in function.targets} <= {"tick", "load"}
        function.api_visibility = "private"
        function.concurrency_limit = None
    return blocks


def _quieten(blocks: "gr.Blocks") -> None:
    queue = blocks._queue
    if hasattr(queue, "sleep_when_free"):  # a private name; a test tells when it goes
        queue.sleep_when_free = SLEEP_WHEN_FREE
        queue.progress_update_sleep_when_free = max(SLEEP_WHEN_FREE, queue.progress_update_sleep_when_free)


def _fetch_nothing() -> None:
    """Where a page should give a file, Gradio also takes an address and fetches it; the studio fetches for nobody."""
    from gradio import processing_utils

    async def refuse(url: str, cache_dir: str) -> str:
        raise ValueError("an address is no file")

    processing_utils.async_ssrf_protected_download = refuse  # no public way; tests/security tells when it moves
