"""`python -m trainers.prepare` as the supervisor starts it: real processes, and no torch in them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from studio.paths import PROJECT_ROOT, SAMPLES
from studio.protocol import SPEC, Spec, read_events, read_result, write_struct
from studio.workshop.versions.reader import read_manifest, read_problems, read_rows

WATCHED = """
import atexit, runpy
atexit.register(lambda: print(open('/proc/self/status').read()))
runpy.run_module('trainers.prepare', run_name='__main__')
"""
"""The same module, telling its own peak: what getrusage tells of a child includes its parent's."""


def run(tmp_path: Path, values: dict[str, Any], *flags: str) -> Any:
    attempt = tmp_path / "attempts" / "1"
    attempt.mkdir(parents=True, exist_ok=True)
    (attempt / "result.json").unlink(missing_ok=True)
    spec = Spec(
        job_id=1,
        attempt=1,
        kind="prepare",
        values=values,
        checkpoints_path=str(tmp_path / "checkpoints"),
        output_path=str(tmp_path / "output"),
    )
    write_struct(attempt / SPEC, spec)
    command = [sys.executable, *(flags or ("-m", "trainers.prepare")), str(attempt)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=os.environ, capture_output=True, text=True, timeout=120)
    return read_result(attempt), done, read_events(attempt, 0).events


def importing(path: Path, **more: Any) -> dict[str, Any]:
    return {"operation": "import", "source": str(path), "original_name": path.name, "name": "x", **more}


def test_import_then_revise(tmp_path: Path):
    result, done, events = run(tmp_path / "a", importing(SAMPLES / "broken" / "broken_line.jsonl"))
    assert (done.returncode, result.outcome) == (0, "succeeded")
    folder = tmp_path / "a" / "output" / "version"
    figures = result.figures["manifest"]
    assert (figures["rows"], figures["problems"]) == (6, 2)
    assert figures["content_hash"] == read_manifest(folder).content_hash
    assert [event.data["name"] for event in events if event.type == "phase"][-1] == "reading_data"
    progress = [event.data for event in events if event.type == "progress"][-1]
    assert progress["done"] == progress["total"] and progress["unit"] == "bytes"

    values = {"operation": "revise", "name": "x", "parent": str(folder), "exclude": [6]}
    values["edits"] = {"4": json.dumps({"prompt": "Can I cancel?", "completion": "Yes."})}
    result, _, _ = run(tmp_path / "b", values)
    assert result.outcome == "succeeded"
    revised = tmp_path / "b" / "output" / "version"
    assert [row.row for row in read_rows(revised, start=0, count=9)] == [1, 2, 3, 4, 5, 7, 8]
    assert [(each.row, each.state) for each in read_problems(revised, start=0, count=9)] == [(6, "excluded")]


def test_a_refused_file_is_a_failed_result_with_its_code(tmp_path: Path):
    result, done, _ = run(tmp_path, importing(SAMPLES / "broken" / "not_json.jsonl"))
    assert (done.returncode, result.outcome, result.reason) == (1, "failed", "data.not_json")
    assert result.values["file"] == "not_json.jsonl"


def test_columns_that_a_person_named(tmp_path: Path):
    values = importing(SAMPLES / "broken" / "wrong_keys.jsonl", shape="prompt_completion")
    result, _, _ = run(tmp_path, values | {"columns": {"promt": "prompt", "reply": "completion"}})
    assert result.figures["manifest"]["rows"] == 8


def test_what_a_killed_attempt_left_is_replaced(tmp_path: Path):
    stale = tmp_path / "output" / "version"
    stale.mkdir(parents=True)
    (stale / "rows.parquet").write_bytes(b"torn")
    result, _, _ = run(tmp_path, importing(SAMPLES / "chat.zh.jsonl"))
    assert result.outcome == "succeeded" and len(read_rows(stale, start=0, count=99)) == 12


def test_nothing_heavy_is_imported(tmp_path: Path):
    _, done, _ = run(tmp_path, importing(SAMPLES / "chat.en.jsonl"), "-X", "importtime", "-m", "trainers.prepare")
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"torch", "transformers", "datasets", "trl", "gradio", "sqlalchemy"}


def test_memory_is_bounded_whatever_the_size(tmp_path: Path):
    path = tmp_path / "large.jsonl"
    line = json.dumps({"prompt": "q" * 500, "completion": "a" * 1500}).encode() + b"\n"
    path.write_bytes(line * 60_000)  # 120 MB
    result, done, _ = run(tmp_path, importing(path), "-c", WATCHED)
    assert result.figures["manifest"]["rows"] == 60_000
    assert int(re.search(r"VmHWM:\s+(\d+) kB", done.stdout).group(1)) <= 300 << 10
