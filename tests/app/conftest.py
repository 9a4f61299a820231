"""A studio with something in it, and its server in a thread."""

import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from app.api import Studio
from app.context import Context
from studio.db.engine import Reader, Writer
from studio.desk import Desk
from studio.paths import Workspace
from tests.app.seeding import fill


@dataclass
class Filled:
    """A seeded workspace, opened as the server opens it, without the supervisor: nothing in it moves by itself."""

    workspace: Workspace
    writer: Writer
    studio: Studio
    ids: dict[str, int] = field(default_factory=dict)

    def context(self, language: str = "en") -> Context:
        return Context(language, self.studio.desk, self.studio.registry)


@pytest.fixture
def filled(workspace: Workspace) -> Iterator[Filled]:
    ids = fill(workspace)
    yield from opened(workspace, ids)


@pytest.fixture
def empty(workspace: Workspace) -> Iterator[Filled]:
    yield from opened(workspace, {})


def opened(workspace: Workspace, ids: dict[str, int]) -> Iterator[Filled]:
    writer = Writer(workspace.registry)
    reader = Reader(workspace.registry)
    yield Filled(workspace, writer, Studio(Desk(workspace, writer), reader, "token"), ids)
    reader.close()
    writer.close()


@pytest.fixture
def served(filled: Filled) -> Iterator[tuple[Filled, str]]:
    """The filled studio behind the real server; ends by itself."""
    with serving(filled.workspace, filled.studio) as url:
        yield filled, url


@contextmanager
def serving(workspace: Workspace, studio: Studio) -> Iterator[str]:
    """The real server in a thread, on a free port; its address."""
    from app.main import Address, serve

    urls: list[str] = []
    ready, leaving = threading.Event(), threading.Event()

    def listening(url: str) -> None:
        urls.append(url)
        ready.set()

    def run() -> None:
        with warnings.catch_warnings():
            # Gradio and what it stands on warn of their own old ways; ours still fail the build below.
            warnings.simplefilter("ignore", DeprecationWarning)
            address = Address(port=free_port())
            serve(workspace, studio, address, on_listening=listening, should_leave=leaving.is_set)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(60)
    yield urls[0]
    leaving.set()
    thread.join(15)
    assert not thread.is_alive()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
