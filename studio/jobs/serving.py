"""Brings open answers to a serve job: queues one when there is something to ask, and hands it the questions.

Asking is idempotent: the job ignores an answer id that it knows, so a new server, or a new serve job after the old one
gave way to training, is simply asked everything that is still open.
"""

import json
import logging
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from studio.db import checkpoints, comparisons, models
from studio.db.comparisons import AnswerView
from studio.db.engine import Writer
from studio.db.jobs import JobView, NewJob, add_job, list_jobs
from studio.errors import UnknownName
from studio.jobs.lifecycle import LIVE
from studio.params.tunings import is_compressed, keeps_model
from studio.paths import Workspace

IDLE_SECONDS = 300
"""A serve job without questions leaves after this long."""
_POLL_SECONDS = 0.3
_TIMEOUT_SECONDS = 5.0

_log = logging.getLogger(__name__)


class AnswerDesk:
    """A thread of the server; `start`, `stop`."""

    def __init__(self, workspace: Workspace, writer: Writer) -> None:
        self._workspace = workspace
        self._writer = writer
        self._asked: set[tuple[Path, int]] = set()
        self._idle_since_change: int | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            try:
                self.tick()
            except Exception:
                # A supervising loop: a serve job that vanished in mid-request must not end it.
                _log.exception("Open answers could not be handed on; the next round tries again.")

    def tick(self) -> None:
        """One round: make sure that a serve job exists for what is open, and ask it what it was not asked yet."""
        before = self._writer.num_changes
        if before == self._idle_since_change:
            return
        with self._writer.begin() as session:
            waiting = comparisons.open_answers(session)
            if not waiting:
                self._idle_since_change = before
                return
            server = _serve_job(session)
            if server is None:
                add_job(
                    session,
                    NewJob(kind="serve", title="serve", values={"idle_seconds": IDLE_SECONDS}, needs_device=True),
                )
                return
            if server.state not in LIVE:
                return
            folder = self._workspace.attempt(server.id, server.attempt)
            questions = _questions(session, [each for each in waiting if (folder, each.id) not in self._asked])
        address = _address(folder)
        if address and questions and _post(address, "/answers", {"answers": questions}):
            self._asked |= {(folder, question["answer_id"]) for question in questions}


def _serve_job(session: Session) -> JobView | None:
    """The serve job that runs or waits; one that was told to leave does not count."""
    found = list_jobs(session, kinds=("serve",), states=LIVE | {"queued"}, limit=5)
    staying = [job for job in found if job.wish is None]
    return staying[0] if staying else None


def _questions(session: Session, answers: list[AnswerView]) -> list[dict[str, Any]]:
    """What the serve job is told of each answer. A checkpoint that is gone fails its answers, and only those."""
    asked = comparisons.columns_of(session, {answer.comparison_id for answer in answers})
    questions = []
    for answer in answers:
        columns, settings = asked[answer.comparison_id]
        try:
            place = place_of(session, columns[answer.column])
        except UnknownName as error:
            failed = {"answer_id": answer.id, "text": "", "done": True, "error": error.code}
            comparisons.update_answer(session, failed)
            continue
        generation = {key: value for key, value in settings.items() if key != "system"}
        questions.append({"answer_id": answer.id, "messages": answer.messages, "settings": generation, **place})
    return questions


def place_of(session: Session, column: dict[str, Any]) -> dict[str, Any]:
    """Paths of what a column names: a base model alone, an adapter on it, or a full checkpoint, with its digest."""
    if column.get("checkpoint") is None:
        return {"model_path": models.model(session, column["model"]).path, "load_in_4bit": False}
    chosen = checkpoints.checkpoint(session, column["checkpoint"])
    if keeps_model(chosen.tuning):
        return {"model_path": chosen.path, "load_in_4bit": False, "digest": chosen.digest}
    base = models.model(session, chosen.model)
    return {
        "model_path": base.path,
        "adapter_path": chosen.path,
        "load_in_4bit": is_compressed(chosen.tuning) and not chosen.load_in_8bit,
        "load_in_8bit": chosen.load_in_8bit,
        "digest": chosen.digest,
    }


def _address(folder: Path) -> tuple[int, str] | None:
    """Port and token of a serve job, once it listens."""
    try:
        found = json.loads((folder / "serve.json").read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found["port"], found["token"]


def _post(address: tuple[int, str], path: str, body: dict[str, Any]) -> bool:
    port, token = address
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_TIMEOUT_SECONDS):
            return True
    except (urllib.error.URLError, OSError):
        return False  # it is starting, or just left: the next round looks again
