"""A server that is killed again and again while jobs run, and what its registry says in the end.

    kill_servers(folder, kills=20, chance=random.Random(7))  ->  Reckoning(kills=20, jobs=14, events=8123, lost=0, ...)

Each server is a fork of this process that opens the workspace as the real one does (lock, registry, supervisor), with
jobs that follow the protocol and train nothing (`tests.fake_trainer`): short and long ones, some that fail, some that
are killed themselves, some with torn lines. The last server is left alone until nothing is left to do. Then every event
that a job wrote is looked for in the registry: it must stand there once.
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import select

from studio.db import jobs
from studio.db.engine import Reader
from studio.db.jobs import JobView, NewJob
from studio.db.tables import Job, JobEvent, MetricChunk
from studio.jobs import ingest
from studio.jobs.lifecycle import ENDED
from studio.jobs.supervisor import Supervisor
from studio.opening import open_studio
from studio.paths import Workspace
from studio.protocol import read_events

WAITING = 2
"""Jobs that are queued ahead."""
LIVES_SECONDS = (0.0, 1.5)
"""How long a server lives, from its first moment on; opening takes about 0.1 s."""


@dataclass
class Reckoning:
    kills: int
    jobs: int = 0
    events: int = 0
    lost: int = 0
    doubled: int = 0
    wrong_ends: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return self.events > 0 and not (self.lost or self.doubled or self.wrong_ends)


def kill_servers(folder: Path, *, kills: int, chance: random.Random) -> Reckoning:
    workspace = Workspace(folder).make()
    for _ in range(kills):
        pid = _server(workspace, queues=True, seed=chance.random())
        time.sleep(chance.uniform(*LIVES_SECONDS))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert os.waitpid(_server(workspace, queues=False, seed=0.0), 0)[1] == 0, "the last server left nothing undone"
    return reckon(workspace, kills)


# -- a server --------------------------------------------------------------------------------------------------------


def _server(workspace: Workspace, *, queues: bool, seed: float) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _serve(workspace, queues=queues, chance=random.Random(seed))
        code = 0
    finally:
        os._exit(code)


def _serve(workspace: Workspace, *, queues: bool, chance: random.Random) -> None:
    """Open the studio; queue jobs for ever, or stay until nothing runs or waits."""
    Supervisor.__init__.__kwdefaults__["command"] = _fake_command  # this process serves nothing else
    studio = open_studio(workspace)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with studio.registry.session() as session:
            num_waiting, is_idle = len(jobs.queue(session)), not (jobs.queue(session) or jobs.live(session))
        if not queues and is_idle:
            studio.close()
            return
        if queues and num_waiting < WAITING:
            studio.desk._queue(_job(chance))
        time.sleep(0.02)
    raise TimeoutError("the last server found no end")


def _fake_command(module: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.fake_trainer", module, str(folder)]


def _job(chance: random.Random) -> NewJob:
    steps = chance.randrange(5, 60)
    values = {"method": "sft", "steps": steps, "seconds_a_step": chance.choice([0.0, 0.005, 0.02]), "save_every": 5}
    fate = chance.choice(["fine", "fine", "fine", "fails", "dies", "bad line"])
    if fate == "fails":
        values["fail_at"] = chance.randrange(1, steps)
    elif fate == "dies":
        values |= {"die_at": chance.randrange(1, steps), "torn_line": True}
    elif fate == "bad line":
        values["bad_line"] = chance.randrange(1, steps)
    return NewJob(kind="train", method="sft", title=fate, values=values, needs_device=True)


# -- what the registry says ------------------------------------------------------------------------------------------


def reckon(workspace: Workspace, kills: int) -> Reckoning:
    """Compare every attempt's events.jsonl with the registry, and every job's end with what its values ask for."""
    found, reader = Reckoning(kills), Reader(workspace.registry)
    with reader.session() as session:
        for job_id in session.scalars(select(Job.id)):
            job = jobs.job(session, job_id)
            found.jobs += 1
            if problem := wrong_end(job):
                found.wrong_ends.append(f"{job.id} ({job.title}): {problem}")
            for attempt in range(1, job.attempt + 1):
                told = read_events(workspace.attempt(job_id, attempt), 0, limit_bytes=1 << 30).events
                written = Counter(event.seq for event in told if event.type in ingest._KEPT_AS_ROWS)
                rows = select(JobEvent.seq).where(JobEvent.job_id == job_id, JobEvent.attempt == attempt)
                points = Counter(event.data["step"] for event in told if event.type == "metric")
                for wanted, kept in (
                    (written, Counter(session.scalars(rows))),
                    (points, _points(session, job_id, attempt)),
                ):
                    found.events += wanted.total()
                    found.lost += (wanted - kept).total()
                    found.doubled += (kept - wanted).total()
    reader.close()
    return found


def wrong_end(job: JobView) -> str | None:
    """What is wrong with a job's state; None if it is what its values ask for."""
    dies_first = "die_at" in job.values and job.values["die_at"] < job.values["save_every"]
    wanted = {"fails": "failed"}.get(job.title, "lost" if dies_first else "succeeded")
    return None if job.state in ENDED and job.state == wanted else f"{job.state} ({job.reason}) instead of {wanted}"


def _points(session, job_id: int, attempt: int) -> Counter:
    chunks = session.scalars(
        select(MetricChunk.steps).where(
            MetricChunk.job_id == job_id, MetricChunk.attempt == attempt, MetricChunk.name == "loss"
        )
    )
    return Counter(int(step) for chunk in chunks for step in np.frombuffer(chunk, dtype=np.int64))
