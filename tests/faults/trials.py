"""One trial of each kind: a run is hurt at a random moment, the studio is left alone, and the end is compared.

    kill_trial(studio, "lora", reference, random.Random(7))  ->  Trial(kind="kill", detail="1.31 s", is_survived=True)

Survived means: the run ended as succeeded without a person, and its last weights are those of the run that nobody
disturbed, bit for bit.
"""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from studio.jobs.lifecycle import ENDED
from studio.protocol import RESULT, read_events
from tests.faults.studio import PATIENCE_SECONDS, SAVE_STEPS, STEPS, FaultStudio
from trainers.checkpoints.manifest import MANIFEST, TEMPORARY_PREFIX

STOP_SECONDS = 15.0
"""Within which a job that was asked to end is gone, all that it started included."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    kind: str
    tuning: str
    """The way of training, a name of `tests.faults.ways`."""
    detail: str
    is_survived: bool
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The run that nobody disturbed."""

    seconds: float
    weights: bytes


def undisturbed(studio: FaultStudio, tuning: str) -> Reference:
    began = time.monotonic()
    job_id = studio.train(tuning)
    job = studio.until_ended(job_id)
    assert job.state == "succeeded", job
    return Reference(seconds=time.monotonic() - began, weights=studio.final_weights(job_id))


# -- kills -----------------------------------------------------------------------------------------------------------


def kill_trial(studio: FaultStudio, tuning: str, reference: Reference, chance: random.Random) -> Trial:
    """SIGKILL at any moment from the first on."""
    wait = chance.uniform(0, reference.seconds)
    job_id = studio.train(tuning)
    began = time.monotonic()
    studio.until(lambda: studio.pid(job_id) and time.monotonic() - began > wait)
    _kill(studio.pid(job_id))
    return _outcome("kill", studio, job_id, reference, f"after {wait:.2f} s")


def kill_in_save_trial(studio: FaultStudio, tuning: str, reference: Reference, chance: random.Random) -> Trial:
    """SIGKILL while a checkpoint is written: a random one, at a random number of its files."""
    step = chance.choice(range(SAVE_STEPS, STEPS + 1, SAVE_STEPS))
    num_files = chance.randrange(9)
    job_id = studio.train(tuning)
    studio.until(lambda: studio.pid(job_id))
    pid, folder = studio.pid(job_id), studio.workspace.checkpoints(job_id)
    written = _wait_for_save(folder / f"{TEMPORARY_PREFIX}step-{step}-{pid}", num_files, pid)
    _kill(pid)
    return _outcome("kill in a save", studio, job_id, reference, f"step {step}, {written} files written")


def _wait_for_save(folder: Path, num_files: int, pid: int) -> int:
    """Wait until so many files of a save stand there, or the save is over; gives how many there were."""
    deadline, seen = time.monotonic() + PATIENCE_SECONDS, 0
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        try:
            seen = sum(len(names) for _, _, names in os.walk(folder))
        except OSError:
            continue
        if seen and seen >= num_files:
            return seen
        if seen and not folder.exists():
            return seen
    return seen


# -- stops -----------------------------------------------------------------------------------------------------------


def stop_trial(studio: FaultStudio, tuning: str, reference: Reference, chance: random.Random) -> Trial:
    """A stop, a stop at once or a pause at any moment; then the run is resumed. One that had ended is no trial."""
    while True:
        wait, request = chance.uniform(0, reference.seconds), chance.choice(["stop", "stop_now", "pause"])
        job_id = studio.train(tuning)
        began = time.monotonic()
        studio.until(
            lambda wait=wait, job_id=job_id, began=began: studio.pid(job_id) and time.monotonic() - began > wait
        )
        pid, phase = studio.pid(job_id), studio.job(job_id).phase
        if studio.job(job_id).state not in ENDED:
            break
    studio.wish(job_id, request)
    asked = time.monotonic()
    ended = studio.until_ended(job_id)
    while _group(pid) and time.monotonic() - asked < STOP_SECONDS:
        time.sleep(0.05)  # what was killed needs a moment to give its memory back
    seconds = time.monotonic() - asked
    detail = f"{request} while {phase}, gone in {seconds:.2f} s"
    problem = ""
    if seconds > STOP_SECONDS or _group(pid):
        problem = f"not gone: {_group(pid)}"
    elif ended.state not in {"stopped", "paused", "succeeded"}:
        problem = f"{ended.state}: {ended.reason}"
    if problem:
        return Trial(kind="stop", tuning=tuning, detail=detail, is_survived=False, problem=problem)
    studio.resume(job_id) if ended.state != "succeeded" else None
    return _outcome("stop", studio, job_id, reference, detail)


def _group(pid: int) -> list[int]:
    """Processes that are left of a job's session."""
    found = []
    for each in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(each) == pid and psutil.Process(each).status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


# -- damage ----------------------------------------------------------------------------------------------------------


def damage_trial(studio: FaultStudio, tuning: str, reference: Reference, chance: random.Random) -> Trial:
    """SIGKILL after some checkpoints, and the newest one is damaged before the studio looks at it."""
    name, damage = chance.choice(list(DAMAGES.items()))
    job_id, attempt = _killed_with_checkpoints(studio, tuning, chance.randrange(2, STEPS // SAVE_STEPS))
    told = [event.data for event in read_events(attempt, 0).events if event.type == "checkpoint"]
    newest = Path(told[-1]["path"])
    detail = damage(newest, Path(told[0]["path"]), chance)
    trial = _outcome("damage", studio, job_id, reference, f"{name}: {detail}")
    aside = studio.set_aside(job_id)
    expected = [] if name in HARMLESS else [told[-1]["step"]]
    if trial.is_survived and aside != expected:
        return Trial(
            kind=trial.kind, tuning=tuning, detail=trial.detail, is_survived=False, problem=f"set aside {aside}"
        )
    return trial


def _killed_with_checkpoints(studio: FaultStudio, tuning: str, wanted: int) -> tuple[int, Path]:
    """A run that was killed with so many checkpoints or more, and its attempt; not one that had ended by then."""
    while True:
        job_id = studio.train(tuning)
        studio.until(lambda job_id=job_id: len(studio.saved(job_id)) >= wanted)
        _kill(studio.pid(job_id))
        attempt = studio.workspace.attempt(job_id, 1)
        if not (attempt / RESULT).exists():
            return job_id, attempt
        studio.until_ended(job_id)


def _flip(folder: Path, older: Path, chance: random.Random) -> str:
    path = _any_file(folder, chance)
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"{path.name} at byte {place}"


def _cut(folder: Path, older: Path, chance: random.Random) -> str:
    path = _any_file(folder, chance)
    size = chance.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{path.name} to {size} bytes"


def _zero(folder: Path, older: Path, chance: random.Random) -> str:
    path = _any_file(folder, chance)
    path.write_bytes(bytes(path.stat().st_size))
    return path.name


def _remove(folder: Path, older: Path, chance: random.Random) -> str:
    path = _any_file(folder, chance)
    path.unlink()
    return path.name


def _swap(folder: Path, older: Path, chance: random.Random) -> str:
    """A file of an older checkpoint of the same run, whole in itself and of the right size."""
    files = [each for each in _files(folder) if (older / each.name).read_bytes() != each.read_bytes()]
    path = chance.choice(files)
    shutil.copyfile(older / path.name, path)
    return path.name


def _swap_all(folder: Path, older: Path, chance: random.Random) -> str:
    """The whole older checkpoint, manifest and all, under the newer one's name."""
    shutil.rmtree(folder)
    shutil.copytree(older, folder)
    return older.name


def _remove_all(folder: Path, older: Path, chance: random.Random) -> str:
    shutil.rmtree(folder)
    return folder.name


def _leave_a_torso(folder: Path, older: Path, chance: random.Random) -> str:
    """What a save cut short leaves: some files under the temporary name, the last one cut."""
    torso = folder.with_name(f"{TEMPORARY_PREFIX}step-{STEPS}-1")
    torso.mkdir()
    files = _files(folder)
    for path in files[: chance.randrange(1, len(files))]:
        shutil.copyfile(path, torso / path.name)
    last = sorted(torso.iterdir())[-1]
    os.truncate(last, chance.randrange(last.stat().st_size))
    return f"{len(list(torso.iterdir()))} files"


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.name != MANIFEST)


def _any_file(folder: Path, chance: random.Random) -> Path:
    return chance.choice([*_files(folder), folder / MANIFEST])


Damage = Callable[[Path, Path, random.Random], str]
DAMAGES: dict[str, Damage] = {
    "a flipped bit": _flip,
    "a file cut short": _cut,
    "a file of zeros": _zero,
    "a missing file": _remove,
    "a file of an older checkpoint": _swap,
    "an older checkpoint under its name": _swap_all,
    "a missing checkpoint": _remove_all,
    "a save cut short": _leave_a_torso,
}
HARMLESS = {"a save cut short"}
"""The newest whole checkpoint stays the newest whole one."""


# -- both ------------------------------------------------------------------------------------------------------------


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.005)


def _outcome(kind: str, studio: FaultStudio, job_id: int, reference: Reference, detail: str) -> Trial:
    job = studio.until_ended(job_id)
    problem = ""
    if job.state != "succeeded":
        problem = f"{job.state}: {job.reason}"
    elif studio.final_weights(job_id) != reference.weights:
        problem = "other weights"
    shutil.rmtree(studio.workspace.job(job_id))
    return Trial(kind=kind, tuning=job.title, detail=detail, is_survived=not problem, problem=problem)


TRIALS = {"kill": kill_trial, "kill in a save": kill_in_save_trial, "stop": stop_trial, "damage": damage_trial}
