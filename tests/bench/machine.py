"""What the benches share: a server in its own process, a browser, the load average."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import start
from studio.paths import PROJECT_ROOT, Workspace
from tests.conftest import BROWSER_FLAGS


@contextmanager
def server(home: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """`luthier ui` on a workspace; yields its process and address once it listens."""
    command = [sys.executable, "-m", "app.cli", "ui", "--no-browser", "--port", "7890"]
    environment = os.environ | {"LUTHIER_HOME": str(home)}
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process, _url(Workspace(home), process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _url(workspace: Workspace, process: subprocess.Popen) -> str:
    while process.poll() is None:
        try:
            entry = json.loads(workspace.server_json.read_text("utf-8"))
            if entry["pid"] == process.pid:
                return entry["url"]
        except (OSError, ValueError):
            time.sleep(0.01)
    raise RuntimeError(f"the server ended with {process.returncode}")


@contextmanager
def chromium() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=start.find_browser(), args=BROWSER_FLAGS)
        yield browser
        browser.close()


def load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())
