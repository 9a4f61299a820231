"""The design names files by their path, and they are there."""

import re

import pytest

from studio.paths import PROJECT_ROOT

PATH = re.compile(r"\b(?:app|data|docker|docs|studio|templates|tests|trainers)/[\w/.-]+\.(?:css|js|json|md|py|yaml)\b")
BRACES = re.compile(r"\b(?:app|studio|tests|trainers)/[\w/]*\{")


@pytest.mark.parametrize("name", ["design.md"])
def test_every_file_that_is_named_is_there(name):
    words = (PROJECT_ROOT / "docs" / name).read_text("utf-8")
    named = set(PATH.findall(words))
    assert len(named) > 20 and not BRACES.findall(words), "each is spelled out, so that it can be looked for"
    assert sorted(path for path in named if not (PROJECT_ROOT / path).exists()) == []


def commands_of(app):
    """Of a command line and its groups: {"doctor", "models list", "models add", ...}."""
    from typer.main import get_command

    groups = {name: getattr(each, "commands", None) for name, each in get_command(app).commands.items()}
    return {f"{name} {each}".strip() for name, inner in groups.items() for each in inner or [""]}


def listed(line, there):
    """What a line of the design names: `luthier models list | add FOLDER` -> "models list", "models add"."""
    group = ""
    for part in re.split(r"\s{6,}", line)[0].split(" | "):
        words = part.removeprefix("luthier ").replace("[", " ").replace("]", " ").split()
        if part.startswith("luthier "):
            group = words.pop(0) if any(each.startswith(f"{words[0]} ") for each in there) else ""
        if words and re.fullmatch("[a-z]+", words[0]):
            yield f"{group} {words[0]}".strip()


def test_the_commands_that_are_listed_are_those_that_there_are():
    from app.cli import app

    there = commands_of(app)
    words = (PROJECT_ROOT / "docs" / "design.md").read_text("utf-8")
    lines = words[words.index("luthier [ui] [--host") :].partition("\n```")[0].splitlines()
    assert {name for line in lines for name in listed(line, there)} == there
