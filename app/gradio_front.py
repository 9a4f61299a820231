"""One line of Gradio's frontend, mended as it is served: a progress that is not shown is not written into the page.

Twice an event Gradio writes a loading status to every field that any event so far has had among its inputs or outputs,
and finds each of them by a walk through the whole page. A form of a hundred fields that looks every two seconds whether
something has changed keeps a core half busy so, and takes many seconds of it until it can be used. Nearly all those
statuses are of events whose progress is hidden, and change nothing.

Where an installed Gradio has another line there, its file is served as it is.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

WRITES_ALL = (
    "Object.entries(this.loading_stati.current).map(([e,t])=>this.update_state_cb(Number(e),{loading_status:t},!1))"
)
WRITES_SHOWN = WRITES_ALL.replace(".map(", ".filter(([,e])=>e.show_progress!==`hidden`).map(")


def mended_files() -> dict[str, str]:
    """What is served for Gradio's own: {"Blocks-D1GWYZdr.js": "import{...}"}; empty where nothing is to mend."""
    import gradio

    assets = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
    texts = {path.name: path.read_text("utf-8") for path in assets.glob("Blocks-*.js")}
    return {name: text.replace(WRITES_ALL, WRITES_SHOWN) for name, text in texts.items() if WRITES_ALL in text}


def serve_mended(host: "FastAPI", folder: str) -> None:
    """Answer for the mended files; to be called before Gradio is mounted, since the first route that fits answers."""
    from starlette.responses import Response

    for name, text in mended_files().items():
        kept = {"Cache-Control": "public, max-age=3600"}
        given = Response(text, media_type="text/javascript", headers=kept)
        host.add_api_route(f"{folder}/{name}", lambda given=given: given, response_model=None)
