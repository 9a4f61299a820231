"""Looking, cleaning and sending as the supervisor starts them: real processes that report, and stop when asked."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from studio.paths import PROJECT_ROOT
from studio.protocol import CONTROL, SPEC, Control, Spec, read_events, read_result, write_struct
from studio.workshop.reports import read_changes, read_look
from studio.workshop.versions.reader import read_manifest
from tests.unit.workshop.making import pair, version

ROWS = [pair("Q?", "<p>Ten</p>"), pair("Who?", "As an AI language model, I cannot answer."), pair("Hi", "Hello")]
RECIPE = {"steps": [{"step": "noise", "options": {"refusals": "remove", "low_quality": "off"}}, {"step": "normalise"}]}


def started(folder: Path, values: dict[str, Any]) -> tuple[subprocess.Popen, Path]:
    attempt = folder / "attempts" / "1"
    attempt.mkdir(parents=True)
    spec = Spec(
        job_id=1,
        attempt=1,
        kind="prepare",
        values={"name": "x", **values},
        checkpoints_path=str(folder / "checkpoints"),
        output_path=str(folder / "output"),
    )
    write_struct(attempt / SPEC, spec)
    command = [sys.executable, "-m", "trainers.prepare", str(attempt)]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True), attempt


def ran(folder: Path, values: dict[str, Any]) -> tuple[Any, list[Any]]:
    process, attempt = started(folder, values)
    _, words = process.communicate(timeout=120)
    result = read_result(attempt)
    assert result is not None, words
    return result, read_events(attempt, 0).events


def test_a_look_then_the_cleaning_that_it_foretold(tmp_path):
    folder = version(tmp_path / "v1", ROWS)
    values = {"operation": "look", "version": str(folder), "recipe": RECIPE, "report": "there"}
    result, events = ran(tmp_path / "look", values)
    assert (result.outcome, result.figures) == ("succeeded", {"report": "there"})
    phases = [event.data["name"] for event in events if event.type == "phase"]
    assert phases[1:] == ["data.look", "data.step.noise", "data.step.normalise"]
    foretold = read_look(tmp_path / "look" / "output" / "report")

    result, events = ran(tmp_path / "clean", {"operation": "clean", "parent": str(folder), "recipe": RECIPE})
    assert result.figures["manifest"]["rows"] == foretold.rows_after == 2
    counts = [(step["step"], step["rows_in"], step["rows_out"]) for step in result.figures["steps"]]
    assert counts == [(step.step, step.rows_in, step.rows_out) for step in foretold.steps]
    made = tmp_path / "clean" / "output" / "version"
    assert read_manifest(made).content_hash == result.figures["manifest"]["content_hash"]
    assert [each.row for each in read_changes(made, start=0, count=1)] == [1]
    progress = [event.data for event in events if event.type == "progress"][-1]
    assert progress["done"] == progress["total"] == 3


def test_pushed_and_pulled(tmp_path):
    folder, remote = version(tmp_path / "v1", ROWS), str(tmp_path / "remote")
    values = {"operation": "push", "version": str(folder), "number": 3, "remote": remote, "remote_name": "x"}
    result, _ = ran(tmp_path / "push", values)
    assert (result.outcome, result.figures["version"]) == ("succeeded", 3)
    result, _ = ran(tmp_path / "pull", {"operation": "pull", "remote": remote, "remote_name": "x", "version": None})
    assert result.figures["manifest"]["content_hash"] == read_manifest(folder).content_hash


def test_a_refused_input_is_its_code(tmp_path):
    folder = version(tmp_path / "v1", ROWS[1:2])
    result, _ = ran(tmp_path / "clean", {"operation": "clean", "parent": str(folder), "recipe": RECIPE})
    assert (result.outcome, result.reason) == ("failed", "data.no_rows_left")


def test_a_stop_is_honoured_in_the_middle_of_a_step(tmp_path):
    folder = version(tmp_path / "v1", [pair(f"Question {n}?", f"<p>Answer {n}</p> " * 20) for n in range(60_000)])
    process, attempt = started(tmp_path / "clean", {"operation": "clean", "parent": str(folder), "recipe": RECIPE})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if any(event.data.get("name") == "data.step.noise" for event in read_events(attempt, 0).events):
            break
        time.sleep(0.05)
    asked = time.monotonic()
    write_struct(attempt / CONTROL, Control(number=1, request="stop"))
    process.communicate(timeout=30)
    result = read_result(attempt)
    assert result.outcome == "stopped", result
    assert time.monotonic() - asked < 10
    assert not (tmp_path / "clean" / "output" / "version" / "manifest.json").exists()
