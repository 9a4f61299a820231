"""The guard that keeps the tests on this machine, tried in processes of its own: a refusal in this one would count."""

import os
import subprocess
import sys

import pytest

from tests.conftest import GUARD, SOCKET_LOG

REFUSED = {
    "connect": "socket.socket().connect(('192.0.2.1', 80))",
    "connect_ex": "socket.socket().connect_ex(('192.0.2.1', 80))",
    "sendto": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "sendmsg": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('192.0.2.1', 53))",
    "look-up": "socket.getaddrinfo('example.invalid', 443)",
    "asyncio": "asyncio.run(asyncio.open_connection('example.invalid', 443))",
    "bytes": "socket.getaddrinfo(b'example.invalid', 443)",
}
ALLOWED = {
    "loopback": "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()).close()",
    "localhost": "socket.getaddrinfo('localhost', 80)",
    "unix": "a, b = socket.socketpair(); a.send(b'x'); b.recv(1)",
    "unix path": "s, c = (socket.socket(socket.AF_UNIX) for _ in 'sc'); s.bind('s'); s.listen(); c.connect('s')",
    "any": "socket.getaddrinfo(None, 0)",
}


def guarded(code: str, folder, *, path: str = str(GUARD)) -> tuple[subprocess.CompletedProcess, str]:
    log = folder / "refused.log"
    environment = os.environ | {"PYTHONPATH": path, SOCKET_LOG: str(log)}
    command = [sys.executable, "-W", "ignore", "-c", "import asyncio, socket, sys\n" + code]
    ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    return ran, log.read_text("utf-8") if log.exists() else ""


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_an_address_outside_is_refused_and_written_down(code, tmp_path):
    ran, log = guarded(code, tmp_path)
    assert ran.returncode == 1
    assert "OSError: the tests' socket guard refused" in ran.stderr
    assert "192.0.2.1" in log or "example.invalid" in log


def test_a_refusal_that_the_code_swallows_is_still_written_down(tmp_path):
    swallowing = "try:\n    socket.getaddrinfo('example.invalid', 443)\nexcept OSError:\n    pass"
    ran, log = guarded(swallowing, tmp_path)
    assert ran.returncode == 0
    assert "example.invalid" in log


@pytest.mark.parametrize("code", ALLOWED.values(), ids=ALLOWED)
def test_this_machine_is_reached(code, tmp_path):
    ran, log = guarded(code, tmp_path)
    assert (ran.returncode, log) == (0, ""), ran.stderr


def test_a_sitecustomize_of_the_machine_is_still_run(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.machines_own = True")
    ran, _ = guarded("print(sys.machines_own)", tmp_path, path=os.pathsep.join([str(GUARD), str(tmp_path)]))
    assert ran.stdout == "True\n", ran.stderr


def test_this_process_and_its_children_are_guarded():
    assert sys.luthier_socket_guard
    ran = subprocess.run([sys.executable, "-c", "import sys; print(sys.luthier_socket_guard)"], capture_output=True)
    assert ran.stdout.strip() == b"True"


def test_a_refused_address_fails_the_whole_session(tmp_path):
    """A session of its own whose only test swallows the refusal."""
    inner = tmp_path / "test_swallowing.py"
    inner.write_text(
        "import contextlib, socket\n\ndef test_it():\n    with contextlib.suppress(OSError):\n"
        "        socket.getaddrinfo('example.invalid', 1)\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", tmp_path]
    ran = subprocess.run([*command, inner], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "1 passed" in ran.stdout
    assert "example.invalid" in ran.stdout
