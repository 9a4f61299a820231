"""Secrets of services outside, a hub's token say: in one file that only its owner can read, and nowhere else.

    keep(workspace, "hub", "hf_abc...")     written to <workspace>/secrets, mode 600
    read(workspace, "hub")                  by the job that needs it, from the file
    masked(workspace, "... hf_abc... ...")  for text that other programs wrote, a log say

They are in no spec, no event, no registry, no command line and on no page: a page says whether there is one.
"""

import json
import os
import re
from pathlib import Path

from studio.errors import RefusedInput
from studio.paths import Workspace
from studio.protocol import write_atomically

NAMES = ("hub",)
"""What may be kept: a new service gets its name here, its words in `settings.token`."""
MASK = "•••"
_VALUE = re.compile(r"[\x21-\x7e]{8,500}")
_PRIVATE = 0o600


def keep(workspace: Workspace, name: str, value: str) -> None:
    """
    Raises:
        RefusedInput: no such service, or this cannot be a token. The refusal does not repeat it.
    """
    if name not in NAMES:
        raise RefusedInput("token.unknown", name=name)
    if not _VALUE.fullmatch(value.strip()):
        raise RefusedInput("token.unusable")
    _write(workspace, _all(workspace) | {name: value.strip()})


def forget(workspace: Workspace, name: str) -> None:
    _write(workspace, {other: value for other, value in _all(workspace).items() if other != name})


def known(workspace: Workspace) -> frozenset[str]:
    """Of which services there is a token."""
    return frozenset(_all(workspace))


def read(workspace: Workspace, name: str) -> str | None:
    return _all(workspace).get(name)


def masked(workspace: Workspace, text: str) -> str:
    """The text with every token in it blotted out."""
    for value in _all(workspace).values():
        text = text.replace(value, MASK)
    return text


def _all(workspace: Workspace) -> dict[str, str]:
    path = workspace.secrets
    try:
        _make_private(path)
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if name in NAMES and isinstance(value, str) and value}


def _write(workspace: Workspace, values: dict[str, str]) -> None:
    if values:
        write_atomically(workspace.secrets, json.dumps(values).encode(), mode=_PRIVATE)
    else:
        workspace.secrets.unlink(missing_ok=True)


def _make_private(path: Path) -> None:
    """A file that was copied or edited may have become readable by others."""
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(_PRIVATE)
