"""Share of a core that the server takes with one page open and nothing to do, and its memory.

python -m tests.bench.idle [--seconds 60] [--pages 1] [--page /en/runs]
"""

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.machine import chromium, load, server


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--page", default="/en/")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, server(Path(home)) as (process, url), chromium() as browser:
        pages = [browser.new_page() for _ in range(chosen.pages)]
        for page in pages:
            page.goto(url + chosen.page)
            page.wait_for_selector(".lu-bar")
        time.sleep(5)  # let the opening's work die away
        watched = psutil.Process(process.pid)
        before, began = sum(watched.cpu_times()[:2]), time.monotonic()
        time.sleep(chosen.seconds)
        share = (sum(watched.cpu_times()[:2]) - before) / (time.monotonic() - began)
        memory = watched.memory_info().rss / 2**20
    print(f"{chosen.pages} x {chosen.page}: {100 * share:.2f} % of a core, {memory:.0f} MiB, load {load()}")  # noqa: T201


if __name__ == "__main__":
    main()
