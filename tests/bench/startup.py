"""Seconds from starting the server to a usable page, against `import gradio` alone; and the server's memory.

    python -m tests.bench.startup [--runs 5]

The page is usable when Chromium shows its top bar and the home page's body, after the first start has filled the
browser's and Python's caches. Prints each run and the best of them, with the machine's load average.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.machine import chromium, load, server


def import_seconds() -> float:
    """A fresh interpreter's `import gradio`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio"], check=True, env=_environment())
    return time.perf_counter() - began


def start_seconds(home: Path, browser: object) -> tuple[float, float, int]:
    """Seconds to the first answered page and to a usable one, and the server's memory then, in bytes."""
    began = time.perf_counter()
    with server(home) as (process, url):
        answered = time.perf_counter() - began
        page = browser.new_page()
        page.goto(f"{url}/en/")
        page.wait_for_selector("#home-body h1")
        usable = time.perf_counter() - began
        page.close()
        return answered, usable, psutil.Process(process.pid).memory_info().rss


def _environment() -> dict[str, str]:
    return os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    imports, starts = [], []
    with tempfile.TemporaryDirectory() as home, chromium() as browser:
        start_seconds(Path(home), browser)
        for _ in range(runs):
            imports.append(import_seconds())
            starts.append(start_seconds(Path(home), browser))
            answered, usable, memory = starts[-1]
            print(  # noqa: T201
                f"import gradio {imports[-1]:.2f} s, listening {answered:.2f} s, usable {usable:.2f} s,"
                f" {memory / 2**20:.0f} MiB, load {load()}"
            )
    usable, imported = min(start[1] for start in starts), min(imports)
    print(f"best: usable page {usable:.2f} s = import gradio {imported:.2f} s + {usable - imported:.2f} s")  # noqa: T201


if __name__ == "__main__":
    main()
