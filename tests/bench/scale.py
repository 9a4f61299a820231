"""10,000 runs of 1,000 points each: how long the pages' answers and the start take.

    python -m tests.bench.scale [--runs 10000] [--points 1000] [--keep FOLDER] [--start]

The registry is filled with rows as the server writes them (by many at once, in one transaction a thousand), then each
look is asked 40 times, all handlers as the pages call them, with nothing cached between two looks but the file.
"""

import argparse
import json
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from sqlalchemy import insert, update

from app.context import Context
from app.pages import home, runs, shell
from app.series import SeriesCache, SeriesQuery
from studio.db.engine import Reader, Writer
from studio.db.metrics import CHUNK_POINTS
from studio.db.tables import Checkpoint, Clock, Job, JobEvent, JobNote, JobTag, MetricChunk
from studio.desk import Desk
from studio.params.table import parameters
from studio.paths import Workspace
from tests.app.seeding import add_starter
from tests.bench.machine import load
from tests.e2e.server import Server

LOOKS = 40
STATES = ("succeeded", "failed", "stopped", "succeeded", "lost", "succeeded")
TIME = "2026-03-01T12:00:00.000000Z"


def fill(workspace: Workspace, num_runs: int, num_points: int) -> None:
    """A registry as it looks after years."""
    writer = Writer(workspace.registry)
    values = {each.name: each.default for each in parameters("sft")}
    reasons = {name: {"reason": "clipping", "values": {}, "source": "S", "value": 1} for name in values}
    steps = np.arange(1, num_points + 1, dtype="<i8")
    with writer.begin() as session:
        model = add_starter(session)
    for first in range(1, num_runs + 1, 1000):
        numbers = range(first, min(first + 1000, num_runs + 1))
        with writer.begin() as session:
            session.execute(insert(Job), [_job(number, model, values) for number in numbers])
            session.execute(insert(JobTag), [{"job_id": n, "tag": f"study {n % 97}"} for n in numbers if n % 3 == 0])
            session.execute(
                insert(JobNote), [{"job_id": n, "text": f"Looked at {n}; fine."} for n in numbers if n % 20 == 0]
            )
            session.execute(insert(JobEvent), [each for n in numbers for each in _events(n, reasons)])
            session.execute(insert(Checkpoint), [_checkpoint(n, step) for n in numbers for step in (500, num_points)])
            chunks = [each for n in numbers for each in _chunks(n, steps)]
            session.execute(insert(MetricChunk), chunks)
    with writer.begin() as session:
        session.execute(update(Clock).values(change=num_runs, last_job=num_runs, last_checkpoint=2 * num_runs))
    writer.close()


def _job(number: int, model: int, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number, "kind": "train", "method": "sft", "tuning": "lora", 
        "title": f"experiment {number} of series {number % 311}",
        "state": STATES[number % len(STATES)], "reason_values": {}, "wish_number": 0, "position": number,
        "needs_device": True, "values": values | {"learning_rate": 1e-4 * (number % 9 + 1), "seed": number},
        "chosen": ["learning_rate", "seed"], "figures": {"eval_loss": 1.5, "train_seconds": 60.0}, "model_id": model,
        "attempt": 1, "last_metrics": {"loss": 1.25, "learning_rate": 1e-6, "step": 1000}, "change": number,
        "created_at": TIME, "started_at": TIME, "finished_at": TIME, "is_archived": number % 10 == 0,
        "disk_bytes": 40_000_000 + number, "request_id": None, "reason": None,
    }  # fmt: skip


def _events(number: int, reasons: dict[str, Any]) -> list[dict[str, Any]]:
    same = {"job_id": number, "time": TIME}
    told = [
        ("state", {"to": "queued"}),
        ("state", {"from": "queued", "to": "starting"}),
        ("plan", {"reasons": reasons}),
    ]
    rows = [same | {"attempt": 0, "seq": None, "type": kind, "data": data} for kind, data in told]
    phases = [{"name": "training"}, {"name": "saving"}]
    return rows + [same | {"attempt": 1, "seq": seq, "type": "phase", "data": data} for seq, data in enumerate(phases)]


def _checkpoint(number: int, step: int) -> dict[str, Any]:
    return {
        "job_id": number, "attempt": 1, "step": step, "epoch": step / 1000, "path": f"/jobs/{number}/{step}",
        "size_bytes": 20_000_000, "digest": "0" * 64, "metrics": {"loss": 1.2}, "created_at": TIME,
    }  # fmt: skip


def _chunks(number: int, steps: np.ndarray) -> list[dict[str, Any]]:
    found = []
    for name, height in (("loss", 2.0), ("learning_rate", 1e-4), ("grad_norm", 0.5)):
        curve = (height * np.exp(-steps / 400) + height * 0.05 * np.sin(steps * number)).astype("<f8")
        for place in range(0, len(steps), CHUNK_POINTS):
            part = slice(place, place + CHUNK_POINTS)
            key = {"job_id": number, "name": name, "attempt": 1, "number": place // CHUNK_POINTS}
            found.append(
                key | {"count": len(steps[part]), "steps": steps[part].tobytes(), "values": curve[part].tobytes()}
            )
    return found


def looks(context: Context, num_runs: int) -> dict[str, Callable[[int], Any]]:
    """What is measured: each is asked with its turn's number, so that no two asks are the same."""
    some = [1 + (turn * 7919) % num_runs for turn in range(LOOKS)]

    def search(text: Callable[[int], str]) -> Callable[[int], Any]:
        return lambda turn: runs.search(context, text(some[turn]), "")

    def narrowed(**state: Any) -> Callable[[int], Any]:
        return lambda turn: runs.draw_list(context, state, "")

    def curves(turn: int) -> Any:
        numbers = tuple(some[turn : turn + 4])
        return SeriesCache(context.registry).answer(
            SeriesQuery(runs=numbers, metrics=("loss", "learning_rate", "grad_norm"))
        )

    return {
        "list, first page": lambda turn: runs.draw(context, {}),
        "list, last page": narrowed(start=num_runs * 9 // 10 - 50),
        "list of the archive": narrowed(archived=True),
        "filter by state": narrowed(state="failed"),
        "filter by tag": narrowed(tag="study 12"),
        "filter by model and state": narrowed(model="starter", state="lost"),
        "search a word in all names": search(lambda number: "series"),
        "search one name": search(lambda number: f"experiment {number} "),
        "search what is in none": search(lambda number: f"nothing {number}"),
        "search a number": search(str),
        "detail": lambda turn: runs.draw(context, {"run": str(some[turn])}),
        "four runs side by side": lambda turn: runs.draw(context, {"runs": ",".join(map(str, some[turn : turn + 4]))}),
        "curves of four runs, first asked": curves,
        "top bar": lambda turn: shell.bar_html(context, {}, page="runs"),
        "home": lambda turn: home.draw(context, {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--keep", type=Path, help="fill this folder, or use it as it was filled before")
    parser.add_argument("--start", action="store_true", help="also start a server on it, and measure until it answers")
    asked = parser.parse_args()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="luthier-scale-"))
    workspace = Workspace(folder).make()
    began = time.monotonic()
    if not workspace.registry.exists():
        fill(workspace, asked.runs, asked.points)
    size = workspace.registry.stat().st_size
    report = {"load": load(), "runs": asked.runs, "registry_bytes": size, "fill_seconds": time.monotonic() - began}
    print(json.dumps(report))  # noqa: T201
    writer, reader = Writer(workspace.registry), Reader(workspace.registry)
    context = Context("en", Desk(workspace, writer), reader)
    for name, look in looks(context, asked.runs).items():
        seconds = []
        for turn in range(LOOKS):
            began = time.perf_counter()
            look(turn)
            seconds.append(time.perf_counter() - began)
        p95 = statistics.quantiles(seconds, n=20)[-1]
        print(f"{name:34} median {1000 * statistics.median(seconds):6.1f} ms   p95 {1000 * p95:6.1f} ms", flush=True)  # noqa: T201
    reader.close()
    writer.close()
    if asked.start:
        empty = Workspace(Path(tempfile.mkdtemp(prefix="luthier-empty-"))).make()
        for name, place in (("empty", empty), ("full", workspace)) * 3:
            wall, cpu = _start(place)
            told = f"start, {name} registry: {wall:.1f} s until a page is there, {cpu:.1f} s of processor"
            print(f"{told}, load {load()}", flush=True)  # noqa: T201
        shutil.rmtree(empty.root)
    if not asked.keep:
        shutil.rmtree(folder)


def _start(workspace: Workspace) -> tuple[float, float]:
    """Seconds until the Runs page is answered, and seconds of processor that the server took till its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    server = Server(workspace).start()
    shown = {"Authorization": f"Bearer {json.loads(workspace.server_json.read_text())['token']}"}
    urlopen(Request(f"{server.url}/en/runs", headers=shown), timeout=60).read()
    seconds = time.monotonic() - began
    server.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
