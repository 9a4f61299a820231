"""`luthier memory --config ...`: predictions and settings that fit, for a model known by its config alone.

The config of LLAMA_8B ships with its inventory (templates/memory), so most of these start no process.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app import memory_command
from app.cli import app
from app.memory_options import asked
from studio.errors import RefusedInput, SpecRefused
from studio.hardware import Machine
from studio.paths import Workspace
from tests.unit.memory.test_estimate import GIB, LLAMA_8B
from tests.unit.memory.test_fit import LLAMA_70B

ROWS = Path(__file__).parents[1] / "unit" / "memory"
CONFIGS = json.loads((ROWS / "configs.json").read_text("utf-8"))
KEYS = [
    *("allocated_bytes", "resting_bytes", "reserved_bytes", "device_bytes"),
    *("phases", "peak_phase", "terms", "notes"),
]


@pytest.fixture(scope="module", name="place")
def fixture_place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for all: what a question found out is kept for the next."""
    return Workspace(tmp_path_factory.mktemp("studio"))


@pytest.fixture(autouse=True)
def in_the_workspace(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_HOME", str(place.root))


@pytest.fixture(name="config")
def fixture_config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_8B), "utf-8")
    return path


def printed(config: Path | str, *words: str) -> Any:
    return json.loads(CliRunner().invoke(app, ["memory", "--config", str(config), *words, "--json"]).stdout)


def refused(config: Path | str, *words: str) -> RefusedInput:
    done = CliRunner().invoke(app, ["memory", "--config", str(config), *words, "--json"])
    assert isinstance(done.exception, RefusedInput), done.exception
    return done.exception


def test_fit_prints_settings_and_their_estimate(config: Path) -> None:
    found = printed(config, "--gpu-memory", "24GiB", "--fit", "--max-length", "2048")
    assert found["fits"] is True and found["verdict"] == "fits" and found["device_bytes"][0] < 24 * GIB
    settings = found["settings"]
    assert settings["max_length"] == 2048 and settings["dtype"] == "bfloat16"
    assert settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"] == 8
    assert found["too_large_by_bytes"] == 0 and len(found["largest"]) == 3


def test_the_settings_given_back_to_the_prediction_take_as_much(config: Path) -> None:
    found = printed(config, "--gpu-memory", "24GiB", "--fit", "--max-length", "2048")
    words = []
    for name, value in found["settings"].items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words += [option] if value else []
        else:
            words += [option, ",".join(value) if isinstance(value, list) else str(value)]
    if not found["settings"]["gradient_checkpointing"]:
        pytest.skip("the command line can only switch it on")
    again = printed(config, "--gpu-memory", "24GiB", *words)
    assert again["allocated_bytes"] == found["allocated_bytes"] and again["verdict"] == "fits"


def test_what_is_given_stays(config: Path) -> None:
    given = {"per_device_train_batch_size": 3, "tuning": "qlora", "optim": "adamw_torch", "lora_r": 64}
    words = [word for name, value in given.items() for word in ("--" + name.replace("_", "-"), str(value))]
    found = printed(config, "--gpu-memory", "24GiB", "--fit", *words)
    assert {name: found["settings"][name] for name in given} == given and not set(given) & set(found["changed"])


def test_too_large_is_an_answer_and_no_refusal(place: Workspace) -> None:
    found = memory_command.fit_config(LLAMA_70B, asked([]), place, memory_command.machine_with("24GiB"))
    assert found["fits"] is False and found["verdict"] == "too_large" and found["too_large_by_bytes"] > 5 * GIB
    assert found["settings"]["tuning"] == "qlora" and found["settings"]["per_device_train_batch_size"] == 1
    first, *rest = memory_command.lines(found)
    assert "GiB" in first and any("tuning: qlora" in line for line in rest)


def test_a_machine_without_a_gpu_is_fitted_by_its_main_memory(place: Workspace) -> None:
    machine = Machine(cpu_count=4, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB)
    found = memory_command.fit_config(LLAMA_8B, asked([]), place, machine)
    assert found["fits"] is True and found["settings"]["dtype"] == "float32"


def test_for_people_it_reads_as_lines(config: Path) -> None:
    said = CliRunner().invoke(app, ["memory", "--config", str(config), "--gpu-memory", "12GiB", "--fit"]).stdout
    assert "per_device_train_batch_size: " in said and "gradient_checkpointing: true" in said and "weights: " in said


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GiB", 24 * GIB),
        ("24", 24 * GIB),
        (" 24576 mib ", 24 * GIB),
        ("24GB", 24 * 10**9),
        ("7.5gib", 7.5 * GIB),
    ],
)
def test_sizes_of_gpus(text: str, size: float) -> None:
    assert memory_command.machine_with(text).gpu.total_bytes == size


@pytest.mark.parametrize("text", ["", "-24GiB", "0", "24 apples", "GiB", "1e3GiB", "99999GiB", "24GiB 24GiB", "nan"])
def test_what_is_no_size_of_a_gpu_is_refused(text: str) -> None:
    with pytest.raises(RefusedInput, match="24GiB"):
        memory_command.machine_with(text)


def test_fit_without_a_config_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["memory", str(tmp_path / "spec.yaml"), "--fit"])
    assert isinstance(done.exception, RefusedInput) and done.exception.code == "memory.fit_of_what"
