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
