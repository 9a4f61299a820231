"""The outer edge of every job process: one attempt, its control thread, and how it ends.

A trainer's module imports nothing heavy at its top and ends with

    if __name__ == "__main__":
        run_attempt(main)

`main(attempt)` does the work and returns the final figures. Everything else that an attempt owes the protocol
(`docs/design.md`, section 2) is here: requests are read from the first second on, whatever goes wrong becomes a result
with a reason, and result.json is written last. What this file does not do: train, load, save.
"""

import contextlib
import errno
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from studio.errors import JobFailed, StudioError
from studio.protocol import (
    PROTOCOL_VERSION,
    RESULT,
    EventLog,
    Result,
    Spec,
    read_control,
    read_spec,
    utc_now,
    write_struct,
)

CONTROL_POLL_SECONDS = 0.5
RESERVE, RESERVE_BYTES = ".reserve", 256 * 1024
"""Space held back from the start, so that a full disk can still be reported."""
LITTLE_SPACE_BYTES = 16 << 20
OOM_SCORE = "500"
"""Of 1000 (proc(5)); a process may always raise its own."""

Main = Callable[["Attempt"], dict[str, Any]]


class Attempt:
    """One process of a job: its folder, its spec, its events, and what it has been asked to do."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.folder = folder
        self.spec = spec
        self.events = EventLog(folder)
        self.stop_requested = threading.Event()
        """Save and end: also set by SIGTERM and by a pause."""
        self.pause_requested = threading.Event()
        self.save_requested = threading.Event()
        """Save now and go on; whoever saves clears it."""
        self.figures: dict[str, Any] = {}
        """Figures so far, reported also when the attempt is ended at once."""
        self.stopped_early = False
        """Set by a recipe that obeyed a stop; a request that came after the last step changes nothing."""
        self.has_trained = True
        """Whether a recipe that obeyed a stop had done anything that is worth a checkpoint."""
        self._phase = "starting"
        self._stops_itself = threading.Event()
        self._terminated = threading.Event()
        self._ending = threading.Lock()
        self._last_control = 0

    @property
    def current_phase(self) -> str:
        return self._phase

    def phase(self, name: str) -> None:
        """Report what the job does now; its words are `phases.<name>`."""
        self._phase = name
        self.events.write("phase", name=name)

    def alert(self, code: str, severity: str = "warning", **values: Any) -> None:
        """Report something a person should know; its words are `alerts.<code>`."""
        self.events.write("alert", code=code, severity=severity, values=values)

    def take_over_stops(self) -> None:
        """From here on the recipe itself watches `stop_requested`; before, a stop ends the process at once."""
        self._stops_itself.set()
        if self.stop_requested.is_set():
            self._end_at_once()

    def hand_back_stops(self) -> None:
        """The recipe has nothing left to save: a stop may end the process at once again."""
        self._stops_itself.clear()

    def listen(self) -> None:
        """Start the control thread, and treat SIGTERM as a request to stop."""
        # The handler only sets a flag: it runs between two bytecodes of the main thread, wherever that is.
        signal.signal(signal.SIGTERM, lambda *_: self._terminated.set())
        threading.Thread(target=self._poll, name="control", daemon=True).start()

    def end(self, result: Result) -> None:
        """Write result.json, once; a second caller finds it done and waits for the process to leave."""
        with self._ending:
            path = self.folder / RESULT
            if path.exists():
                return
            (self.folder / RESERVE).unlink(missing_ok=True)
            write_struct(path, result)

    def _poll(self) -> None:
        while True:
            if self._terminated.wait(CONTROL_POLL_SECONDS):
                self._terminated.clear()
                self._obey("stop")
            control = read_control(self.folder)
            if control and control.number > self._last_control:
                self._last_control = control.number
                self._obey(control.request)

    def _obey(self, request: str) -> None:
        if request == "save":
            self.save_requested.set()
            return
        if request == "pause":
            self.pause_requested.set()
        self.stop_requested.set()
        if request == "stop_now" or not self._stops_itself.is_set():
            self._end_at_once(now=request == "stop_now")

    def _end_at_once(self, *, now: bool = False) -> NoReturn:
        early = self.spec.kind == "train" and not now
        try:
            self.end(self._stopped("job.stopped_before_training" if early else "job.stopped_now"))
            sys.stdout.flush()
        finally:  # also where no result can be written: a stopped job must not live on
            os._exit(0)

    def _stopped(self, reason: str) -> Result:
        if self.pause_requested.is_set():
            return _result("paused", reason="job.paused", figures=self.figures)
        return _result("stopped", reason=reason, figures=self.figures)

    def finished(self, figures: dict[str, Any]) -> Result:
        """The result of a `main` that returned."""
        self.figures |= figures
        if self.stopped_early:
            return self._stopped("job.stopped" if self.has_trained else "job.stopped_before_training")
        return _result("succeeded", figures=self.figures)

    def failed(self, error: BaseException) -> Result:
        """The result of a `main` that raised; the traceback stays in train.log."""
        if any(_is_disk_full(each, self.folder) for each in _chain(error)):
            return _result("paused", reason="job.disk_full", values={"folder": str(self.folder)}, figures=self.figures)
        known = self._known(error)
        return _result("failed", reason=known.code, values=known.values, figures=self.figures, exit_code=1)

    def _known(self, error: BaseException) -> StudioError:
        if isinstance(error, StudioError):
            return error
        if is_out_of_memory(error):
            return self._out_of_memory()
        return JobFailed("unexpected", error=f"{type(error).__name__}: {error}"[:500])

    def _out_of_memory(self) -> StudioError:
        values, device = self.spec.values, self.spec.device
        batch, length = values.get("per_device_train_batch_size"), values.get("max_length")
        if batch is None:
            return JobFailed("out_of_memory_here", device=device, phase=self._phase)
        return JobFailed("out_of_memory", device=device, phase=self._phase, batch=batch, length=length)


def run_attempt(main: Main) -> NoReturn:
    """Run `main` as the attempt whose folder is the first argument, write its result, and leave."""
    folder = Path(sys.argv[1]).resolve()
    attempt = _open(folder)
    (folder / RESERVE).write_bytes(b"\0" * RESERVE_BYTES)
    attempt.listen()
    _be_the_first_to_go()
    _prepare_environment(attempt)
    try:
        attempt.phase("starting")
        result = attempt.finished(main(attempt))
    except BaseException as error:
        traceback.print_exc()
        result = attempt.failed(error)
    attempt.end(result)
    sys.exit(result.exit_code)


def _open(folder: Path) -> Attempt:
    try:
        spec = read_spec(folder)
    except (OSError, msgspec.DecodeError) as error:
        _refuse(folder, JobFailed("bad_spec", error=str(error)))
    if spec.protocol != PROTOCOL_VERSION:
        _refuse(folder, JobFailed("other_protocol", theirs=spec.protocol, ours=PROTOCOL_VERSION))
    return Attempt(folder, spec)


def _refuse(folder: Path, error: JobFailed) -> NoReturn:
    write_struct(folder / RESULT, _result("failed", reason=error.code, values=error.values, exit_code=1))
    sys.exit(str(error))


def _be_the_first_to_go() -> None:
    """Where the machine runs out of memory the kernel ends a process: this one, not the server."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


def _prepare_environment(attempt: Attempt) -> None:
    """Settings that libraries read when they are imported, so they are made before that."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_DATASETS_CACHE"] = str(attempt.folder / "cache")
    if attempt.spec.kind != "fetch":
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_DATASETS_OFFLINE"] = "1"
    # Only the leased device exists for this process; numbered as the driver numbers them.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = attempt.spec.device.removeprefix("cuda:").removeprefix("cpu")
    if attempt.spec.threads:
        os.environ["OMP_NUM_THREADS"] = str(attempt.spec.threads)


def _result(
    outcome: str, *, reason: str | None = None, values: dict | None = None, figures: dict | None = None, exit_code=0
) -> Result:
    return Result(
        outcome=outcome,
        reason=reason,
        values=values or {},
        figures=figures or {},
        exit_code=exit_code,
        finished_at=utc_now(),
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_disk_full(error: BaseException, folder: Path) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors and torch.save wrap the system's error in their own, with a text only.
    if "No space left on device" in str(error):
        return True
    return "PytorchStreamWriter failed" in str(error) and shutil.disk_usage(folder).free < LITTLE_SPACE_BYTES


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the machine had no memory left, whoever says so and however it is wrapped."""
    torch = sys.modules.get("torch")
    kinds = (MemoryError, torch.OutOfMemoryError) if torch else (MemoryError,)
    # The CPU allocator and cuBLAS raise plain RuntimeErrors.
    words = ("can't allocate memory", "ALLOC_FAILED")
    return any(
        isinstance(each, kinds) or (isinstance(each, RuntimeError) and any(word in str(each) for word in words))
        for each in _chain(error)
    )
