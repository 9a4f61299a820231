"""Uploads: the limit holds, what is broken off is swept, and the server neither grows nor stops answering."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from app.uploads import sweep
from studio.paths import workspace
from tests.e2e.server import Server, end_everything
from tests.security.sending import HEAD, TAIL, body_of

MEGABYTE = 1_000_000


def send(url: str, size: int, *, is_size_told: bool) -> httpx.Response:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    if is_size_told:
        headers["content-length"] = str(size + len(HEAD) + len(TAIL))
    return httpx.post(f"{url}/en/gradio_api/upload", content=body_of(size), headers=headers, timeout=600)


def kept(server: Server) -> list[Path]:
    return [path for path in (server.workspace.cache / "gradio").rglob("*") if path.is_file()]


def test_a_file_within_the_limit_is_kept(server):
    answer = send(server.url, MEGABYTE, is_size_told=True)
    assert answer.status_code == 200 and Path(answer.json()[0]).stat().st_size == MEGABYTE


@pytest.mark.parametrize("is_size_told", [True, False])
def test_a_larger_file_is_refused_in_words_and_not_kept(server, is_size_told):
    before = set(kept(server))
    try:
        answer = send(server.url, 30 * MEGABYTE, is_size_told=is_size_told)
    except httpx.TransportError:
        assert not is_size_told  # the connection ended while this end was still sending
    else:
        assert answer.status_code == 413 and "--upload-limit" in answer.text
    left = [path for path in kept(server) if path not in before]
    assert sum(path.stat().st_size for path in left) <= 3 * MEGABYTE
    assert all(path.name.startswith("tmp") for path in left), "swept at the latest a quarter of an hour later"


def test_a_body_that_is_no_upload_is_limited_as_well(server):
    for path in ("/en/gradio_api/queue/join", "/api/do/stay", "/login"):
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as raw:
            told = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 900000000\r\n\r\n"
            raw.sendall(told.encode())
            assert raw.recv(1000).startswith(b"HTTP/1.1 413"), path


def test_what_was_broken_off_is_swept_and_what_is_needed_stays(tmp_path):
    def file(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        return path

    hour = 3600.0
    broken, whole, waiting, export = (file(name) for name in ("tmpab12", "h1/a.jsonl", "h2/b.jsonl", "exports/c.csv"))
    os.link(export, tmp_path / "elsewhere.csv")
    now = time.time()
    assert sweep(tmp_path, now=now + 60) == 0
    assert sweep(tmp_path, now=now + hour) == 1 and not broken.exists()
    assert sweep(tmp_path, now=now + 23 * hour) == 0 and whole.exists()
    assert sweep(tmp_path, now=now + 25 * hour, in_use=[waiting]) == 1 and not whole.parent.exists()
    assert waiting.exists() and export.exists()
    file("tmpcd34")
    assert sweep(tmp_path, is_starting=True) == 1


def test_a_start_sweeps_what_the_last_server_left(server):
    left = server.workspace.cache / "gradio" / "tmpleft"
    left.write_bytes(b"half a file")
    server.stop()
    server.start()
    deadline = time.monotonic() + 20
    while left.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left.exists()


@pytest.mark.slow
def test_a_large_upload_neither_grows_the_server_nor_holds_up_its_pages(tmp_path):
    gigabytes = int(os.environ.get("LUTHIER_TEST_UPLOAD_GB", "5"))
    place = workspace(tmp_path / "luthier").make()
    server = Server(place).start()
    try:
        process = psutil.Process(server.pid)
        # Sent by a process of its own, and asked over one connection as a browser does: a client that shares its
        # interpreter with the sender, or makes ready for TLS at every question, measures itself.
        sending = subprocess.Popen([sys.executable, "-m", "tests.security.sending", server.url, str(gigabytes * 10**9)])
        with httpx.Client(base_url=server.url, timeout=30) as browser:
            browser.get("/en/runs")
            began_at, largest, waits = process.memory_info().rss, 0, []
            while sending.poll() is None:
                for page in ("/en/runs", "/en/data", "/api/health"):
                    asked = time.monotonic()
                    assert browser.get(page).status_code == 200
                    waits.append(time.monotonic() - asked)
                largest = max(largest, process.memory_info().rss)
                time.sleep(0.2)
        grown = (largest - began_at) / 1e6
        waits.sort()
        sys.stderr.write(
            f"{gigabytes} GB: grew by {grown:.0f} MB; pages p50 {waits[len(waits) // 2]:.3f} s, "
            f"p95 {waits[int(len(waits) * 0.95)]:.3f} s, worst {waits[-1]:.3f} s of {len(waits)}\n"
        )
        assert sending.returncode == 0 and grown < 300 and waits[-1] < 0.5
    finally:
        server.stop()
        end_everything(place)
