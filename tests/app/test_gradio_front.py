"""Some lines of Gradio's frontend are served mended."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.gradio_front import MENDS, Mend, mended_files, serve_mended


@pytest.mark.parametrize("mend", MENDS, ids=lambda mend: mend.found[:20])
def test_the_installed_gradio_has_the_line_that_is_mended(mend: Mend) -> None:
    """Where none has it, Gradio may have mended it itself: look, then `app.gradio_front` changes or goes."""
    (text,) = (text for text in mended_files().values() if mend.served in text)
    assert mend.found not in text


def test_the_mended_file_comes_first() -> None:
    host = FastAPI()
    serve_mended(host, "/en/assets")
    host.add_api_route("/en/assets/{path:path}", lambda path: "Gradio's own")
    browser = TestClient(host)
    for name, text in mended_files().items():
        given = browser.get(f"/en/assets/{name}")
        assert given.text == text and given.headers["content-type"].startswith("text/javascript")
    assert browser.get("/en/assets/other.js").json() == "Gradio's own"
