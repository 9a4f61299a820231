"""The thread that runs the queue: starts jobs, follows their events, delivers wishes, and settles those that ended.

All it knows is in the registry and the job folders, so a new server picks up where a killed one was. It holds no
opinion on what a job does; what becomes of a finished job's product is `studio.jobs.products`.
"""

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from studio.db import pipelines
from studio.db.engine import Writer, next_change
from studio.db.jobs import live, move, newest_attempt, num_waiting, record_event, wish
from studio.db.tables import Attempt, Checkpoint, Job, Lease
from studio.errors import Failure, StudioError
from studio.hardware import cpu_count
from studio.jobs import processes, queueing, temporary
from studio.jobs.attempts import environment_of, saved_checkpoints, spec_of
from studio.jobs.folders import folder_bytes
from studio.jobs.ingest import ingest
from studio.jobs.lifecycle import LIVE
from studio.jobs.measuring import take_measurement
from studio.jobs.processes import Process
from studio.jobs.products import take_product
from studio.jobs.retention import forget_surplus
from studio.jobs.shrinking import try_smaller
from studio.paths import PROJECT_ROOT, Workspace
from studio.protocol import (
    CONTROL,
    LOG,
    SPEC,
    Control,
    Result,
    Spec,
    read_control,
    read_result,
    utc_now,
    write_struct,
)

LINGER_SECONDS = 10.0
"""A process that has written its result may take this long to leave."""
STOP_GRACE_SECONDS = {"stop_now": 8.0, "stop": 120.0, "pause": 120.0}
"""How long a job may go without obeying a wish before it is made to end: for `stop_now` since it was asked, for the
others without a sign of life."""
SAVING, SAVING_GRACE_SECONDS = "saving", 1800.0
"""A large checkpoint on a slow disk takes its time, and gives no sign meanwhile."""
DEAF_SECONDS = 600.0
"""A job that goes on as if nobody had asked is made to end after that, signs of life or not."""

_log = logging.getLogger(__name__)


@dataclass
class _Watch:
    """What the supervisor notices about a live job between two rounds; losing it costs only a longer wait."""

    last_sign: float
    oom_kills: int | None = None
    """Processes that the kernel had ended for want of memory when the watch began."""
    asked: float | None = None
    result_seen: float | None = None
    terminated: float | None = None


class Supervisor:
    """Runs `tick` in a thread until `stop`; `wake` makes the next round come at once."""

    def __init__(
        self,
        workspace: Workspace,
        writer: Writer,
        *,
        devices: tuple[str, ...] = ("cpu",),
        command: Callable[[str, Path], list[str]] = processes.trainer_command,
        now: Callable[[], float] = time.monotonic,
        interval_seconds: float = 0.3,
    ) -> None:
        self._workspace = workspace
        self._writer = writer
        self._devices = devices
        self._command = command
        self._now = now
        self._interval_seconds = interval_seconds
        self._watches: dict[tuple[int, int], _Watch] = {}
        self._idle_since_change: int | None = None
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the jobs go on."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def wake(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        told = ""
        while not self._stopped.is_set():
            try:
                self.tick()
                told = ""
            except Failure as error:  # a full disk, a registry that another program holds: told once, not every round
                if told != (told := str(error)):
                    _log.warning(told)
            except Exception:
                # A supervising loop: one bad round must not end the watch over running jobs.
                _log.exception("The supervisor's round failed; the next one tries again.")
            self._wake.wait(self._interval_seconds)
            self._wake.clear()

    def tick(self) -> None:
        """One round over every live and waiting job; nothing at all while none is there and nothing changed."""
        before = self._writer.num_changes
        if before == self._idle_since_change:
            return
        with self._writer.begin() as session:
            followed = [job.id for job in live(session)]
            is_idle = not followed and not num_waiting(session)
        for job_id in followed:
            with self._writer.begin() as session:
                self._follow(session, job_id)
                surplus = forget_surplus(session, session.get_one(Job, job_id))
            for folder in surplus:
                shutil.rmtree(folder, ignore_errors=True)
        while self._start_next():
            pass
        self._idle_since_change = before if is_idle else None

    # -- following a live job ------------------------------------------------------------------------------------

    def _follow(self, session: Session, job_id: int) -> None:
        job, attempt = session.get_one(Job, job_id), newest_attempt(session, job_id)
        folder = self._workspace.attempt(job_id, attempt.number)
        process = self._process_of(session, attempt)
        # Looked at before the events are read: what a dead process wrote is then all there is.
        is_alive = process is not None and processes.is_alive(process, str(folder))
        watch = self._watch(job_id, attempt.number)
        if ingest(session, attempt, folder):
            watch.last_sign = self._now()
            self._wake.set()  # there may be more, and an end is settled only when all is read
        elif not is_alive:
            self._settle(session, job, attempt, watch)
        if not is_alive:
            return
        if read_result(folder) is not None:
            self._hurry_out(process, folder, watch)
        elif job.wish:
            self._deliver(job, process, folder, watch)

    def _watch(self, job_id: int, attempt: int) -> _Watch:
        if (job_id, attempt) not in self._watches:
            self._watches[job_id, attempt] = _Watch(self._now(), processes.oom_kills())
        return self._watches[job_id, attempt]

    def _process_of(self, session: Session, attempt: Attempt) -> Process | None:
        """The attempt's process; one whose pid was not noted, because the server died just then, is looked for."""
        if attempt.pid is None:
            found = processes.find(str(self._workspace.attempt(attempt.job_id, attempt.number)))
            if found is None:
                return None
            attempt.pid, attempt.process_started_at = found.pid, found.started_at
        return Process(attempt.pid, attempt.process_started_at or 0.0)

    def _deliver(self, job: Job, process: Process, folder: Path, watch: _Watch) -> None:
        """Hand a wish to the job, and end a job that neither obeys nor shows a sign of life."""
        told = read_control(folder)
        if told is None or told.number < job.wish_number:
            write_struct(folder / CONTROL, Control(number=job.wish_number, request=job.wish))
            watch.last_sign = watch.asked = self._now()
            watch.terminated = None
        elif job.wish not in STOP_GRACE_SECONDS:  # "save" is a request without an end
            job.wish = None
        elif watch.terminated is None and self._has_waited(job, watch):
            processes.end_group(process, str(folder), force=False)
            watch.terminated = self._now()
        elif watch.terminated is not None and self._now() - watch.terminated > LINGER_SECONDS / 2:
            processes.end_group(process, str(folder), force=True)

    def _has_waited(self, job: Job, watch: _Watch) -> bool:
        """Whether a job has had the time that a stop may take."""
        watch.asked = self._now() if watch.asked is None else watch.asked
        silent, waited = self._now() - watch.last_sign, self._now() - watch.asked
        if job.wish == "stop_now":
            return waited > STOP_GRACE_SECONDS[job.wish]
        if job.phase == SAVING:
            return silent > SAVING_GRACE_SECONDS
        return silent > STOP_GRACE_SECONDS[job.wish] or waited > DEAF_SECONDS

    def _hurry_out(self, process: Process, folder: Path, watch: _Watch) -> None:
        watch.result_seen = watch.result_seen or self._now()
        if self._now() - watch.result_seen > LINGER_SECONDS:
            processes.end_group(process, str(folder), force=True)

    # -- settling a dead one -------------------------------------------------------------------------------------

    def _settle(self, session: Session, job: Job, attempt: Attempt, watch: _Watch) -> None:
        """Give a job whose process is gone the state that its result, or the lack of one, tells."""
        folder = self._workspace.attempt(job.id, attempt.number)
        attempt.exit_code = processes.reap(attempt.pid) if attempt.pid else None
        attempt.ended_at = utc_now()
        self._watches.pop((job.id, attempt.number), None)
        if attempt.pid:
            processes.end_leftovers(attempt.pid, str(folder))
        temporary.delete_folder(folder)
        job.disk_bytes = folder_bytes(self._workspace.job(job.id))
        result = read_result(folder)
        if result is not None:
            self._settle_with_result(session, job, result)
        elif _was_killed_for_memory(attempt, watch):
            self._settle_with_result(session, job, Result(outcome="failed", reason="job.out_of_memory_killed"))
        elif job.wish in STOP_GRACE_SECONDS:
            move(session, job.id, "stopped", reason="job.stopped_by_force")
        elif attempt.pid is None:  # the server died between claiming the job and starting its process
            move(session, job.id, "queued", reason="job.never_started")
        elif attempt.number == _last_saving_attempt(session, job.id):
            move(session, job.id, "queued", reason="job.restarted_after_kill", values={"attempt": attempt.number})
        elif job.kind == "train" and attempt.number == _last_saving_attempt(session, job.id) + 1:
            move(session, job.id, "queued", reason="job.tried_again_after_kill", values={"attempt": attempt.number})
        else:  # killed twice in a row with nothing saved in between: a third time would end no better
            move(session, job.id, "lost", reason="job.lost", values={"exit_code": attempt.exit_code})

    def _settle_with_result(self, session: Session, job: Job, result: Result) -> None:
        job.figures = job.figures | result.figures
        reason, values, state = result.reason, result.values, result.outcome
        if state == "succeeded":
            try:
                take_product(session, self._workspace, job)
            except StudioError as error:  # a fetched folder that holds no usable model
                state, reason, values = "failed", error.code, error.values
            except OSError as error:
                _log.exception("Job %s: its product could not be taken over", job.id)
                state, reason, values = "failed", "job.product_lost", {"detail": error.strerror or str(error)}
        self._keep_measurement(session, job, state, reason)
        if not try_smaller(session, job, reason, values):
            move(session, job.id, state, reason=reason, values=values)
            pipelines.after(session, job)

    def _keep_measurement(self, session: Session, job: Job, state: str, reason: str | None) -> None:
        try:
            with session.begin_nested():
                take_measurement(session, self._workspace, job, state=state, reason=reason)
        except Exception:
            # A job must end, whatever its figures look like: this one only teaches the calculator nothing.
            _log.exception("Job %s: what memory it took could not be kept", job.id)

    # -- starting the next one -----------------------------------------------------------------------------------

    def _start_next(self) -> bool:
        """Claim and start the first waiting job that can; tells whether one was."""
        with self._writer.begin() as session:
            claimed = self._claim(session)
            if claimed is None:
                return False
            job_id, device = claimed
            spec = self._prepare_attempt(session, job_id, device)
        folder = self._workspace.attempt(job_id, spec.attempt)
        try:
            process = self._launch(spec)
        except OSError as error:
            temporary.delete_folder(folder)
            with self._writer.begin() as session:
                move(session, job_id, "failed", reason="job.could_not_start", values={"detail": error.strerror or ""})
            _log.exception("Job %s could not be started in %s", job_id, folder)
            return True
        with self._writer.begin() as session:
            attempt = session.get_one(Attempt, (job_id, spec.attempt))
            attempt.pid, attempt.process_started_at = process.pid, process.started_at
        return True

    def _claim(self, session: Session) -> tuple[int, str] | None:
        """Move the first job that can start to `starting`, with a device if it needs one."""
        decision = queueing.look(session, self._devices)
        if decision.evict is not None:
            wish(session, decision.evict, "stop_now")
        if decision.start is None:
            return None
        job_id, device = decision.start
        move(session, job_id, "starting")
        if device is not None:
            session.add(Lease(device=device, job_id=job_id))
        return job_id, device or "cpu"

    def _prepare_attempt(self, session: Session, job_id: int, device: str) -> Spec:
        """Enter the next attempt and write its spec.json."""
        job = session.get_one(Job, job_id)
        job.attempt += 1
        saved = saved_checkpoints(session, job_id) if job.attempt > 1 else []
        # Runs on several GPUs share the processors.
        threads = max(1, cpu_count() // len(self._devices)) if job.needs_device else 1
        folder = self._workspace.attempt(job_id, job.attempt)
        folder.mkdir(parents=True, exist_ok=True)
        spec = spec_of(session, job, self._workspace, device, threads, saved)
        spec = structs.replace(spec, temporary_path=str(temporary.make_folder(folder)))
        write_struct(folder / SPEC, spec)
        session.add(
            Attempt(
                job_id=job_id,
                number=job.attempt,
                started_at=utc_now(),
                event_offset=0,
                invalid_lines=0,
                start_step=next((each.step for each in [*saved, spec.start_from] if each), 0),
            )
        )
        return spec

    def _launch(self, spec: Spec) -> Process:
        folder = self._workspace.attempt(spec.job_id, spec.attempt)
        module = spec.values["method"] if spec.kind == "train" else spec.kind
        return processes.start(
            self._command(module, folder),
            folder=PROJECT_ROOT,
            log=folder / LOG,
            environment=environment_of(self._workspace, spec),
        )


def _was_killed_for_memory(attempt: Attempt, watch: _Watch) -> bool:
    """Whether the kernel ended this process, as far as can be told: it ended one, and this one did not end itself."""
    now = processes.oom_kills()
    has_ended_one = None not in (now, watch.oom_kills) and now > watch.oom_kills
    return has_ended_one and attempt.pid is not None and attempt.exit_code in (None, -signal.SIGKILL)


def resume(session: Session, job_id: int) -> None:
    """Queue an ended or paused job again, first in line; asked twice it changes nothing."""
    job = session.get_one(Job, job_id)
    if job.state in LIVE or job.state == "queued":
        return
    if move(session, job_id, "queued", reason="job.resumed"):
        first = session.scalar(select(func.min(Job.position)).where(Job.state == "queued")) or 0
        session.execute(update(Job).where(Job.id == job_id).values(position=first - 1, change=next_change(session)))
        record_event(session, job_id, type="resume", data={})


def _last_saving_attempt(session: Session, job_id: int) -> int:
    """The newest attempt that saved a checkpoint; 0 if none did."""
    return session.scalar(select(func.max(Checkpoint.attempt)).where(Checkpoint.job_id == job_id)) or 0
