"""Seconds of a rollback through the desk: the best of five, back and forth between two versions.

    python -m tests.bench.rollback [--rows 200000]

Only a pointer moves, so the size of the versions must not matter; it is a real version, imported from real chats.
"""

import argparse
import tempfile
import time
from pathlib import Path

import msgspec

from studio.db import datasets
from studio.db.engine import Writer
from studio.desk import Desk
from studio.paths import Workspace
from studio.workshop.versions.build import import_file
from tests.bench.import_speed import write_chats
from tests.bench.machine import load


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "studio").make()
        write_chats(Path(folder) / "rows.jsonl", asked.rows)
        writer = Writer(workspace.registry)
        for number in (1, 2):
            path = workspace.datasets / "chats" / f"v{number}"
            manifest = msgspec.to_builtins(import_file(Path(folder) / "rows.jsonl", path))
            with writer.begin() as session:
                owner = datasets.reserve(session, "chats")
                datasets.add_version(session, owner, number=number, path=str(path), job_id=1, manifest=manifest)
        seconds = [_rolled_back(Desk(workspace, writer), version) for version in (1, 2, 1, 2, 1)]
        writer.close()
    print(f"rollback: {1000 * min(seconds):.1f} ms, at most 100 (load {load()})")  # noqa: T201


def _rolled_back(desk: Desk, version: int) -> float:
    began = time.perf_counter()
    desk.rollback_dataset("chats", version)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
