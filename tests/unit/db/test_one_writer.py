"""One writer: in the code only one module opens connections and only one place makes the writer; while a server runs,
only one of its open files of the registry can be written to."""

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.db import jobs
from studio.db.engine import Reader, Writer, open_alone
from studio.paths import PROJECT_ROOT

OPENERS = {"connect", "create_engine", "create_async_engine", "Connection"}
MAKES_WRITER = {"studio/opening.py", "studio/db/backup.py"}
"""The server, and a restore, which holds the server's lock."""


def calls(path: Path) -> Iterator[str]:
    """Names of what a file calls: `sqlite3.connect(...)` is "sqlite3.connect"."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def sources() -> list[Path]:
    return [path for folder in ("app", "studio", "trainers") for path in (PROJECT_ROOT / folder).rglob("*.py")]


def test_only_the_engine_opens_connections_and_only_the_server_makes_the_writer() -> None:
    opening, writing, plain = set(), set(), set()
    for path in sources():
        name = path.relative_to(PROJECT_ROOT).as_posix()
        text = path.read_text("utf-8")
        for called in calls(path):
            last = called.rpartition(".")[2]
            if last in OPENERS and ("sqlite3" in text or "sqlalchemy" in text):
                opening.add(name)
            if last == "Writer" and "studio.db.engine" in text:
                writing.add(name)
            if last == "open_alone":
                plain.add(name)
    assert opening == {"studio/db/engine.py"}
    assert writing == MAKES_WRITER
    assert plain == {"studio/db/backup.py"}


@pytest.mark.skipif(sys.platform != "linux", reason="open files are read from /proc")
def test_of_all_open_files_of_the_registry_one_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "registry.sqlite"
    writer = Writer(file)
    readers = [Reader(file) for _ in range(5)]
    sessions = [reader.session() for reader in readers]
    for each in sessions:
        jobs.list_jobs(each.__enter__())
    assert sorted(modes(file)) == ["read"] * 5 + ["write"]
    with open_alone(file, mode="ro") as plain:
        plain.execute("SELECT 1 FROM jobs").fetchone()
        assert modes(file).count("write") == 1
    for each in sessions:
        each.__exit__(None, None, None)
    for reader in readers:
        reader.close()
    writer.close()


def modes(file: Path) -> list[str]:
    """How this process has `file` open, once for each descriptor."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(descriptor) != str(file):
                continue
            told = Path(f"/proc/self/fdinfo/{descriptor.name}").read_text()
        except FileNotFoundError:
            continue
        flags = next(int(line.split()[1], 8) for line in told.splitlines() if line.startswith("flags:"))
        found.append("write" if flags & os.O_ACCMODE else "read")
    return found
