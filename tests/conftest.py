"""What all tests share: the socket guard, a workspace, the starter model, a browser, and which tests run.

By default `slow`, `gpu` and `network` tests are left out; `--all` adds the slow ones, and the gpu ones where there is a
GPU. Naming markers with `-m` switches this off and runs what is named.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import start
from studio.db.engine import Writer
from studio.paths import Workspace, workspace
from tests import examples
from tests.starter import put_starter, two_layers, whole_starter

GUARD = Path(__file__).parent / "guard"
SOCKET_LOG = "LUTHIER_SOCKET_LOG"
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The browser is no Python process, so it has its own guard: no name but this machine's is ever found.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests too, and the gpu ones where there is a GPU")
    parser.addoption("--pictures", metavar="FOLDER", help="have the browser test write a picture of every page there")


def pytest_configure(config: pytest.Config) -> None:
    """Before anything of the studio's heavier parts is imported: no network, no calls home, no real workspace."""
    examples.is_whole = config.option.all
    config.option.loadscopereorder = False  # pytest-xdist would begin with the groups of most tests, not the longest
    config.stash[SCRATCH] = tempfile.mkdtemp(prefix="luthier-tests-")
    scratch = Path(config.stash[SCRATCH])
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist writes to the log of the process that started it
        os.environ[SOCKET_LOG] = str(scratch / "sockets.log")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # A thread that waits for its siblings sleeps: spinning takes the cores from the browser and the other worker's
    # tests, and a step of training then takes more than twice as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["LUTHIER_HOME"] = str(scratch / "home")
    spec = importlib.util.spec_from_file_location("tests_socket_guard", GUARD / "sitecustomize.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


SCRATCH = pytest.StashKey[str]()
LONGEST = (
    "test_main_path",
    "test_data_browser",
    "test_cli",
    "test_browser",
    "test_pages",
    "test_sft",
    "test_doors",
    "test_serve",
    "test_label_page",
    "test_general_rows",
    "test_continual",
    "test_preference",
    "test_probe_memory",
    "test_rewarded",
    "test_score",
    "test_tunings",
)
"""What takes longest comes first, so that the short ones fill up what the workers have left at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    if config.option.markexpr:
        return
    left_out = {"network"}
    if not config.option.all:
        left_out |= {"slow", "gpu"}
    elif not start.has_nvidia_gpu():
        left_out.add("gpu")
    skipped = [item for item in items if any(item.get_closest_marker(name) for name in left_out)]
    config.hook.pytest_deselected(items=skipped)
    items[:] = [item for item in items if item not in set(skipped)]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """One refused address fails the session, even where the code that asked for it took the error silently."""
    if outside_addresses() and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if outside_addresses():
        terminalreporter.section("addresses outside this machine were asked for", red=True)
        terminalreporter.write_line(outside_addresses())


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[SCRATCH], ignore_errors=True)


def outside_addresses() -> str:
    log = Path(os.environ[SOCKET_LOG])
    return log.read_text("utf-8") if log.exists() else ""


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry after all migrations, which would take a tenth of a second in each of the tests that need one."""
    path = tmp_path_factory.mktemp("registry") / "registry.sqlite"
    Writer(path).close()
    return path


@pytest.fixture(name="workspace")
def fixture_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_registry: Path) -> Workspace:
    """An empty workspace of this test's own, also for the processes that it starts."""
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "luthier"))
    place = workspace(tmp_path / "luthier").make()
    shutil.copyfile(empty_registry, place.registry)
    return place


@pytest.fixture(scope="session")
def starter() -> Path:
    """The starter model's folder: read it, never write to it."""
    return whole_starter().starter_model


@pytest.fixture
def workspace_with_starter(workspace: Workspace, starter: Path) -> Workspace:
    """A workspace of this test's own with starter model and data."""
    put_starter(starter, workspace)
    return workspace


@pytest.fixture(scope="session")
def small_starter() -> Path:
    """The starter model's first two layers: for tests that show nothing about what it says or learns."""
    return two_layers()


@pytest.fixture
def workspace_with_small_starter(workspace: Workspace, small_starter: Path) -> Workspace:
    put_starter(small_starter, workspace)
    return workspace


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """This machine's Chromium, driven by Playwright; only 127.0.0.1 exists for it.

    One a module: Playwright's event loop runs in the main thread while it lives, and other tests need their own.
    """
    executable = start.find_browser()
    if executable is None:
        sentence = "No Chromium here: `python3 start.py test` installs it on Debian as root, elsewhere it says how."
        pytest.fail(sentence) if os.environ.get("CI") == "true" else pytest.skip(sentence)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        yield chromium
        chromium.close()
