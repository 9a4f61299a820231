"""A studio to attack: one on this machine alone, one that asks for a password, and traps that must stay untouched."""

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from studio.paths import workspace
from tests.e2e.server import Server, end_everything

PASSWORD = "maple and spruce 12"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """On loopback, without a login, as most people run it; its largest upload is 2 MB."""
    place = workspace(tmp_path_factory.mktemp("open") / "luthier").make()
    started = Server(place, options=["--upload-limit", "2MB"]).start()
    yield started
    started.stop()
    end_everything(place)


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Reachable from other machines, behind a password."""
    place = workspace(tmp_path_factory.mktemp("locked") / "luthier").make()
    started = Server(place, options=["--host", "0.0.0.0"], LUTHIER_PASSWORD=PASSWORD).start()
    yield started
    started.stop()
    end_everything(place)


@pytest.fixture
def http_client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


class Trap:
    """A listener on this machine that counts who calls: nobody should."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        calls = self.calls

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                calls.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"trapped")

            do_POST = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """A file outside every workspace that nobody may get to read."""
    path = tmp_path / "secret.txt"
    path.write_text("the secret that must stay here", "utf-8")
    os.chmod(path, 0o600)
    return path
