"""The two ways to open the registry, and the only place where a connection is made.

`Writer` is the server's single writing connection behind one lock: SQLite before 3.51.3 can corrupt a WAL when several
connections write and checkpoint at once. Everything else reads through `Reader`, opened `mode=ro`, because a plain
connection's close can checkpoint and delete the WAL after a writer was killed.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool, StaticPool

from studio.db.reserve import Reserve
from studio.db.tables import Clock
from studio.errors import Failure

HEAD = "0006"
"""Newest migration; a test compares it with the folder `migrations/`."""
_PATIENCE_SECONDS = 30.0
"""So long a statement waits for another program that holds the file (a backup tool, an opened database browser)."""
SAFE_SQLITE = (3, 51, 3)
"""Before it, several connections that write and checkpoint at once can corrupt a WAL."""


class Writer:
    """The one connection that writes. Made once per server, after `studio.jobs.processes.hold_lock`."""

    def __init__(self, path: Path, *, reserve_bytes: int = 0) -> None:
        """
        Args:
            reserve_bytes: room to keep back beside the registry, given up when the disk is full.
        """
        self._lock = threading.RLock()
        self._reserve = Reserve(path.with_suffix(".reserve"), reserve_bytes) if reserve_bytes else None
        self._wants_reserve = reserve_bytes > 0
        self.num_changes = 0
        """Transactions that changed something, counted in memory: an idle loop looks here and lets the file be."""
        with _worded():
            self._engine = _writing_engine(path)
            _bring_up_to_date(self._engine)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """One short transaction: commits at the end, rolls back on any exception. Blocks other writers meanwhile.

        Raises:
            Failure: another program holds the file for longer than anybody waits, or the disk is full.
        """
        with (
            self._lock,
            self._giving_up_reserve(),
            _worded(),
            Session(self._engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session
            self.num_changes += "change" in session.info

    @contextmanager
    def _giving_up_reserve(self) -> Iterator[None]:
        """Where the disk is full the room that is kept back lets the next try through; it is taken again later."""
        try:
            yield
        except Failure as error:
            if self._reserve and error.code == "registry.full":
                self._reserve.give_up()
                self._wants_reserve = True
            raise
        if self._reserve and self._wants_reserve:
            self._wants_reserve = not self._reserve.hold()

    def close(self) -> None:
        with self._lock:
            self._engine.dispose()


class Reader:
    """Read-only sessions; cheap to open, each sees one consistent snapshot. Any process may hold one."""

    def __init__(self, path: Path) -> None:
        address = f"file:{quote(str(path))}?mode=ro"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(
                address, uri=True, check_same_thread=False, isolation_level=None, timeout=_PATIENCE_SECONDS
            )

        self._engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=32)
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

    @contextmanager
    def session(self) -> Iterator[Session]:
        with _worded(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def open_alone(path: Path, *, mode: str) -> Iterator[sqlite3.Connection]:
    """A plain connection for backup and restore: `mode` is ro, rw or rwc. Nothing else in the studio uses one.

    Raises:
        Failure: another program holds the file for longer than anybody waits.
    """
    address = f"file:{quote(str(path))}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=_PATIENCE_SECONDS)
    try:
        with _worded():
            yield connection
    finally:
        connection.close()


@contextmanager
def _worded() -> Iterator[None]:
    """SQLite's "database is locked" and "disk is full" as what they mean to a person."""
    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:
        if "database is locked" in str(error):
            raise Failure("registry.busy", seconds=int(_PATIENCE_SECONDS)) from error
        if "disk is full" in str(error):
            raise Failure("registry.full") from error
        raise


def is_sqlite_old(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    return version < SAFE_SQLITE


def next_change(session: Session) -> int:
    """The registry's next change number, taken once per transaction. Rows that a page shows are stamped with it."""
    if "change" not in session.info:
        session.info["change"] = session.scalar(update(Clock).values(change=Clock.change + 1).returning(Clock.change))
    return session.info["change"]


def _writing_engine(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=_PATIENCE_SECONDS)
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _bring_up_to_date(engine: Engine) -> None:
    """Run the migrations that are missing. Alembic is imported only then: it costs a start 0.3 s."""
    with engine.connect() as connection:
        known = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").scalar()
        version = known and connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if version != HEAD:
        from studio.db.migrate import upgrade

        upgrade(engine)
