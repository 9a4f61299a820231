"""Lines of Gradio's frontend, mended as they are served.

- A progress that is not shown is not written into the page. Twice an event Gradio writes a loading status to every
  field that any event so far has had among its inputs or outputs, and finds each of them by a walk through the whole
  page. A form of a hundred fields that looks every two seconds whether something has changed keeps a core half busy so,
  and takes many seconds of it until it can be used. Nearly all those statuses are of events whose progress is hidden,
  and change nothing.
- A press whose answer is still to come keeps its stream. The server closes the stream of answers with the last of them;
  a press that comes between this and the browser hearing of it believes the stream open, its answer is never fetched,
  and Gradio drops every later press of the same button. Where answers are awaited, the stream is opened again.

Where an installed Gradio has another line there, its file is served as it is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


@dataclass(frozen=True)
class Mend:
    """What stands in Gradio's script, and what is served in its place; `files` names where, as a glob pattern."""

    files: str
    found: str
    served: str


_WRITES_ALL = (
    "Object.entries(this.loading_stati.current).map(([e,t])=>this.update_state_cb(Number(e),{loading_status:t},!1))"
)
_CLOSES = "if(s.msg===`close_stream`){wt(r,o.abort_controller);return}"
_AWAITS = "E in g&&(g[E].forEach(e=>t(e)),delete g[E]),v[E]=t,y.add(E),h.open||await this.open_stream()"

MENDS = (
    Mend("Blocks-*.js", _WRITES_ALL, _WRITES_ALL.replace(".map(", ".filter(([,e])=>e.show_progress!==`hidden`).map(")),
    Mend("index-*.js", _CLOSES, _CLOSES.replace("return", "t.size&&o.open_stream();return")),
    # An answer that came before it was known what it answers is not awaited any more.
    Mend(
        "index-*.js",
        _AWAITS,
        "y.add(E),E in g&&(g[E].forEach(e=>{e.msg===`process_completed`&&y.delete(E);t(e)}),delete g[E]),"
        "v[E]=t,h.open||await this.open_stream()",
    ),
)


def mended_files() -> dict[str, str]:
    """What is served for Gradio's own: {"Blocks-D1GWYZdr.js": "import{...}"}; empty where nothing is to mend."""
    import gradio

    assets = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
    texts: dict[str, str] = {}
    for mend in MENDS:
        for path in assets.glob(mend.files):
            text = texts.get(path.name) or path.read_text("utf-8")
            if mend.found in text:
                texts[path.name] = text.replace(mend.found, mend.served)
    return texts


def serve_mended(host: "FastAPI", folder: str) -> None:
    """Answer for the mended files; to be called before Gradio is mounted, since the first route that fits answers."""
    from starlette.responses import Response

    for name, text in mended_files().items():
        kept = {"Cache-Control": "public, max-age=3600"}
        given = Response(text, media_type="text/javascript", headers=kept)
        host.add_api_route(f"{folder}/{name}", lambda given=given: given, response_model=None)
