"""Which of Gradio's routes are answered: those that the pages use. Everything else of it does not exist here.

Gradio brings a few dozen more, some of which fetch addresses, run an editor, or describe every handler (`/config`,
`/gradio_api/info`, `/gradio_api/proxy=`, `/gradio_api/vibe-edit`). A list of what is allowed also holds for what the
next version adds.
"""

from app.i18n import PAGES

_GET = frozenset({"GET", "HEAD"})
_EXACT = {
    "theme.css": _GET,
    "manifest.json": _GET,
    "favicon.ico": _GET,
    "gradio_api/app_id": _GET,
    "gradio_api/startup-events": _GET,
    "gradio_api/queue/data": _GET,
    "gradio_api/upload_progress": _GET,
    "gradio_api/queue/join": frozenset({"POST"}),
    "gradio_api/run/predict": frozenset({"POST"}),
    "gradio_api/cancel": frozenset({"POST"}),
    "gradio_api/reset": frozenset({"POST"}),
    "gradio_api/upload": frozenset({"POST"}),
} | {"" if page == "home" else page: _GET for page in PAGES}
_BELOW = ("assets/", "static/", "gradio_api/file=")


def is_answered(method: str, path: str) -> bool:
    """Whether `GET`, `/en/gradio_api/queue/data` is one of the routes that the pages need."""
    _, _, rest = path.lstrip("/").partition("/")
    if rest.removesuffix("/") in PAGES:  # with a slash at its end it is sent on to the one without
        return method in _GET
    if rest in _EXACT:
        return method in _EXACT[rest]
    if rest.startswith("gradio_api/file="):
        # An address is nothing to fetch for anybody, and no file of ours lies behind a link name of two dots.
        target = rest.removeprefix("gradio_api/file=")
        return method in _GET and "://" not in target and ":/" not in target[:12] and ".." not in target.split("/")
    return method in _GET and rest.startswith(_BELOW)


def is_upload(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("/gradio_api/upload")
