"""start.py in pieces, nothing installed: what it refuses, what it remembers, what it says. The whole: tests/e2e."""

import ast
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections import namedtuple
from pathlib import Path

import pytest

import start
from studio.paths import PROJECT_ROOT
from tests.conftest import SOCKET_LOG

Usage = namedtuple("Usage", "total used free")
THIS = ".".join(map(str, sys.version_info[:2]))


@pytest.fixture(autouse=True)
def in_english(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def checkout(tmp_path) -> start.Checkout:
    """A copy of what start.py reads, with a working `.venv` that holds nothing but pip."""
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    return start.Checkout(tmp_path)


@pytest.fixture
def with_venv(checkout) -> start.Checkout:
    # The interpreter of this test stands for the one in .venv: a link keeps the test quick.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout.venv], check=True)
    return checkout


@pytest.fixture
def step() -> start.Step:
    return start.Step("Libraries", "[1/1] Libraries")


def pretend_installed(checkout: start.Checkout, name: str, version: str) -> Path:
    record = checkout.site_packages / f"{name}-{version}.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    record.touch()
    return record


class TestPython:
    def test_an_old_python_can_read_the_file(self):
        ast.parse((PROJECT_ROOT / "start.py").read_text("utf-8"), feature_version=(3, 6))

    @pytest.mark.parametrize("version", start.PYTHONS)
    def test_supported_ones_pass(self, version):
        assert start.python_fault((*version, 0)) is None

    @pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13), (3, 14, 0), (4, 0, 0)])
    def test_others_are_refused_in_one_sentence(self, version):
        sentence = start.python_fault(version, lambda name: None)
        assert "needs Python 3.11" in sentence or "works on Python 3.11" in sentence
        assert ".".join(map(str, version)) in sentence
        assert "\n" not in sentence

    def test_a_fitting_one_on_this_machine_is_named(self):
        sentence = start.python_fault((3, 9, 1), lambda name: name == "python3.12")
        assert "python3.12 start.py" in sentence

    def test_really_started_by_an_old_one(self, tmp_path):
        """sys.version_info is made old before the file runs: what stands above the check must not need a new one."""
        code = textwrap.dedent(f"""
            import runpy, sys
            sys.version_info = (3, 8, 1, "final", 0)
            sys.argv = ["start.py"]
            runpy.run_path({str(PROJECT_ROOT / "start.py")!r}, run_name="__main__")
        """)
        environment = os.environ | {"PATH": str(tmp_path)}
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert ran.returncode == 1
        assert ran.stdout == ""
        assert ran.stderr.startswith("Luthier needs Python 3.11") and ran.stderr.count("\n") == 1


class TestWords:
    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({"LANG": "zh_CN.UTF-8"}, "zh"),
            ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
            ({"LANG": "de_DE", "LC_MESSAGES": "zh_TW"}, "zh"),
            ({"LC_ALL": "", "LANG": "zh"}, "zh"),
            ({}, "en"),
        ],
    )
    def test_the_terminals_language(self, environment, expected):
        assert start.language(environment) == expected

    def test_a_line_fits_its_columns(self):
        assert start.fitting("abcdef", 4) == "abcd"
        assert start.fitting("依赖库 x", 5) == "依赖"


class TestDisk:
    def test_too_little_is_one_sentence_with_both_numbers(self, tmp_path):
        with pytest.raises(start.SetupFault, match=r"about 6 GB must be free and 5\.9 GB are") as fault:
            start.check_disk(tmp_path, 6, usage=lambda place: Usage(0, 0, 5_900_000_000))
        assert "\n" not in str(fault.value)

    def test_enough_is_silent_and_a_folder_to_come_is_asked_for_its_parent(self, tmp_path):
        asked = []
        start.check_disk(tmp_path / "a" / "b", 6, usage=lambda place: asked.append(place) or Usage(0, 0, 6_000_000_000))
        assert asked == [tmp_path]

    @pytest.mark.parametrize(
        ("torch", "has_gpu", "expected"),
        [("auto", False, 6), ("auto", True, 14), ("cpu", True, 6), ("cu128", False, 14), ("plain", True, 14)],
    )
    def test_cuda_builds_need_more(self, checkout, torch, has_gpu, expected):
        assert start.needed_gb(checkout, torch, has_gpu) == expected

    def test_little_is_needed_once_torch_is_there(self, with_venv):
        pretend_installed(with_venv, "torch", "2.13.0+cpu")
        assert start.needed_gb(with_venv, "auto", True) == start.MEND_GB

    def test_a_disk_that_fills_up_on_the_way(self, checkout, step):
        output = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
        assert "became full in the step" in str(start.fault_of(output, step, checkout))


class TestStamp:
    def stamped(self, checkout, **changed) -> start.Checkout:
        whole = {"key": start.stamp_key(checkout), "python": THIS, "torch": "auto", "extras": ["dev"]}
        start.write_stamp(checkout, whole | changed)
        return checkout

    def test_a_whole_set_up_is_recognised(self, with_venv):
        self.stamped(with_venv)
        assert start.is_set_up(with_venv, None, set())
        assert start.is_set_up(with_venv, None, {"dev"})
        assert start.is_set_up(with_venv, "auto", {"dev"})

    def test_none_is_none(self, with_venv):
        assert not start.is_set_up(with_venv, None, set())

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"wanted": "auto"}'])
    def test_a_torn_or_unfinished_stamp_does_not_count(self, with_venv, content):
        with_venv.stamp.write_text(content)
        assert not start.is_set_up(with_venv, None, set())

    @pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
    def test_changed_constraints_are_noticed(self, with_venv, name):
        self.stamped(with_venv)
        path = with_venv.root / name
        path.write_text(path.read_text("utf-8") + "\n# one more line\n", "utf-8")
        assert not start.is_set_up(with_venv, None, set())

    def test_another_torch_or_more_extras_are_noticed(self, with_venv):
        self.stamped(with_venv, extras=[])
        assert not start.is_set_up(with_venv, "cu128", set())
        assert not start.is_set_up(with_venv, None, {"dev"})

    def test_another_or_a_broken_python_is_noticed(self, with_venv):
        self.stamped(with_venv, python="3.10")
        assert not start.is_set_up(with_venv, None, set())
        self.stamped(with_venv)
        with_venv.python.unlink()
        with_venv.python.symlink_to("/nowhere/python3")
        assert not start.is_set_up(with_venv, None, set())

    def test_a_moved_checkout_is_noticed(self, with_venv, tmp_path_factory):
        self.stamped(with_venv)
        moved = start.Checkout(tmp_path_factory.mktemp("moved") / "to")
        with_venv.root.rename(moved.root)
        assert not start.is_set_up(moved, None, set())

    def test_nothing_is_missing_means_nothing_is_run(self, with_venv, tmp_path, monkeypatch):
        self.stamped(with_venv)
        home = tmp_path / "home"
        (home / "models" / "starter").mkdir(parents=True)
        (home / "models" / "starter" / "manifest.json").write_text("{}")
        (home / "starter-data").mkdir()
        monkeypatch.setattr(start, "Screen", None)
        start.set_up(with_venv, start.Wanted(home))


class TestInterrupted:
    def test_a_package_cut_off_while_unpacked_is_taken_out(self, with_venv):
        whole = pretend_installed(with_venv, "whole", "1.0").parent
        torn = pretend_installed(with_venv, "torn", "1.0").parent
        (torn / "RECORD").unlink()
        (with_venv.site_packages / "~orch").mkdir()
        start.remove_torn(with_venv.site_packages)
        assert whole.exists()
        assert sorted(path.name for path in with_venv.site_packages.iterdir()) == ["whole-1.0.dist-info"]

    def test_a_broken_environment_is_built_again(self, with_venv, step):
        """Here: pip is missing, as after an interruption in the middle of venv."""
        assert start.python_version(with_venv.python, needs="pip") is None
        start.make_environment(step, with_venv)
        assert start.python_version(with_venv.python, needs="pip") == THIS
        assert "-m venv --clear" in with_venv.log.read_text("utf-8")
        marker = with_venv.venv / "marker"
        marker.touch()
        start.make_environment(step, with_venv)
        assert marker.exists(), "one that works is kept"

    def test_a_second_set_up_waits_for_the_first(self, checkout, capsys):
        code = (
            "import start, pathlib, time, sys\n"
            "with start.only_one(start.Checkout(pathlib.Path(sys.argv[1]))):\n"
            "    print('held', flush=True); time.sleep(0.7); print('left', flush=True)"
        )
        command = [sys.executable, "-c", code, checkout.root]
        with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout.readline() == "held\n"
            with start.only_one(checkout):
                assert first.stdout.readline() == "left\n"
        assert "waiting for it" in capsys.readouterr().out


class TestTorch:
    @pytest.mark.parametrize(
        ("choice", "system", "has_gpu", "registry_has_cpu", "expected"),
        [
            ("auto", "Linux", True, False, [None]),
            ("auto", "Linux", False, True, [None]),
            ("auto", "Linux", False, False, ["cpu", None]),
            ("auto", "Windows", True, True, ["cu130", None]),
            ("auto", "Windows", False, True, [None]),
            ("auto", "Darwin", False, False, [None]),
            ("plain", "Linux", False, False, [None]),
            ("cpu", "Linux", True, False, ["cpu"]),
            ("cpu", "Linux", True, True, [None]),
            ("cu126", "Linux", False, True, ["cu126"]),
            ("cpu", "Darwin", False, False, [None]),
        ],
    )
    def test_where_it_comes_from(self, choice, system, has_gpu, registry_has_cpu, expected):
        assert start.torch_sources(choice, system, has_gpu, lambda: registry_has_cpu) == expected

    @pytest.mark.parametrize(
        ("installed", "choice", "stamped", "fits"),
        [
            ("2.13.0", "auto", None, True),
            ("2.13.0+cpu", "auto", None, True),
            ("2.13.0+cu130", "cu130", None, True),
            ("2.13.0+cpu", "cu130", "auto", False),
            ("2.13.0", "cu130", "cu130", True),
            ("2.12.1+cpu", "auto", "auto", False),
            (None, "auto", "auto", False),
        ],
    )
    def test_which_installed_one_will_do(self, with_venv, installed, choice, stamped, fits):
        if installed:
            pretend_installed(with_venv, "torch", installed)
        start.write_stamp(with_venv, {"torch": stamped})
        assert start.torch_fits(with_venv, choice) is fits

    def test_the_pin_is_exact_and_names_no_build(self, checkout):
        assert start.pinned_version(checkout, "torch") == "2.13.0"

    def test_an_unknown_choice_is_refused(self, checkout):
        what, options, _ = start.parse(["--torch", "rocm"])
        with pytest.raises(start.SetupFault, match="There is no --torch rocm"):
            start.wanted_for(what, options, checkout)


class TestArguments:
    @pytest.mark.parametrize(
        ("given", "what", "handed_on"),
        [
            ([], "ui", []),
            (["--port", "8000", "--no-browser"], "ui", ["--port", "8000", "--no-browser"]),
            (["ui", "--host", "0.0.0.0", "--torch", "cpu"], "ui", ["--host", "0.0.0.0"]),
            (["setup"], "setup", []),
            (["test"], "test", []),
            (["test", "--all", "-k", "start", "tests/unit"], "test", ["--all", "-k", "start", "tests/unit"]),
            (["test", "-x", "--torch", "cpu", "--lf"], "test", ["-x", "--lf"]),
        ],
    )
    def test_what_is_done_and_what_is_handed_on(self, given, what, handed_on):
        done, _, rest = start.parse(given)
        assert (done, rest) == (what, handed_on)

    def test_the_workspace_is_the_users_and_the_tests_have_their_own(self, checkout, monkeypatch, tmp_path):
        monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "mine"))
        what, options, _ = start.parse([])
        assert start.wanted_for(what, options, checkout).home == tmp_path / "mine"
        what, options, _ = start.parse(["test"])
        wanted = start.wanted_for(what, options, checkout)
        assert (wanted.home, wanted.extras, wanted.browser) == (checkout.test_starter, {"dev"}, True)


class TestProgress:
    def test_each_phase_of_pip_in_words(self, with_venv):
        gauge = start.PipGauge(with_venv, 100, 0)
        with_venv.temporary.mkdir()
        (with_venv.temporary / "wheel").write_bytes(b"x" * 3_000_000)
        lines = ["Collecting rich (from luthier)\n", "Collecting click\n", "  Using cached rich-15.whl (1 kB)\n"]
        assert gauge.note(lines) == "2 of about 100 packages looked at, 3 MB fetched"
        lines.append("  Downloading https://host/a/torch-2.13.0-cp311.whl (900.1 MB)\n")
        assert gauge.note(lines) == "torch-2.13.0-cp311.whl (900.1 MB), 3 MB fetched"
        lines.append("Installing collected packages: click, rich, torch\n")
        pretend_installed(with_venv, "click", "8.5.1")
        assert gauge.note(lines) == "1 of 3 packages installed"

    def test_a_file_gets_whole_lines_and_not_too_many(self, capsys):
        step = start.Step("Libraries", "[3/5] Libraries")
        for _ in range(5):
            step.tick("at work")
        step.started -= 20
        step.tick("at work")
        step.tick("at work")
        step.end("done")
        assert capsys.readouterr().out.splitlines() == [
            "[3/5] Libraries  at work  0:20",
            "[3/5] Libraries  done  0:20",
        ]


class TestFailures:
    def test_no_network_is_one_sentence_said_by_a_real_pip(self, checkout, step, monkeypatch):
        """The real pip against a port of this machine where no index listens."""
        settings = {
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_RETRIES": "1",
            "PIP_CONFIG_FILE": os.devnull,
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        start.make_environment(step, checkout)
        with pytest.raises(start.SetupFault) as fault:
            start.install_libraries(step, checkout, set())
        assert str(fault.value).startswith('The step "Libraries" could not reach the network')
        assert "\n" not in str(fault.value)
        assert str(checkout.log) in str(fault.value)
        assert "setuptools" in checkout.log.read_text("utf-8")

    @pytest.mark.parametrize(
        ("output", "words"),
        [
            ("ERROR: No matching distribution found for torch==2.13.0\n", "no build of torch==2.13.0 for Python"),
            ("The virtual environment was not created because ensurepip is not available.\n", "python3-venv"),
            ("W: Failed to fetch x  Temporary failure resolving 'deb.debian.org'\n", "could not reach the network"),
            ("Segmentation fault\n", "did not work"),
        ],
    )
    def test_other_endings(self, checkout, step, output, words):
        sentence = str(start.fault_of(output, step, checkout))
        assert words in sentence and "\n" not in sentence

    def test_a_starter_file_with_another_checksum_stops_it(self, with_venv, step, monkeypatch, tmp_path):
        fetched = []
        monkeypatch.setattr(start, "install_packages", lambda *given, **options: fetched.append(options))
        with pytest.raises(start.SetupFault, match="is not the file that Luthier expects"):
            start.make_starter(step, with_venv, tmp_path / "home")
        assert fetched == [{"anew": True}]

    def test_a_folder_that_cannot_be_written(self):
        words = start.words_for(PermissionError(13, "Permission denied", "/some/.venv"))
        assert words.startswith("/some/.venv cannot be written (Permission denied)")

    def test_the_log_holds_what_a_command_said(self, with_venv, step):
        with pytest.raises(start.CommandFailed, match="one\ntwo"):
            start.run([sys.executable, "-c", "import sys; print('one\\ntwo'); sys.exit(3)"], step, with_venv)
        assert "one\ntwo" in with_venv.log.read_text("utf-8")

    def test_the_users_python_settings_do_not_reach_pip(self, with_venv, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", "/elsewhere")
        environment = start.command_environment(with_venv)
        assert "PYTHONPATH" not in environment
        assert environment["TMPDIR"] == str(with_venv.temporary)


class TestConstraints:
    LINES = [line for line in (PROJECT_ROOT / "constraints.txt").read_text("utf-8").splitlines() if line[0] != "#"]

    def test_every_line_is_one_exact_version(self):
        from packaging.requirements import Requirement

        for line in self.LINES:
            (pin,) = Requirement(line).specifier
            assert (pin.operator, "*" in pin.version, "+" in pin.version) == ("==", False, False), line

    def test_what_is_asked_for_is_pinned(self):
        import tomllib

        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        asked = [*project["dependencies"], *project["optional-dependencies"]["dev"], *start.WITHOUT_DEPENDENCIES]
        pins = {canonicalize_name(Requirement(line).name): Requirement(line) for line in self.LINES}
        for line in asked:
            wanted = Requirement(line)
            (pin,) = pins[canonicalize_name(wanted.name)].specifier
            assert wanted.specifier.contains(pin.version), line


def test_the_stamp_is_readable_json(checkout):
    checkout.venv.mkdir()
    start.write_stamp(checkout, {"torch": "auto"})
    assert json.loads(checkout.stamp.read_text("utf-8")) == {"torch": "auto"}
    assert os.environ[SOCKET_LOG], "the guard watches these tests too"
