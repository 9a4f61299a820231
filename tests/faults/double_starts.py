"""Two clients that press Train at the same instant, again and again, against the real server.

double_starts(folder, rounds=50)  ->  [1, 1, 1, ...]      runs that came of each round
"""

import json
import threading
from pathlib import Path

from studio.db import jobs
from studio.db.engine import Reader
from studio.jobs.lifecycle import ENDED
from studio.paths import workspace
from tests.e2e.server import Server, end_everything, wait_until
from tests.starter import put_starter, two_layers

SPEC = {"model_name_or_path": "starter", "dataset": "sums", "max_steps": 2}


def double_starts(folder: Path, *, rounds: int) -> list[int]:
    """The number of runs that each round queued; the queue is held, so that none of them starts."""
    place = workspace(folder).make()
    put_starter(two_layers(), place)
    rows = place.root / "sums.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": f"{i} + {i}?", "completion": f"{2 * i}"}) for i in range(40)))
    server = Server(place).start()
    try:
        imported = server.do("import_dataset", source=str(rows), name="sums")
        wait_until(lambda: _state(place, imported) in ENDED, seconds=120, what=server.log)
        server.do("rule_queue", start="by_hand")
        server.do("train", spec=SPEC, request_id="the model is looked at once")
        return [_round(place, server, f"round {number}") for number in range(rounds)]
    finally:
        server.stop()
        end_everything(place)


def _round(place, server: Server, request_id: str) -> int:
    before, at_once = _num_runs(place), threading.Barrier(2)

    def press() -> None:
        at_once.wait()
        server.do("train", spec=SPEC, request_id=request_id)

    presses = [threading.Thread(target=press) for _ in range(2)]
    for each in presses:
        each.start()
    for each in presses:
        each.join()
    return _num_runs(place) - before


def _num_runs(place) -> int:
    return _read(place, lambda session: len(jobs.list_jobs(session, kinds=("train",), limit=10_000)))


def _state(place, job_id: int) -> str:
    return _read(place, lambda session: jobs.job(session, job_id).state)


def _read(place, look):
    reader = Reader(place.registry)
    try:
        with reader.session() as session:
            return look(session)
    finally:
        reader.close()
