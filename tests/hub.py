"""A model hub on this machine: what huggingface_hub asks of one, answered from a folder.

with hub(models, gated={"owner/closed"}, bytes_a_second=100_000) as there:   # models/owner/name/config.json ...
    run("trainers.fetch", folder, HF_ENDPOINT=there.address, HF_HUB_OFFLINE="0")
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40
_INFO = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+?)(?P<tree>/tree/[^/]+|/revision/[^/]+)?")
_FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/[^/]+/(?P<file>.+)")
_PIECE = 1 << 14


@contextmanager
def hub(models: Path, *, gated: Collection[str] = (), bytes_a_second: float = 0) -> Iterator["Hub"]:
    """It answers until the block ends; `bytes_a_second` of 0 is as fast as it goes."""
    there = Hub(models, gated, bytes_a_second)
    kind = type("Handler", (_Handler,), {"hub": there})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        there.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield there
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Hub:
    models: Path
    gated: Collection[str]
    bytes_a_second: float
    address: str = ""
    sent: int = 0
    """Bytes of files so far."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        place = self.path.partition("?")[0]
        asked = _INFO.fullmatch(place)
        if asked:
            self._tell(asked["name"], is_tree=(asked["tree"] or "").startswith("/tree/"))
        else:
            self._give(place)

    def do_HEAD(self) -> None:
        self._give(self.path.partition("?")[0])

    def log_message(self, *_: object) -> None:
        pass

    def _tell(self, name: str, *, is_tree: bool) -> None:
        if not (self.hub.models / name).is_dir():
            self._refuse(404, "RepoNotFound")
            return
        files = sorted((self.hub.models / name).iterdir())
        tree = [{"type": "file", "path": each.name, "size": each.stat().st_size, "oid": "0" * 40} for each in files]
        siblings = [{"rfilename": each.name} for each in files]
        said = tree if is_tree else {"id": name, "sha": COMMIT, "private": False, "siblings": siblings}
        self._answer(json.dumps(said).encode(), {"Content-Type": "application/json"})

    def _give(self, place: str) -> None:
        asked = _FILE.fullmatch(place)
        path = self.hub.models / asked["name"] / asked["file"] if asked else None
        if path is None or not path.is_file():
            self._refuse(404, "EntryNotFound")
        elif asked["name"] in self.hub.gated:
            self._refuse(403, "GatedRepo")
        else:
            content = path.read_bytes()
            tag = hashlib.sha256(content).hexdigest()
            self._answer(content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})

    def _answer(self, content: bytes, headers: dict[str, str]) -> None:
        first = re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range", ""))
        rest = content[int(first[1]) :] if first else content
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first[1]}-{len(content) - 1}/{len(content)}")
        for name, value in (headers | {"Content-Length": str(len(rest))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._send(rest)

    def _send(self, content: bytes) -> None:
        for start in range(0, len(content), _PIECE):
            try:
                self.wfile.write(content[start : start + _PIECE])
            except OSError:  # whoever asked has left
                return
            self.hub.sent += _PIECE
            time.sleep(_PIECE / self.hub.bytes_a_second if self.hub.bytes_a_second else 0)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
