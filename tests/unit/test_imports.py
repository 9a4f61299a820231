"""Who may import whom (docs/design.md, section 3), read off the source, and the server's core kept free of torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.paths import PROJECT_ROOT

FIRST_LEVEL = ("app", "studio", "trainers")
JOBS_ONLY = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes"}
HEAVY = JOBS_ONLY | {"gradio"}
FORBIDDEN = {
    "app": {"trainers"} | JOBS_ONLY,
    "studio": {"app", "trainers"} | HEAVY,
    "trainers": {"app", "studio.db", "studio.jobs", "gradio"},
}
SOURCES = sorted(path for name in FIRST_LEVEL for path in (PROJECT_ROOT / name).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, inside functions too."""
    package = path.relative_to(PROJECT_ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def breaks(name: str, forbidden: set[str]) -> bool:
    return any(name == other or name.startswith(other + ".") for other in forbidden)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_a_file_imports_only_what_its_folder_may(path):
    forbidden = FORBIDDEN[path.relative_to(PROJECT_ROOT).parts[0]]
    broken = [f"line {line}: {name}" for line, name in imported(path) if breaks(name, forbidden)]
    assert broken == []


def test_relative_imports_are_seen_as_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.unit.test_imports.PROJECT_ROOT", tmp_path)
    (tmp_path / "trainers").mkdir()
    source = tmp_path / "trainers" / "one.py"
    source.write_text("from ..app import main\nfrom . import attempt\nimport studio.db.jobs\n")
    assert [name for _, name in imported(source)] == ["app.main", "trainers.attempt", "studio.db.jobs"]


def test_the_core_comes_without_torch_and_gradio():
    modules = [
        ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in SOURCES
        if path.is_relative_to(PROJECT_ROOT / "studio") and "migrations" not in path.parts
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[]"


def test_every_package_file_is_empty():
    filled = [str(path) for path in SOURCES if path.name == "__init__.py" and path.read_text("utf-8").strip()]
    assert filled == []
