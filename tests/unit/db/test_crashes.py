"""The registry survives SIGKILL at any write, a WAL cut at any byte, and other programs that lock it."""

import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.db import engine, jobs, metrics
from studio.db.engine import Reader, Writer, is_sqlite_old
from studio.db.jobs import NewJob
from studio.errors import Failure


class Writing:
    """A forked process that commits one run after another, and says so after each, until it is killed."""

    def __init__(self, file: Path, first: int) -> None:
        told, telling = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _write(file, first, telling)
            finally:
                os._exit(1)
        os.close(telling)
        self.told = os.fdopen(told, "rb", buffering=0)

    def wait_for_one(self) -> None:
        """Until it has told one more run."""
        assert select.select([self.told], [], [], 60)[0], "it writes nothing"
        assert self.told.readline()

    def kill(self) -> int:
        """SIGKILL it; how many more runs it had told by then."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        with self.told:
            return len(self.told.read().splitlines())


def _write(file: Path, first: int, telling: int) -> None:
    writer = Writer(file)
    for number in range(first, 10**6):
        with writer.begin() as session:
            new = NewJob(kind="train", title=str(number), values={"filler": "x" * 700}, needs_device=True)
            job_id = jobs.add_job(session, new)
            metrics.append(session, job_id, 1, {"loss": [(step, float(number)) for step in range(300)]})
        os.write(telling, b"%d\n" % number)


def titles(file: Path) -> list[str]:
    """Runs in a registry that a server has just opened, once it is proved whole."""
    writer = Writer(file)
    try:
        with writer.begin() as session:
            assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert session.connection().exec_driver_sql("PRAGMA foreign_key_check").first() is None
            whole = session.connection().exec_driver_sql(
                "SELECT count(*) FROM jobs LEFT JOIN metric_chunks c ON c.job_id = jobs.id WHERE c.count IS NOT 300"
            )
            assert whole.scalar() == 0, "a run without its curve is half a transaction"
            return [job.title for job in reversed(jobs.list_jobs(session, limit=100_000))]
    finally:
        writer.close()


def test_a_writer_killed_at_random_moments_loses_nothing_that_it_had_committed(tmp_path: Path) -> None:
    file, chance, told = tmp_path / "registry.sqlite", random.Random(5), 0
    Writer(file).close()
    for _ in range(15):
        writing = Writing(file, told)
        writing.wait_for_one()
        time.sleep(chance.uniform(0, 0.15))
        told += 1 + writing.kill()
        found = titles(file)
        assert found == [str(number) for number in range(len(found))]
        assert told <= len(found) <= told + 1, "all that was told, and at most the one that was not told yet"
        told = len(found)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registry with a WAL of many transactions, as a killed server leaves it."""
    file = tmp_path_factory.mktemp("image") / "registry.sqlite"
    Writer(file).close()
    writing = Writing(file, 0)
    for _ in range(40):
        writing.wait_for_one()
    writing.kill()
    assert file.with_name("registry.sqlite-wal").stat().st_size > 200_000
    yield file


def cut_copy(image: Path, folder: Path, size: int, *, garbage: bytes = b"") -> Path:
    folder.mkdir()
    shutil.copy(image, folder / image.name)
    wal = image.with_name(image.name + "-wal").read_bytes()
    (folder / f"{image.name}-wal").write_bytes(wal[:size] + garbage)
    return folder / image.name


def test_a_wal_cut_at_any_byte_leaves_a_prefix(image: Path, tmp_path: Path) -> None:
    whole = image.with_name(image.name + "-wal").stat().st_size
    chance = random.Random(7)
    frame = 24 + 4096
    edges = [0, 1, 31, 32, 33, 32 + 24, 32 + frame - 1, 32 + frame, 32 + frame + 1, whole - 1, whole]
    counts = []
    for place, size in enumerate(sorted([*edges, *(chance.randrange(whole) for _ in range(40))])):
        found = titles(cut_copy(image, tmp_path / str(place), size))
        assert found == [str(number) for number in range(len(found))], size
        counts.append(len(found))
        shutil.rmtree(tmp_path / str(place))
    assert counts == sorted(counts), "a longer WAL never holds less"
    assert counts[0] == 0 and counts[-1] >= 40


def test_a_torn_end_of_the_wal_is_left_out(image: Path, tmp_path: Path) -> None:
    whole = image.with_name(image.name + "-wal").stat().st_size
    chance = random.Random(9)
    for place in range(12):
        size = chance.randrange(whole)
        found = titles(cut_copy(image, tmp_path / str(place), size, garbage=chance.randbytes(5000)))
        assert found == [str(number) for number in range(len(found))], size


# -- other programs --------------------------------------------------------------------------------------------------


HOLDING = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
held.execute("COMMIT")
"""


def hold(file: Path, seconds: float) -> subprocess.Popen[str]:
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(file), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert holding.stdout is not None and holding.stdout.readline() == "held\n"
    return holding


def a_run(writer: Writer) -> int:
    with writer.begin() as session:
        return jobs.add_job(session, NewJob(kind="train", title="t", values={}, needs_device=True))


@pytest.mark.parametrize("seconds", [1.5, pytest.param(10.0, marks=pytest.mark.slow)])
def test_a_lock_of_another_program_is_waited_for_while_reading_goes_on(tmp_path: Path, seconds: float) -> None:
    file = tmp_path / "registry.sqlite"
    writer = Writer(file)
    first = a_run(writer)
    holding, began = hold(file, seconds), time.monotonic()
    reader = Reader(file)
    with reader.session() as session:
        assert jobs.job(session, first).title == "t"
    assert time.monotonic() - began < 0.5
    assert a_run(writer) == first + 1
    assert time.monotonic() - began > seconds - 0.5
    reader.close()
    writer.close()
    holding.wait()
    holding.stdout.close()


def test_a_lock_that_lasts_is_told_in_words_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_PATIENCE_SECONDS", 0.2)
    file = tmp_path / "registry.sqlite"
    writer = Writer(file)
    holding = hold(file, 20)
    with pytest.raises(Failure) as told:
        a_run(writer)
    assert "database is locked" not in str(told.value) and "registry" in str(told.value)
    with pytest.raises(Failure):
        Writer(file)
    holding.kill()
    holding.wait()
    holding.stdout.close()
    assert a_run(writer) == 1
    writer.close()


@pytest.mark.parametrize(("version", "is_old"), [((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), False)])
def test_an_sqlite_that_may_corrupt_a_wal_is_known(version: tuple[int, ...], is_old: bool) -> None:
    assert is_sqlite_old(version) is is_old
    assert is_sqlite_old() is (sqlite3.sqlite_version_info < (3, 51, 3))
