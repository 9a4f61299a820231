"""ruff's rules are tests: what is not formatted or breaks a rule does not land."""

import subprocess
import sys

import pytest

from studio.paths import PROJECT_ROOT


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_ruff_finds_nothing(arguments: tuple[str, ...]):
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "."], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
