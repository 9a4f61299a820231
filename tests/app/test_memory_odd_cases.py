"""The full command line of `luthier memory`, and what is odd about a model or a machine, by command and on the page.

None of these starts a process: the models ship or are followed by their config.
"""

import json
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app import memory_command
from app.cli import app
from app.memory import documents
from app.memory import not_owned as page
from app.memory_options import asked
from studio import hardware
from studio.errors import RefusedInput
from studio.hardware import BF16_CAPABILITY, Gpu, Machine
from studio.memory import survey
from studio.paths import Workspace
from tests.app.conftest import Filled
from tests.unit.memory.test_estimate import GIB, LLAMA_8B

KEYS = {
    *("allocated_bytes", "resting_bytes", "reserved_bytes", "device_bytes"),
    *("phases", "peak_phase", "terms", "notes"),
}
WHOLE = (
    "--method sft --tuning qlora --lora-r 16 --lora-target-modules q_proj,k_proj,v_proj,o_proj"
    " --weights-dtype bfloat16 --per-device-train-batch-size 4 --max-length 4096 --gradient-checkpointing"
    " --attention flash_attention_2 --optim adamw_torch"
)
GROUPS = (
    "--method grpo --tuning lora --lora-r 16 --weights-dtype bfloat16 --per-device-train-batch-size 8"
    " --num-generations 8 --max-prompt-length 512 --max-completion-length 1024 --beta 0.04 --autocast bf16"
)
MIXTRAL = json.loads((survey.SHIPPED / "mixtral.json").read_text("utf-8"))["models"][0]["config"]
USUAL = "--tuning lora --weights-dtype bfloat16 --max-length 1024"


@pytest.fixture(autouse=True)
def without_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "studio"))
    monkeypatch.setattr(survey, "_ask", lambda request: pytest.fail(f"a process was asked: {request}"))


@pytest.fixture(name="config")
def fixture_config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_8B), "utf-8")
    return path


def printed(config: Path, words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["memory", "--config", str(config), *words.split(), "--json"])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def told(config: dict[str, Any], words: str, tmp_path: Path, machine: Machine | None = None) -> dict[str, Any]:
    return memory_command.predict_config(config, asked(words.split()), Workspace(tmp_path / "studio"), machine)


@pytest.mark.parametrize("kernel", ["plain", "chunked", "liger"])
@pytest.mark.parametrize(
    "more",
    ["", "--kbit-prep", "--autocast bf16", "--autocast none", "--stack transformers=4.48.1,trl=0.13,torch=2.4.1"],
    ids=lambda words: words or "plain",
)
def test_the_whole_command_prints_every_field(config: Path, kernel: str, more: str) -> None:
    found = printed(config, f"{WHOLE} --loss-kernel {kernel} {more}")
    assert found.keys() == KEYS | {"verdict"}
    assert found["allocated_bytes"] == max(found["phases"].values()) == sum(found["terms"].values())
    assert 5 * GIB < found["resting_bytes"] < found["allocated_bytes"] < 60 * GIB
    for name in ("reserved_bytes", "device_bytes"):
        low, high = found[name]
        assert low < high and low < 1.1 * found["allocated_bytes"] < high


def test_answers_that_are_written_have_their_phases_and_count(config: Path) -> None:
    found = printed(config, GROUPS)
    assert {"generation", "reference_pass", "layer_backward", "optimizer_step"} <= found["phases"].keys()
    shorter = printed(config, GROUPS.replace("1024", "256"))
    for phase in ("generation", "forward_and_loss"):
        assert found["phases"][phase] > shorter["phases"][phase]


def test_a_gpus_size_and_fit_print_settings(config: Path) -> None:
    found = printed(config, "--gpu-memory 24GiB --fit --max-length 2048")
    assert found["verdict"] == "fits" and found["settings"]["max_length"] == 2048 and found.keys() >= KEYS
    lines = CliRunner().invoke(app, ["memory", "--config", str(config), "--gpu-memory", "24GiB", "--fit"]).stdout
    assert "per_device_train_batch_size: " in lines


# -- odd models -------------------------------------------------------------------------------------------------------


def test_embeddings_that_are_the_head_too_are_counted_once(tmp_path: Path) -> None:
    apart, tied = (
        told({**LLAMA_8B, "tie_word_embeddings": is_tied}, f"{USUAL} --tuning full", tmp_path)["resting_bytes"]
        for is_tied in (False, True)
    )
    # Weights and two states of one matrix of words by values.
    assert apart - tied == pytest.approx(3 * 2 * LLAMA_8B["vocab_size"] * LLAMA_8B["hidden_size"], rel=0.01)


def test_a_vocabulary_of_250_thousand_costs_its_scores(tmp_path: Path) -> None:
    words = f"{USUAL} --loss-kernel plain --per-device-train-batch-size 4"
    small, large = (told({**LLAMA_8B, "vocab_size": size}, words, tmp_path) for size in (32_000, 250_000))
    more = (250_000 - 32_000) * (14 * 4 * 1024 + 2 * 2 * LLAMA_8B["hidden_size"])
    assert large["allocated_bytes"] - small["allocated_bytes"] >= 0.95 * more


def test_experts_are_all_in_memory_and_the_band_is_wide_without_a_trace(tmp_path: Path) -> None:
    found = told(MIXTRAL, f"{USUAL} --stack transformers=4.48.1,trl=0.13 --lora-target-modules q_proj,v_proj", tmp_path)
    assert found["terms"]["weights"] > 85 * GIB
    assert any("expert" in note for note in found["notes"])
    low, high = found["device_bytes"]
    assert high > 1.7 * low


@pytest.mark.parametrize(
    "field",
    [{"hidden_size": -1}, {"num_hidden_layers": 10**6}, {"vocab_size": 0}, {"num_attention_heads": 1e9}],
    ids=str,
)
def test_absurd_numbers_are_a_sentence_by_command_and_page(
    field: dict[str, Any], tmp_path: Path, empty: Filled
) -> None:
    config = {**LLAMA_8B, **field}
    with pytest.raises(RefusedInput) as by_command:
        told(config, USUAL, tmp_path)
    with pytest.raises(RefusedInput) as on_the_page:
        page.first_look(empty.context("en"), None, json.dumps(config), "24 GiB", 1024)
    assert by_command.value.code == on_the_page.value.code == "memory.odd_dimension"
    assert next(iter(field)) in str(by_command.value)


def drawn(empty: Filled, config: dict[str, Any], place: str = "24 GiB", language: str = "en") -> str:
    return page.first_look(empty.context(language), None, json.dumps(config), place, 1024)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param({**LLAMA_8B, "tie_word_embeddings": True}, "7.5B", id="tied"),
        pytest.param({**LLAMA_8B, "vocab_size": 250_000}, "9.0B", id="vocabulary"),
        pytest.param(MIXTRAL, "46.7B", id="experts"),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_answers_for_odd_models_too(config: dict[str, Any], words: str, language: str, empty: Filled) -> None:
    answer = drawn(empty, config, language=language)
    assert words in answer and answer.count("<article") == 3 and "memory.notes" not in answer


def test_a_family_that_nobody_knows_gets_no_number_before_a_closer_look(empty: Filled) -> None:
    answer = drawn(empty, {**LLAMA_8B, "model_type": "never_seen"})
    assert "<article" not in answer and "GiB" not in answer


def test_a_model_larger_than_the_disk_is_told_on_the_page(empty: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(documents.shutil, "disk_usage", lambda _: usage(100 * GIB, 95 * GIB, 5 * GIB))
    assert "5.00 GiB" in drawn(empty, LLAMA_8B)


# -- odd machines -----------------------------------------------------------------------------------------------------


def gpu(number: int, gib: int, free: int) -> Gpu:
    return Gpu(number, f"card {number}", gib * GIB, free * GIB, BF16_CAPABILITY)


MACHINES = {
    "none": Machine(cpu_count=4, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB),
    "one": Machine(cpu_count=4, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB, gpus=(gpu(0, 24, 24),)),
    "busy": Machine(cpu_count=4, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB, gpus=(gpu(0, 24, 4),)),
    "two": Machine(cpu_count=4, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB, gpus=(gpu(0, 24, 2), gpu(1, 24, 24))),
}


@pytest.mark.parametrize(
    ("machine", "verdict"), [("none", "fits"), ("one", "fits"), ("busy", "tight"), ("two", "fits")], ids=str
)
def test_a_verdict_is_for_the_machine_as_it_is(machine: str, verdict: str, tmp_path: Path) -> None:
    words = f"{USUAL} --gradient-checkpointing --per-device-train-batch-size 1"
    assert told(LLAMA_8B, words, tmp_path, MACHINES[machine])["verdict"] == verdict


@pytest.mark.parametrize("machine", MACHINES)
def test_the_page_takes_this_machine_as_it_is(machine: str, empty: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "read_machine", lambda: MACHINES[machine])
    budget = {"none": "60.0", "one": "22.8", "two": "22.8"}.get(machine)
    answer = drawn(empty, LLAMA_8B, place=page.HERE)
    assert answer.count("<article") == 3
    assert budget is None or budget in answer
