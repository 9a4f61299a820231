"""Rules of the code itself that keep doors shut: no shell, no pickle, no remote code."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.running import Wishes, _Door
from studio.paths import PROJECT_ROOT

SOURCES = [PROJECT_ROOT / "start.py"] + [
    path for folder in ("app", "studio", "trainers") for path in sorted((PROJECT_ROOT / folder).rglob("*.py"))
]
NEVER = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "pickle.load",
    "pickle.loads",
    "joblib.load",
    "marshal.loads",
    "shelve.open",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pandas.read_pickle",
    "eval",
    "exec",
}


def calls(path: Path) -> Iterator[tuple[str, dict[str, ast.expr], int]]:
    """Name, named arguments and line of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            named = {each.arg: each.value for each in node.keywords if each.arg}
            yield ast.unparse(node.func), named, node.lineno


ALLOWED_BY_HASH = {"trainers/models/model_config.py", "trainers/models/loading.py", "trainers/inspect.py"}
"""Where a model's code may run if an administrator's file names its hash (`test_models.py`)."""


def is_true(value: ast.expr | None) -> bool:
    return not (value is None or (isinstance(value, ast.Constant) and not value.value))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_no_shell_no_pickle_no_remote_code(path):
    found = []
    for name, named, line in calls(path):
        switches = [each for each in ("shell", "trust_remote_code", "allow_pickle") if is_true(named.get(each))]
        if str(path.relative_to(PROJECT_ROOT)) in ALLOWED_BY_HASH:
            switches = [each for each in switches if each != "trust_remote_code"]
        is_unsafe_load = name == "torch.load" and not is_true(named.get("weights_only"))

        if name in NEVER or switches or is_unsafe_load:
            found.append(f"{path.name}:{line}: {name} {switches}")
    assert found == []


def test_what_only_the_owner_may_read(server):
    root = server.workspace.root
    assert root.stat().st_mode & 0o077 == 0
    assert (root / "server.json").stat().st_mode & 0o177 == 0


@pytest.mark.parametrize("image", ["cpu", "cuda"])
def test_a_container_asks_browsers_to_log_in(image, capsys):
    """It listens on all addresses, and such a server has a door: a password, or one-time codes in the log."""
    command = (PROJECT_ROOT / "docker" / f"{image}.Dockerfile").read_text("utf-8").partition("CMD ")[2]
    words = json.loads(command)
    host = words[words.index("--host") + 1]
    assert host == "0.0.0.0" and "--password" not in words
    assert _Door(Wishes(host=host)).access.asks_for == "code"
    assert _Door(Wishes(host=host, password="maple and spruce")).access.asks_for == "password"
    assert _Door(Wishes()).access is None
    compose = (PROJECT_ROOT / "docker" / "compose.yaml").read_text("utf-8")
    assert 'ports: ["127.0.0.1:7860:7860"]' in compose and "LUTHIER_PASSWORD" not in compose
