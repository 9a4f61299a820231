"""The job folder protocol: what server and job write for each other, and nothing else passes between them.

One job is one folder, one attempt one process (`docs/design.md`, section 2):

    jobs/<id>/attempts/<n>/spec.json      server, before the start: what to do, complete and resolved
                           events.jsonl   job, append only: what happened
                           train.log      job: stdout and stderr
                           control.json   server: the latest request (stop, stop_now, save, pause)
                           result.json    job, last: its existence means the attempt is complete
    jobs/<id>/checkpoints/step-<N>/       job: shared by all attempts

Both sides import this module; it starts nothing and keeps no state but `EventLog`'s counter.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

PROTOCOL_VERSION = 1
SPEC, EVENTS, LOG, CONTROL, RESULT = "spec.json", "events.jsonl", "train.log", "control.json", "result.json"

EVENT_TYPES = frozenset(
    {"metric", "phase", "progress", "memory", "peaks", "sample", "checkpoint", "set_aside", "alert", "log"}
    | {"confusion", "reward_scores", "rollout", "batch"}
)
REQUESTS = frozenset({"stop", "stop_now", "save", "pause"})
OUTCOMES = frozenset({"succeeded", "failed", "stopped", "paused"})


class DatasetRef(msgspec.Struct, frozen=True, kw_only=True):
    """A data set version as a job sees it."""

    name: str
    version: int
    path: str
    """Folder of the immutable version: rows.parquet, problems.parquet, manifest.json."""
    content_hash: str
    format: str
    """trl type of the rows, see `studio.workshop.versions.layout`."""
    rows: int
    """Usable rows on every side of the split."""
    splits: dict[str, int] = {}
    """Usable rows by side; empty where the version is not split."""

    @property
    def training_rows(self) -> int:
        """Rows that are neither for validation nor for the test."""
        return self.rows - self.splits.get("validation", 0) - self.splits.get("test", 0)


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """A registered model as a job sees it."""

    name: str
    path: str
    """Folder with config.json, tokenizer and safetensors."""
    content_hash: str


class CheckpointRef(msgspec.Struct, frozen=True, kw_only=True):
    """A saved step as the registry knows it."""

    step: int
    path: str
    digest: str
    """sha256 of its manifest."""


class AskedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a reward asks."""

    title: str
    place: dict[str, Any]
    """The fields of `trainers.models.generation.Place`: where its weights lie, and a checkpoint's digest."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """spec.json: everything an attempt needs; nothing in it is looked up again."""

    protocol: int = PROTOCOL_VERSION
    job_id: int
    attempt: int
    kind: str
    """train, inspect, prepare, serve, fetch, and others (`docs/design.md`)."""
    values: dict[str, Any]
    """Resolved parameters: those of `studio.params` for training, the kind's own otherwise."""
    checkpoints_path: str
    output_path: str
    """Folder for whatever else the job produces; the job makes it."""
    device: str = "cpu"
    """cpu, or cuda:<index>; what the lease gives."""
    threads: int | None = None
    """CPU threads the job may use; None leaves the library's default."""
    seed: int = 42
    dataset: DatasetRef | None = None
    old_dataset: DatasetRef | None = None
    """What the model learned before, where a run is to keep it."""
    model: ModelRef | None = None
    resume_from: list[CheckpointRef] = []
    """The job's checkpoints, newest first: the first that proves whole is gone on from. Empty for a fresh start."""
    start_from: CheckpointRef | None = None
    """A checkpoint of another run, to go on from where the job has none of its own."""
    weights_from: CheckpointRef | None = None
    """A checkpoint of another run whose weights this one begins with, all else anew: optimizer, schedule, data."""
    asked_models: dict[str, AskedModel] = {}
    """{name in the reward: where it lies} of the models that a reward asks (`studio.rewards.judges`)."""
    libraries: dict[str, str] = {}
    cache_path: str = ""
    """Folder for what runs share as it takes time to make (`trainers.rows.token_cache`); empty: nothing is shared."""
    temporary_path: str = ""
    """The attempt's `TMPDIR`, deleted when it has ended; empty: the system's own."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of events.jsonl. `data` by type:

    metric      step: int, epoch: float, values: {name: number}
    phase       name: str                        what the job is doing now (words: `phases.<name>` in the locale)
    progress    done: number, total: number, unit: str, seconds_left: float | None
    memory      phase: str, and *_bytes: int
    peaks       peak_bytes: int, phases: {name: bytes} (empty where they cannot be told apart), *_bytes: int; and the
                largest batches, {rows, tokens}: seen (trained on since the optimizer has states), tried, evaluated
    sample      answer_id: int, text: str (the whole answer so far), done: bool, tokens: int, seconds: float,
                error: str | None
    checkpoint  step: int, epoch: float, path: str, size_bytes: int, digest: str, metrics: {name: number},
                seconds: float (what saving it took)
    batch       rows: [[[text, whether it is learned]]] (the first ones), is_cut: bool, count: int (of all rows),
                tokens: int, learned: int                  the first batch of the attempt, as the model gets it
    rollout     step: int, row: int, question: str, answers: [{text, reward: number | None,
                values: {rule: number | None}}]
    reward_scores  step: int, and what `trainers.rewards.reward_scores.Figures` holds, of held-out pairs
    confusion   step: int, labels: [names], counts: [[int]] (rows: true label, columns: what was said),
                f1: [number | None]
    set_aside   step: int, path: str (where it lies now), files: [names]     a checkpoint that proved damaged
    alert       code: str, severity: info|warning|error, values: {}     (words: `alerts.<code>`)
    log         level: str, text: str
    """

    seq: int
    time: str
    type: str
    data: dict[str, Any]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """control.json: the newest request; a larger `number` supersedes a smaller one."""

    number: int
    request: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """result.json: how the attempt ended."""

    outcome: str
    """succeeded, failed, stopped or paused."""
    reason: str | None = None
    """A code below `errors.job.` in the locale files; None when it simply finished."""
    values: dict[str, Any] = {}
    """Fill the reason's sentence."""
    figures: dict[str, Any] = {}
    """Final figures, and for short jobs their answer (an inventory, a data set's manifest)."""
    exit_code: int = 0
    finished_at: str = ""


def utc_now() -> str:
    """Now as `2026-01-31T12:00:00.123456Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path` so that a reader sees the old file or the whole new one, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that a rename inside it survives a power cut (Windows cannot, and does not need to)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_struct(path: Path, value: msgspec.Struct) -> None:
    write_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=2))


def read_spec(folder: Path) -> Spec:
    return msgspec.json.decode((folder / SPEC).read_bytes(), type=Spec)


def read_control(folder: Path) -> Control | None:
    return _read_optional(folder / CONTROL, Control)


def read_result(folder: Path) -> Result | None:
    """The attempt's result, or None while there is none."""
    return _read_optional(folder / RESULT, Result)


def _read_optional(path: Path, kind: type) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        # Both sides write atomically, so an undecodable file is damage from outside: as good as absent.
        return None


class EventLog:
    """The job's end of events.jsonl: numbers the events and appends them, one write a line. Threads may share it."""

    def __init__(self, folder: Path, now: Callable[[], str] = utc_now) -> None:
        self._descriptor = os.open(folder / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lock = threading.Lock()
        self._seq = 0
        self._now = now

    def write(self, type: str, **data: Any) -> None:
        """Append one event. Non-finite numbers become null: JSON has none, and a null point is drawn as a gap.

        Raises:
            OSError: the disk is full or gone; the caller decides what that means for the run.
        """
        assert type in EVENT_TYPES, type
        with self._lock:
            event = Event(seq=self._seq, time=self._now(), type=type, data=data)
            self._append(msgspec.json.encode(event) + b"\n")
            self._seq += 1

    def _append(self, line: bytes) -> None:
        """The whole line or nothing of it: what fits on a full disk of half a line would spoil the next one."""
        before = os.fstat(self._descriptor).st_size
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True)
class EventBatch:
    events: list[Event]
    offset: int
    """Byte offset after the last whole line read."""
    invalid: int
    """Whole lines that are no event: counted, shown, skipped."""


_decode_event = msgspec.json.Decoder(Event).decode


def read_events(folder: Path, offset: int, *, limit_bytes: int = 4 << 20) -> EventBatch:
    """The whole lines of events.jsonl from `offset` on, at most about `limit_bytes` of them.

    A torn last line is left for the next call.
    """
    try:
        with (folder / EVENTS).open("rb") as file:
            file.seek(offset)
            data = file.read(limit_bytes)
            if b"\n" not in data and len(data) == limit_bytes:  # one line longer than the limit: take it whole
                data += file.readline()
    except FileNotFoundError:
        return EventBatch([], offset, 0)
    end = data.rfind(b"\n") + 1
    events, invalid = [], 0
    for line in data[:end].splitlines():
        try:
            events.append(_decode_event(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            invalid += 1
    return EventBatch(events, offset + end, invalid)
