"""A job process that follows the protocol and trains nothing: `python -m tests.fake_trainer <module> <attempt folder>`.

What it does is told by its spec's values: `steps`, `seconds_a_step`, `save_every`, `best_at` (the step whose held-out
loss is lowest), `scored_later` (a checkpoint's held-out loss, told after it), `fail_at` (with `fail_reason`, and only
with more than `fits` rows at once), `die_at` (killed from outside, so to speak), `deaf` (obeys no request), `child`
(starts a process that outlives it), `litters` (leaves a temporary file and prints its path), `torn_line`, `bad_line`.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from studio.protocol import EVENTS, RESULT, EventLog, Result, read_control, read_spec, utc_now, write_struct


def main(folder: Path) -> None:
    spec = read_spec(folder)
    values = spec.values
    events = EventLog(folder)
    events.write("phase", name="training")
    _leave_behind(values)
    whole = [saved for saved in spec.resume_from if saved.step != values.get("sets_aside")]
    for saved in spec.resume_from:
        if saved not in whole:
            Path(saved.path).rename(f"{saved.path}-aside")
            events.write("set_aside", step=saved.step, path=f"{saved.path}-aside", files=["model.safetensors"])
    first = whole[0].step + 1 if whole else 1
    for step in range(first, values["steps"] + 1):
        time.sleep(values.get("seconds_a_step", 0.01))
        request = None if values.get("deaf") else read_control(folder)
        if request and request.request in ("stop", "stop_now", "pause"):
            outcome = "paused" if request.request == "pause" else "stopped"
            write_struct(folder / RESULT, Result(outcome=outcome, reason=f"job.{outcome}", finished_at=utc_now()))
            return
        metrics = {"loss": 10 / step, "learning_rate": 1e-4}
        events.write("metric", step=step, epoch=step / 10, values=metrics)
        events.write("progress", done=step, total=values["steps"], unit="steps", seconds_left=1.0)
        if step % values.get("save_every", 1000) == 0:
            _save(spec, events, step)
        if values.get("bad_line") == step:
            _write_raw(folder, b"this is no event\n")
        _fail(folder, values, step)
        if values.get("die_at") == step and not spec.resume_from:
            if values.get("torn_line"):
                _write_raw(folder, b'{"seq": 999, "time": "2026')
            os.kill(os.getpid(), signal.SIGKILL)
    write_struct(
        folder / RESULT, Result(outcome="succeeded", figures={"steps": values["steps"]}, finished_at=utc_now())
    )


def _leave_behind(values: dict) -> None:
    if values.get("child"):
        subprocess.Popen(["sleep", "120"])
    if values.get("litters"):
        sys.stdout.write(tempfile.mkstemp()[1])
        sys.stdout.flush()


def _fail(folder: Path, values: dict, step: int) -> None:
    if values.get("fail_at") != step or values.get("per_device_train_batch_size", 1) <= values.get("fits", 0):
        return
    reason, told = values.get("fail_reason", "job.non_finite"), {"step": step}
    write_struct(folder / RESULT, Result(outcome="failed", reason=reason, values=told, exit_code=1))
    sys.exit(1)


def _save(spec, events: EventLog, step: int) -> None:
    place = Path(spec.checkpoints_path) / f"step-{step}"
    place.mkdir(parents=True)
    (place / "manifest.json").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    best = spec.values.get("best_at")
    metrics = {"loss": 1.0} | ({"eval_loss": 1.0 + abs(step - best)} if best else {})
    told = {"step": step, "epoch": step / 10, "path": str(place), "size_bytes": 2, "digest": digest}
    events.write("checkpoint", **told, metrics=metrics)
    if later := spec.values.get("scored_later"):
        events.write("checkpoint", **told, metrics=metrics | {"eval_loss": later})


def _write_raw(folder: Path, data: bytes) -> None:
    with (folder / EVENTS).open("ab") as file:
        file.write(data)


if __name__ == "__main__":
    main(Path(sys.argv[2]))
