"""Answers questions for chat and comparison over loopback HTTP: `python -m trainers.serve <attempt folder>`.

`docs/design.md`, section 10, has the requests. Answers come back as `sample` events, growing. The process leaves after
`idle_seconds` without questions, and at once when asked to stop: what it did not finish is asked again of the next one.
"""

import hmac
import json
import secrets
import threading
import time
import traceback
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import msgspec

from studio.errors import JobFailed
from studio.protocol import write_atomically
from trainers.attempt import Attempt, is_out_of_memory, run_attempt

SERVE = "serve.json"
MAX_BODY_BYTES = 64 << 20


class Settings(msgspec.Struct, frozen=True):
    """How an answer is made; more than these is ignored."""

    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)] = 42
    temperature: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    max_new_tokens: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 256


class Message(msgspec.Struct, frozen=True):
    role: str
    content: str


class Question(msgspec.Struct, frozen=True):
    """One answer that is wanted."""

    answer_id: int
    model_path: str
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    settings: Settings = Settings()
    adapter_path: str | None = None
    load_in_4bit: bool = False
    digest: str | None = None
    load_in_8bit: bool = False

    @property
    def base(self) -> tuple[str, bool, bool]:
        return self.model_path, self.load_in_4bit, self.load_in_8bit


class Line:
    """The questions that wait, shared between the HTTP threads and the one that answers."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, Question] = OrderedDict()
        self._known: set[int] = set()
        self._changed = threading.Condition()
        self._current: int | None = None
        self.cancelled = threading.Event()
        """Set when the answer being made is not wanted any more."""

    def add(self, question: Question) -> None:
        with self._changed:
            if question.answer_id not in self._known:
                self._known.add(question.answer_id)
                self._waiting[question.answer_id] = question
                self._changed.notify()

    def cancel(self, answer_ids: set[int]) -> None:
        with self._changed:
            for answer_id in answer_ids:
                self._waiting.pop(answer_id, None)
            if self._current in answer_ids:
                self.cancelled.set()

    def next(self, base: tuple[str, bool, bool] | None, *, wait_seconds: float) -> Question | None:
        """The oldest question for `base`, the model at hand, else the oldest of all; None if none comes in time."""
        with self._changed:
            self._current = None
            self._changed.wait_for(lambda: self._waiting, wait_seconds)
            if not self._waiting:
                return None
            chosen = next((q for q in self._waiting.values() if q.base == base), next(iter(self._waiting.values())))
            del self._waiting[chosen.answer_id]
            self._current = chosen.answer_id
            self.cancelled.clear()
            return chosen


def main(attempt: Attempt) -> dict[str, Any]:
    attempt.phase("loading_libraries")
    from trainers.models.loading import own_device

    line = Line()
    server = listen(attempt, line)
    try:
        answer_until_idle(attempt, line, own_device(attempt.spec.device))
    finally:
        (attempt.folder / SERVE).unlink(missing_ok=True)
        server.shutdown()
    return {}


def answer_until_idle(attempt: Attempt, line: Line, device: str) -> None:
    """Answer what comes in, one question at a time, until none has come for `idle_seconds`."""
    import torch
    import transformers

    from trainers.models.generation import Models

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(attempt.spec.threads or torch.get_num_threads())
    models, base = Models(device), None
    attempt.figures["answers"] = 0
    attempt.phase("serving")
    while question := line.next(base, wait_seconds=float(attempt.spec.values["idle_seconds"])):
        base = question.base
        answer(attempt, models, question, line.cancelled)


def answer(attempt: Attempt, models: Any, question: Question, cancelled: threading.Event) -> None:
    """Make one answer and report it; whatever goes wrong is that answer's error and nobody else's."""
    from trainers.models.generation import Place, Sampling

    same = ("model_path", "adapter_path", "load_in_4bit", "load_in_8bit", "digest")
    place = Place(**{name: getattr(question, name) for name in same})
    messages = [{"role": each.role, "content": each.content} for each in question.messages]
    started = time.monotonic()

    def growing(text: str, tokens: int) -> None:
        _sample(attempt, question.answer_id, text=text, tokens=tokens, seconds=time.monotonic() - started)

    if not models.holds(place):
        attempt.phase("loading_model")
    try:
        sampling = Sampling(**msgspec.structs.asdict(question.settings))
        made = models.answer(place, messages, sampling, on_text=growing, cancelled=cancelled)
    except Exception as error:
        # The outer edge of one answer.
        traceback.print_exc()
        _sample(attempt, question.answer_id, done=True, error=_code(error, models))
    else:
        if not cancelled.is_set():
            attempt.figures["answers"] += 1
            _sample(attempt, question.answer_id, text=made.text, tokens=made.tokens, seconds=made.seconds, done=True)
    if attempt.current_phase != "serving":
        attempt.phase("serving")


def listen(attempt: Attempt, line: Line) -> ThreadingHTTPServer:
    """Listen on a free loopback port, and say where in serve.json."""
    token = secrets.token_urlsafe(32)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, body = respond(attempt, line, self, token)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Each request in train.log would only hide what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    where = {"port": server.server_address[1], "token": token}
    write_atomically(attempt.folder / SERVE, json.dumps(where).encode(), mode=0o600)
    return server


def respond(attempt: Attempt, line: Line, request: BaseHTTPRequestHandler, token: str) -> tuple[int, dict[str, Any]]:
    """Status and body for one POST."""
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
        request.close_connection = True
        return 401, {"error": "a valid token is needed"}
    size = request.headers.get("Content-Length", "")
    if not size.isdigit() or int(size) > MAX_BODY_BYTES:
        request.close_connection = True
        return 413, {"error": f"a body of known length, at most {MAX_BODY_BYTES} bytes, is needed"}
    try:
        body = msgspec.json.decode(request.rfile.read(int(size)), type=dict[str, list])
        if request.path == "/answers":
            return _queue(attempt, line, body["answers"])
        if request.path == "/cancel":
            line.cancel(set(msgspec.convert(body["answer_ids"], list[int])))
            return 200, {}
    except (msgspec.MsgspecError, KeyError) as error:
        return 400, {"error": str(error)}
    return 404, {"error": "unknown path"}


def _queue(attempt: Attempt, line: Line, wanted: list[Any]) -> tuple[int, dict[str, Any]]:
    """Queue what can be read; a question that cannot is answered with an error if it says whose it is."""
    faults = []
    for each in wanted:
        try:
            line.add(msgspec.convert(each, Question))
        except msgspec.ValidationError as error:
            faults.append(str(error))
            if isinstance(each, dict) and isinstance(each.get("answer_id"), int):
                _sample(attempt, each["answer_id"], done=True, error="job.answer_bad_request")
    return (400 if faults and len(faults) == len(wanted) else 200), {"faults": faults}


def _sample(attempt: Attempt, answer_id: int, **fields: Any) -> None:
    fields = {"text": "", "done": False, "tokens": 0, "seconds": 0.0, "error": None} | fields
    fields["seconds"] = round(fields["seconds"], 3)
    attempt.events.write("sample", answer_id=answer_id, **fields)


def _code(error: Exception, models: Any) -> str:
    """The sentence behind a failed answer; these have no values to fill in."""
    if is_out_of_memory(error):
        models.forget()
        return "job.answer_out_of_memory"
    if isinstance(error, JobFailed):
        if error.reason == "template.unbounded":
            return "job.template.answer"
        return error.code if error.reason.startswith("answer_") else "job.answer_model_unreadable"
    return "job.answer_failed"


if __name__ == "__main__":
    run_attempt(main)
