"""Import Gradio in half the time: without the files that it writes for people who develop components.

At each import Gradio parses the source of every component and writes an interface file (`.pyi`) beside it, in the
installed library. That is 40 % of the import, and nothing for a server to do. A class without a source file is left out
by Gradio itself (`component_meta.create_or_modify_pyi`), so for the moment of the import its classes have none.
"""

import inspect
from typing import Any


def load_gradio() -> None:
    """Import Gradio; once it is there this changes nothing."""
    getfile = inspect.getfile

    def without_components(thing: Any) -> str:
        is_component = type(thing).__module__.startswith("gradio.")  # its class is made by a metaclass of Gradio's
        if is_component or getattr(thing, "__name__", "") == "BlocksEvents":
            raise OSError("no interface file is wanted")
        return getfile(thing)

    inspect.getfile = without_components
    try:
        import gradio  # noqa: F401
    finally:
        inspect.getfile = getfile
