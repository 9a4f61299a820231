"""The outer edge: every end of a job process is a result, and requests are heard in every phase. No torch here."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.messages import has
from studio.paths import PROJECT_ROOT
from studio.protocol import SPEC, Result
from tests.trainers.jobs import ask, events_of, result_of, wait_until, write_spec


def start_main(folder: Path, body: str) -> subprocess.Popen:
    """A job process whose `main(attempt)` is `body`."""
    script = folder / "job.py"
    head = "import errno, time\nfrom studio.errors import *\nfrom trainers.attempt import run_attempt\n"
    script.write_text(
        head + "def main(attempt):\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\nrun_attempt(main)\n"
    )
    with (folder / "train.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PYTHONPATH": str(PROJECT_ROOT)},
        )


def run_main(tmp_path: Path, body: str, **fields: object) -> tuple[Result, int]:
    folder = write_spec(tmp_path / "job", **fields)
    code = start_main(folder, body).wait(30)
    return result_of(folder), code


def test_figures_of_a_main_that_returns(tmp_path: Path) -> None:
    result, code = run_main(tmp_path, "attempt.phase('training')\nreturn {'steps': 3}")
    assert (result.outcome, result.figures, code) == ("succeeded", {"steps": 3}, 0)
    assert [e.data["name"] for e in events_of(tmp_path / "job/attempts/1", "phase")] == ["starting", "training"]


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        ("raise JobFailed('non_finite', step=7)", "failed", "job.non_finite"),
        ("raise RefusedInput('model.no_config', path='x')", "failed", "model.no_config"),
        ("1 / 0", "failed", "job.unexpected"),
        ("raise MemoryError", "failed", "job.out_of_memory"),
        ("raise OSError(errno.ENOSPC, 'full')", "paused", "job.disk_full"),
        ("raise RuntimeError('No space left on device (os error 28)')", "paused", "job.disk_full"),
    ],
)
def test_what_is_raised_becomes_a_reason(tmp_path: Path, body: str, outcome: str, reason: str) -> None:
    values = {"per_device_train_batch_size": 4, "max_length": 512}
    result, code = run_main(tmp_path, body, values=values)
    assert (result.outcome, result.reason) == (outcome, reason)
    assert code == result.exit_code == (outcome == "failed")
    assert has(f"errors.{reason}")
    assert "{" not in StudioError(reason, **result.values).message()
    assert "Traceback" in (tmp_path / "job/attempts/1/train.log").read_text()


def test_out_of_memory_is_found_behind_another_error(tmp_path: Path) -> None:
    body = """
        try:
            raise MemoryError
        except MemoryError as error:
            raise ValueError('wrapped') from error
    """
    assert run_main(tmp_path, body)[0].reason == "job.out_of_memory_here"


def test_stop_before_training_ends_the_process_at_once(tmp_path: Path) -> None:
    folder = write_spec(tmp_path / "job")
    process = start_main(folder, "attempt.phase('loading_model')\ntime.sleep(60)")
    wait_until(lambda: events_of(folder, "phase"), process)
    ask(folder, "stop")
    assert process.wait(5) == 0
    assert (result_of(folder).outcome, result_of(folder).reason) == ("stopped", "job.stopped_before_training")


@pytest.mark.parametrize(("request_name", "outcome"), [("stop", "stopped"), ("pause", "paused")])
def test_a_recipe_that_took_over_stops_ends_itself(tmp_path: Path, request_name: str, outcome: str) -> None:
    folder = write_spec(tmp_path / "job")
    body = """
        attempt.take_over_stops()
        attempt.phase('training')
        attempt.stop_requested.wait(30)
        attempt.stopped_early = True
        return {'steps': 2}
    """
    process = start_main(folder, body)
    wait_until(lambda: len(events_of(folder, "phase")) == 2, process)
    ask(folder, request_name)
    process.wait(10)
    assert (result_of(folder).outcome, result_of(folder).figures) == (outcome, {"steps": 2})


def test_stop_now_and_termination_work_while_training(tmp_path: Path) -> None:
    body = "attempt.take_over_stops()\nattempt.phase('training')\nattempt.stop_requested.wait(30)\ntime.sleep(20)"
    started = time.monotonic()
    folder = write_spec(tmp_path / "job")
    process = start_main(folder, body)
    wait_until(lambda: len(events_of(folder, "phase")) == 2, process)
    process.send_signal(signal.SIGTERM)
    ask(folder, "stop_now")
    process.wait(10)
    assert (result_of(folder).outcome, result_of(folder).reason) == ("stopped", "job.stopped_now")
    assert time.monotonic() - started < 15


def test_a_save_request_is_a_flag(tmp_path: Path) -> None:
    folder = write_spec(tmp_path / "job")
    ask(folder, "save")
    process = start_main(folder, "attempt.take_over_stops()\nreturn {'asked': attempt.save_requested.wait(10)}")
    process.wait(15)
    assert result_of(folder).figures == {"asked": True}


def test_a_spec_that_cannot_be_read_is_a_result(tmp_path: Path) -> None:
    folder = write_spec(tmp_path / "job")
    (folder / SPEC).write_text("{")
    start_main(folder, "return {}").wait(15)
    assert result_of(folder).reason == "job.bad_spec"
