"""Tokens: one file of mode 600, and no other place; text of other programs; what the terminal is told."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from app.commands import followed
from app.show import plain
from studio import tokens
from studio.errors import RefusedInput
from studio.jobs.attempts import environment_of
from studio.jobs.logs import tail
from studio.paths import PROJECT_ROOT
from studio.protocol import Spec
from tests.e2e.server import Server

TOKEN = "hf_TheSecretThatNobodyMayEverSee1234567"


def places_with(root: Path, needle: str) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and needle.encode() in path.read_bytes()]


def test_a_token_lies_in_one_file_that_only_the_owner_reads(workspace):
    before = os.umask(0)
    try:
        tokens.keep(workspace, "hub", f" {TOKEN}\n")
    finally:
        os.umask(before)
    assert workspace.secrets.stat().st_mode & 0o777 == 0o600
    assert tokens.read(workspace, "hub") == TOKEN and tokens.known(workspace) == {"hub"}
    workspace.secrets.chmod(0o644)
    assert tokens.read(workspace, "hub") == TOKEN
    assert workspace.secrets.stat().st_mode & 0o777 == 0o600, "made private again"
    assert tokens.masked(workspace, f"x {TOKEN} y") == "x ••• y"
    tokens.forget(workspace, "hub")
    assert not workspace.secrets.exists()


@pytest.mark.parametrize("value", ["", "short", "with blank inside it", "line\nbreak-in-it", "ü" * 20, "x" * 501])
def test_what_is_no_token_is_refused_without_repeating_it(workspace, value):
    with pytest.raises(RefusedInput) as caught:
        tokens.keep(workspace, "hub", value)
    assert not value.strip() or value not in caught.value.message("en")
    assert not workspace.secrets.exists()
    with pytest.raises(RefusedInput):
        tokens.keep(workspace, "../evil", TOKEN)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hub": 5}', '{"other": "x"}', "null"])
def test_a_damaged_file_is_as_none(workspace, content):
    workspace.secrets.write_text(content, "utf-8")
    assert tokens.known(workspace) == frozenset()


def told_of(root: psutil.Process) -> set[str]:
    """Command line and environment of a process and of all that it started, as the process list shows them."""
    found = set()
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            found.add(" ".join(process.cmdline()) + json.dumps(process.environ()))
    return found


def test_a_kept_token_stands_nowhere_else(server: Server, tmp_path: Path):
    """Kept by the command as a person does, used by a job that asks the hub in vain, searched for everywhere."""
    source = tmp_path / "rows.jsonl"
    source.write_text('{"prompt": "One?", "completion": "Two."}\n' * 3, "utf-8")
    assert followed(server.workspace, server.do("import_dataset", source=str(source), name="kept")).state == "succeeded"
    environment = os.environ | {"LUTHIER_HOME": str(server.workspace.root)}
    typing = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "token", "keep", "hub"],
        cwd=PROJECT_ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, _ = typing.communicate(TOKEN + "\n", timeout=60)
    assert typing.returncode == 0 and TOKEN not in said
    job = server.do("fetch_model", model_id="owner/name")
    deadline, seen = time.monotonic() + 60, set()
    while time.monotonic() < deadline:
        seen |= told_of(psutil.Process(server.pid))
        if (server.workspace.attempt(job, 1) / "result.json").exists():
            break
        time.sleep(0.05)
    assert [each for each in seen if " ui " in each], "the server"
    assert [each for each in seen if "trainers.fetch" in each], "the job that has the token"
    assert not [each for each in seen if TOKEN in each]
    assert followed(server.workspace, server.do("export_dataset", name="kept")).state == "succeeded"
    assert (server.workspace.exports / "kept-v1.jsonl").stat().st_size > 0, "searched too, below"
    page = httpx.get(f"{server.url}/en/settings", timeout=30)
    assert TOKEN not in page.text
    assert places_with(server.workspace.root, TOKEN) == [server.workspace.secrets]
    server.do("forget_token", name="hub")
    assert places_with(server.workspace.root, TOKEN) == []


def test_a_log_without_a_line_end_costs_little(tmp_path):
    (tmp_path / "train.log").write_bytes(b"x" * 40_000_000)
    assert sum(map(len, tail(tmp_path, 200))) < 2_000_000


def test_a_log_does_not_steer_the_terminal():
    assert plain("a\x1b[31mred\x1b]0;title\x07\r\nb\tc\x9b1m") == "a[31mred]0;title\nb\tc1m"


def test_a_job_that_downloads_nothing_has_no_hub_token_to_lose(workspace, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", TOKEN)
    for kind in ("train", "inspect", "serve", "prepare", "fetch"):
        spec = Spec(job_id=1, attempt=1, kind=kind, values={}, checkpoints_path="", output_path="", device="cpu")
        assert (TOKEN in environment_of(workspace, spec).values()) == (kind == "fetch")
