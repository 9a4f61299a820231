"""Names, numbers and documents that are none: every verb of the desk and every handler of the pages gets them.

Canaries lie where a path that leaves the workspace would lead; they must stay as they are, and what they hold must not
be told. A refusal is a sentence (422): an unexpected failure (500) would mean that nobody had thought of it.
"""

import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api import VERBS
from app.commands import followed
from studio.desk import Desk
from studio.errors import RefusedInput
from studio.labelling_requests import LabellingRequests
from studio.paths import PROJECT_ROOT
from tests.e2e.server import Server

SECRET = "the canary's secret song"
NAMES = (
    "../canary",
    "CANARY",
    "a/../../canary",
    "$(touch CANARY)",
    "x\0y",
    "a" * 5000,
    "",
)
MORE_NAMES = (
    "../../canary",
    "..",
    ".",
    "..\\canary",
    "x\ny",
    "; touch CANARY",
    "| touch CANARY",
    "--help",
    "%2e%2e%2fcanary",
    "\ud800",
    "con",
)
NUMBERS = (-1, 10**30, "../canary", [1])
DOCUMENTS = ({}, {"x": "../canary"}, {"__class__": "x"}, {"steps": [{"step": "../canary"}]}, {"name": {"$ne": 1}})
LEFT_OUT = {"stay", "keep_preference"}
"""These take any key and any value by design, from commands only."""
FIRST = {
    "accept_rows",
    "add_model",
    "export_dataset",
    "free_space",
    "import_dataset",
    "labelling.import_marks",
    "pull_dataset",
    "push_dataset",
    "remove",
    "remove_recipe",
    "save_recipe",
    "train",
}
"""Those that come closest to a file; the others are tried behind `--all`."""
ABSOLUTE = ("push_dataset", "pull_dataset")
"""A folder anywhere may be named here, by its whole path."""


@pytest.fixture(scope="module")
def filled(server: Server) -> Server:
    source = server.workspace.root.parent / "rows.jsonl"
    source.write_text("\n".join(json.dumps({"prompt": f"a {n}", "completion": f"b {n}"}) for n in range(5)), "utf-8")
    job = followed(server.workspace, server.do("import_dataset", source=str(source), name="rows"))
    assert job.state == "succeeded"
    return server


@pytest.fixture
def canaries(server: Server) -> Iterator[dict[Path, bytes]]:
    root = server.workspace.root
    places = [root.parent / "canary", root.parent / "canary.yaml", root.parent.parent / "canary.yaml"]
    places += [root / "canary.yaml", root / "canary" / "config.json", Path.home() / f"canary-of-tests-{os.getpid()}"]
    for path in places:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"steps": [], "song": SECRET}), "utf-8")
    kept = {path: path.read_bytes() for path in places}
    yield kept
    found = {path: path.read_bytes() if path.exists() else None for path in places}
    for path in places:
        path.unlink(missing_ok=True)
    assert found == kept


def parameters(verb: str) -> dict[str, inspect.Parameter]:
    owner = LabellingRequests if verb.startswith("labelling.") else Desk
    found = inspect.signature(getattr(owner, verb.removeprefix("labelling."))).parameters
    return {name: each for name, each in found.items() if name != "self" and each.kind is not each.VAR_KEYWORD}


def usual(name: str, kind: str) -> Any:
    if name in ("name", "dataset", "job", "model"):
        return "rows"
    if "int" in kind or "float" in kind:
        return 1
    return {} if "dict" in kind or "Mapping" in kind else [] if "list" in kind or "Sequence" in kind else "x"


def hostile(kind: str, *, every: bool) -> tuple[Any, ...]:
    if "dict" in kind or "Mapping" in kind:
        return DOCUMENTS + NUMBERS[:2] + NAMES[:2]
    if "list" in kind or "Sequence" in kind:
        return ([*NAMES[:4]], [*NUMBERS[:4]], "x", {"x": 1}, [[]])
    return NUMBERS if "int" in kind or "float" in kind else NAMES + (MORE_NAMES if every else ())


def ask(client: httpx.Client, verb: str, arguments: dict[str, Any]) -> httpx.Response:
    text = json.dumps(arguments).encode("utf-8", "replace")
    return client.post(f"/api/do/{verb}", content=text, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    ("verb", "every"),
    [(verb, False) for verb in sorted(FIRST)]
    + [pytest.param(verb, True, marks=pytest.mark.slow) for verb in sorted(VERBS - LEFT_OUT)],
)
def test_a_verb_leaves_the_workspace_by_no_name(filled, canaries, verb, every):
    before = set(PROJECT_ROOT.iterdir()) | set(PROJECT_ROOT.parent.iterdir())
    token = json.loads(filled.workspace.server_json.read_text("utf-8"))["token"]
    unexpected = []
    with httpx.Client(base_url=filled.url, timeout=60, headers={"authorization": f"Bearer {token}"}) as client:
        given = parameters(verb)
        needed = {
            name: usual(name, str(each.annotation))
            for name, each in given.items()
            if each.default is inspect.Parameter.empty
        }
        for name, each in given.items():
            for value in hostile(str(each.annotation), every=every):
                if verb in ABSOLUTE and value == "CANARY":
                    continue
                if isinstance(value, str):
                    value = value.replace("CANARY", str(filled.workspace.root.parent / "canary"))
                answer = ask(client, verb, needed | {name: value})
                assert SECRET not in answer.text
                if answer.status_code == 500 and "server.unexpected" in answer.text:
                    unexpected.append((name, str(value)[:60]))
    assert unexpected == []
    assert set(PROJECT_ROOT.iterdir()) | set(PROJECT_ROOT.parent.iterdir()) == before


def test_no_job_was_queued_for_a_path_from_nowhere(filled):
    for remote in ("canary", "../canary", "./x", "file://canary", "x\ny", "--help"):
        for verb in ABSOLUTE:
            with pytest.raises(RefusedInput) as caught:
                filled.do(verb, name="rows", remote=remote)
            assert caught.value.code == "data.remote.relative"
