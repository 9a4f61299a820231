"""Gradio is imported without its interface files being parsed and written."""

import subprocess
import sys

import pytest

LOOKING = """
import inspect, sys
opened = []
sys.addaudithook(lambda event, given: opened.append(given[0]) if event == "open" else None)
before = inspect.getfile
if sys.argv[1] == "quick":
    from app.quick_gradio import load_gradio
    load_gradio()
import gradio
assert inspect.getfile is before
assert gradio.Textbox(label="x").get_config()["label"] == "x" and callable(gradio.Textbox().change)
print(sum(str(each).endswith(".pyi") for each in opened))
"""


@pytest.mark.parametrize("way", ["quick", pytest.param("plain", marks=pytest.mark.slow)])
def test_no_interface_file_is_touched(way: str) -> None:
    """The plain way shows that there is something to spare still; where it is 0, `app.quick_gradio` can go."""
    done = subprocess.run([sys.executable, "-c", LOOKING, way], capture_output=True, text=True, check=True)
    count = int(done.stdout)
    assert count == 0 if way == "quick" else count > 20
