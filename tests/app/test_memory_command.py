"""`luthier memory --config ...`: predictions and settings that fit, for a model known by its config alone.

The config of LLAMA_8B ships with its inventory (templates/memory), so most of these start no process.
"""

import csv
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app import memory_command
from app.cli import app
from app.memory import documents
from app.memory.fitted import fit_config, fitted_at_once
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


@pytest.mark.slow
def test_the_settings_given_back_to_the_prediction_take_about_as_much(config: Path) -> None:
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
    # The search works with a formula or usual traces, the prediction with a trace of these very settings.
    assert again["allocated_bytes"] == pytest.approx(found["allocated_bytes"], rel=0.05)
    assert again["verdict"] == "fits"


def test_what_is_given_stays(config: Path) -> None:
    given = {"per_device_train_batch_size": 3, "tuning": "qlora", "optim": "adamw_torch", "lora_r": 64}
    words = [word for name, value in given.items() for word in ("--" + name.replace("_", "-"), str(value))]
    found = printed(config, "--gpu-memory", "24GiB", "--fit", *words)
    assert {name: found["settings"][name] for name in given} == given and not set(given) & set(found["changed"])


def test_too_large_is_an_answer_and_no_refusal(place: Workspace) -> None:
    found = fit_config(LLAMA_70B, asked([]), place, memory_command.machine_with("24GiB"))
    assert found["fits"] is False and found["verdict"] == "too_large" and found["too_large_by_bytes"] > 5 * GIB
    assert found["settings"]["tuning"] == "qlora" and found["settings"]["per_device_train_batch_size"] == 1
    first, *rest = memory_command.lines(found)
    assert "GiB" in first and any("tuning: qlora" in line for line in rest)


def test_the_search_is_for_the_loss_kernel_that_was_named(place: Workspace) -> None:
    """It is no setting that is searched for: libraries have the one they have, and a named one takes its place."""

    def settled(*words: str) -> Any:
        words = ("--max-length", "2048", "--tuning", "lora", *words)
        return fit_config(LLAMA_8B, asked([*words]), place, memory_command.machine_with("24GiB"))

    by_itself, chunked, plain = (
        settled(*words) for words in ((), *(("--loss-kernel", k) for k in ("chunked", "plain")))
    )
    assert by_itself == chunked and "loss_kernel" not in chunked["settings"]
    batches = [found["settings"]["per_device_train_batch_size"] for found in (chunked, plain)]
    assert batches[1] < batches[0] and plain["fits"]


def test_the_search_is_for_the_method_and_the_tuning_that_were_named(place: Workspace) -> None:
    def settled(*words: str) -> Any:
        found = fitted_at_once(LLAMA_8B, asked([*words]), place, memory_command.machine_with("24GiB"))
        assert found is not None
        return found

    words = ("--tuning", "lora", "--gradient-checkpointing", "--gradient-accumulation-steps", "1")
    plain, pairs = (settled("--method", method, *words) for method in ("sft", "dpo"))
    assert "reference_pass" in pairs.fit.estimate.phases and "reference_pass" not in plain.fit.estimate.phases
    batches = [found.settings["per_device_train_batch_size"] for found in (plain, pairs)]
    assert batches[1] < batches[0]
    assert "generation" in settled("--method", "grpo").fit.estimate.phases
    assert "critic_by_formula" in settled("--method", "ppo", "--tuning", "lora").fit.estimate.notes
    for tuning in ("prefix_tuning", "bottleneck", "freeze"):
        assert settled("--tuning", tuning).settings["tuning"] == tuning


def test_a_machine_without_a_gpu_is_fitted_by_its_main_memory(place: Workspace) -> None:
    machine = Machine(cpu_count=4, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB)
    found = fit_config(LLAMA_8B, asked([]), place, machine)
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


# -- the published rows, through the command's own path ---------------------------------------------------------------


def words_of(row: dict[str, str]) -> list[str]:
    """What one would type for a measured run."""
    stack = ",".join(f"{name}={version}" for name, version in re.findall(r"(\w+) ([\d.]+)", row["stack"]))
    words = {
        "--method": row["trainer"],
        "--tuning": row["tuning"],
        "--lora-r": row["lora_r"],
        "--lora-target-modules": row["lora_target_modules"].replace(" ", ","),
        "--weights-dtype": row["weights_dtype"],
        "--autocast": row["mixed_precision"],
        "--per-device-train-batch-size": row["per_device_batch"],
        "--max-length": row["seq_length"] if row["seq_length"].isdigit() else "",
        "--attention": row["attention"],
        "--optim": "adamw_torch",
        "--loss-kernel": "liger" if "liger" in row["loss"] else "",
        "--stack": stack,
    }
    if row["trainer"] == "grpo":
        words |= {"--num-generations": row["num_generations"], "--max-completion-length": row["completion_length"]}
        words |= {"--max-prompt-length": "16", "--beta": "0", "--gradient-accumulation-steps": "4"}
    switches = ["--gradient-checkpointing", *(["--kbit-prep"] if row["kbit_prep"] == "True" else [])]
    return [word for pair in words.items() if pair[1] for word in pair] + switches


ROWS_OF_GRADE_A = [
    row for row in csv.DictReader((ROWS / "measured_public.csv").read_text("utf-8").splitlines()) if row["grade"] == "A"
]
OF_SFT = [row for row in ROWS_OF_GRADE_A if row["trainer"] == "sft"]


def answers(rows: list[dict[str, str]], place: Workspace) -> dict[str, dict[str, Any]]:
    return {
        row["id"]: memory_command.predict_config(CONFIGS[row["model"]], asked(words_of(row)), place) for row in rows
    }


@pytest.fixture(scope="module", name="predicted")
def fixture_predicted(place: Workspace) -> dict[str, dict[str, Any]]:
    """Old libraries, so that nothing is traced, and models that ship: no process is started."""
    return answers(OF_SFT, place)


def errors(rows: list[dict[str, str]], predicted: dict[str, dict[str, Any]]) -> list[float]:
    return [abs(predicted[row["id"]]["allocated_bytes"] / GIB / float(row["peak_allocated_gib"]) - 1) for row in rows]


def test_published_peaks_come_out_right_through_the_command(predicted: dict[str, Any]) -> None:
    found = errors(OF_SFT, predicted)
    assert len(found) == 25 and max(found) <= 0.02 and sum(found) / len(found) <= 0.005


@pytest.mark.slow
def test_all_published_peaks_come_out_right_through_the_command(predicted: dict[str, Any], place: Workspace) -> None:
    found = errors(ROWS_OF_GRADE_A, answers(ROWS_OF_GRADE_A, place))
    assert len(found) == 29 and max(found) <= 0.02 and sum(found) / len(found) <= 0.005


def test_published_memory_at_rest_comes_out_right_through_the_command(predicted: dict[str, Any]) -> None:
    for row in OF_SFT:
        found = predicted[row["id"]]["resting_bytes"] / GIB
        assert found == pytest.approx(float(row["resting_allocated_gib"]), rel=0.01), row["id"]


@pytest.fixture(name="without_a_process")
def fixture_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.memory import survey as surveys

    monkeypatch.setattr(surveys, "_ask", lambda request: pytest.fail(f"a process was asked: {request}"))


@pytest.mark.usefixtures("without_a_process")
def test_a_shipped_model_of_70b_is_answered_by_arithmetic(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    memory_command.predict_config(LLAMA_70B, asked([*USUAL, *OLD]), place)
    begun = time.process_time()  # a clock would count what else the machine does
    found = memory_command.predict_config(LLAMA_70B, asked([*USUAL, *OLD, "--lora-r", "32"]), place)
    assert time.process_time() - begun <= 0.1
    assert found["resting_bytes"] > 131 * GIB


# -- what is printed, and its options ---------------------------------------------------------------------------------

OLD = ["--stack", "transformers=4.48.1,trl=0.13,torch=2.4.1"]
EAGER, FLASH = ["--attention", "eager"], ["--attention", "flash_attention_2"]
USUAL = ["--weights-dtype", "bfloat16", "--per-device-train-batch-size", "4", "--max-length", "1024"]


def peak(config: dict[str, Any], *words: str, place: Workspace) -> dict[str, Any]:
    return memory_command.predict_config(config, asked([*USUAL, *OLD, *words]), place)


def test_the_json_has_exactly_these_keys(config: Path) -> None:
    found = printed(config, *USUAL, *OLD)
    assert list(found) == [*KEYS[:-1], "verdict", "notes"]
    assert found["allocated_bytes"] == found["phases"][found["peak_phase"]] == sum(found["terms"].values())
    assert (
        found["reserved_bytes"][0] < found["reserved_bytes"][1] and found["device_bytes"][0] < found["device_bytes"][1]
    )


@pytest.mark.parametrize(
    "method", ["sft", "pretrain", "reward", "dpo", "ipo", "cpo", "orpo", "kto", "grpo", "rloo", "ppo"]
)
def test_every_method_has_an_answer(method: str, place: Workspace) -> None:
    found = peak(LLAMA_8B, "--method", method, place=place)
    assert found["allocated_bytes"] > found["resting_bytes"] > 13 * GIB
    assert (method in ("sft", "pretrain")) == (found["notes"] == [])


@pytest.mark.parametrize(
    "tuning",
    [
        "full",
        "freeze",
        "lora",
        "qlora",
        "dora",
        "rslora",
        "prefix",
        "prompt",
        "p_tuning",
        "adapter",
        "ia3",
        "qlora_8bit",
    ],
)
def test_every_tuning_has_an_answer(tuning: str, place: Workspace) -> None:
    assert peak(LLAMA_8B, "--tuning", tuning, place=place)["allocated_bytes"] > 5 * GIB


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (["--loss-kernel", "plain"], ["--loss-kernel", "liger"]),
        (["--kbit-prep", "--tuning", "qlora"], ["--tuning", "qlora"]),
        (["--tuning", "full", "--optim", "adamw_torch"], ["--tuning", "full", "--optim", "adamw_bnb_8bit"]),
        (["--no-gradient-checkpointing"], ["--gradient-checkpointing"]),
        (["--gradient-checkpointing=false"], ["--gradient-checkpointing", "true"]),
        (["--loss-kernel", "liger", "--attention", "eager"], ["--loss-kernel", "liger"]),
        (["--lora-r", "256"], ["--lora-r", "8"]),
        (["--lora-target-modules", "all-linear"], ["--lora-target-modules", "q_proj,v_proj"]),
        (["--method", "dpo"], ["--method", "sft"]),
        (
            ["--method", "grpo", "--max-completion-length", "2048"],
            ["--method", "grpo", "--max-completion-length", "64"],
        ),
        (
            ["--method", "grpo", "--tuning", "full", "--beta", "0.1"],
            ["--method", "grpo", "--tuning", "full", "--beta", "0"],
        ),
    ],
    ids=lambda words: " ".join(words),
)
def test_every_option_counts(more: list[str], less: list[str], place: Workspace) -> None:
    large, small = (peak(LLAMA_8B, *words, place=place) for words in (more, less))
    assert large["allocated_bytes"] > small["allocated_bytes"]


def test_a_family_without_the_usual_attention_is_taken_with_one_that_it_has(place: Workspace) -> None:
    gemma = {"model_type": "gemma2", "hidden_size": 3584, "num_hidden_layers": 42, "intermediate_size": 14336}
    gemma |= {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "vocab_size": 256_000}
    by_itself, eager = (peak(gemma, "--loss-kernel", "liger", *words, place=place) for words in ((), EAGER))
    assert by_itself == eager and eager["terms"] != peak(gemma, "--loss-kernel", "liger", *FLASH, place=place)["terms"]


def test_experts_are_squeezed_where_the_libraries_have_them_as_linear_layers(place: Workspace) -> None:
    words = ["--tuning", "qlora", "--weights-dtype", "bfloat16", "--lora-target-modules", "q_proj,v_proj"]
    mixtral = CONFIGS["Mixtral-8x7B-Instruct-v0.1"]
    old = memory_command.predict_config(mixtral, asked([*words, *OLD]), place)
    new = memory_command.predict_config(mixtral, asked([*words, "--kbit-prep"]), place)
    # From transformers 5 on all experts of a layer are one weight, which bitsandbytes leaves alone.
    assert old["terms"]["weights"] < 25 * GIB and new["terms"]["weights"] > 85 * GIB


def test_what_the_stack_leaves_out_is_what_is_installed() -> None:
    from studio.memory.stack import installed_stack

    stack = asked(["--stack", "trl==0.13"]).stack
    assert stack.versions == {**installed_stack().versions, "trl": "0.13"}


def test_libraries_without_evidence_widen_the_band_and_are_named(place: Workspace) -> None:
    known = memory_command.predict_config(LLAMA_8B, asked([*USUAL, *OLD]), place)
    ancient = memory_command.predict_config(LLAMA_8B, asked([*USUAL, "--stack", "transformers=4.30,trl=0.13"]), place)
    assert (
        ancient["device_bytes"][1] > known["device_bytes"][1] and ancient["device_bytes"][0] < known["device_bytes"][0]
    )
    assert any("transformers 4.30" in note for note in ancient["notes"]) and known["notes"] == []


def test_an_option_without_effect_is_told_and_no_refusal(place: Workspace) -> None:
    found = peak(LLAMA_8B, "--tuning", "full", "--lora-r", "16", place=place)
    assert any("lora_r" in note for note in found["notes"])


def test_a_folder_or_a_name_of_the_studio_will_do(config: Path) -> None:
    assert printed(config.parent, *USUAL, *OLD) == printed(config, *USUAL, *OLD)
    error = refused("never-seen", *USUAL)
    assert error.code == "memory.no_config" and "never-seen" in str(error)


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("no json", "cli.bad_json"),
        ("[1, 2]", "cli.edits_shape"),
        ("{}", "memory.no_family"),
        (json.dumps({**LLAMA_8B, "model_type": 7}), "memory.no_family"),
        (json.dumps({**LLAMA_8B, "hidden_size": -4096}), "memory.odd_dimension"),
        (json.dumps({**LLAMA_8B, "num_hidden_layers": 0}), "memory.odd_dimension"),
        (json.dumps({**LLAMA_8B, "vocab_size": 10**12}), "memory.odd_dimension"),
        (json.dumps({**LLAMA_8B, "num_attention_heads": "32"}), "memory.odd_dimension"),
        (json.dumps({**LLAMA_8B, "hidden_size": 4096.5}), "memory.odd_dimension"),
        (json.dumps({"model_type": "llava", "text_config": {"hidden_size": -1}}), "memory.odd_dimension"),
    ],
)
def test_what_is_no_config_is_a_sentence(content: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content, "utf-8")
    assert refused(tmp_path / "config.json", *USUAL).code == code


@pytest.mark.parametrize(
    "words",
    [
        ["--tuning", "magic"],
        ["--method", "magic"],
        ["--lora-r", "-4"],
        ["--per-device-train-batch-size", "0"],
        ["--max-length", "a"],
        ["--num-generations", "0"],
        ["--beta", "-1"],
        ["--max-completion-length", "1.5"],
        ["--loss-kernel", "magic"],
        ["--stack", "transformers"],
        ["--stack", "numpy=2"],
        ["--stack", "trl=new"],
        ["--kbit-prep=maybe"],
        ["--never-heard", "1"],
        ["stray"],
    ],
    ids=lambda words: " ".join(words),
)
def test_settings_that_cannot_be_are_refused(words: list[str]) -> None:
    with pytest.raises(RefusedInput) as told:
        asked(words)
    assert len(str(told.value)) > 20 and isinstance(told.value, RefusedInput | SpecRefused)


def test_layers_that_the_model_does_not_have_are_refused(place: Workspace) -> None:
    with pytest.raises(RefusedInput, match="w_pack.*q_proj"):
        peak(LLAMA_8B, "--lora-target-modules", "q_proj,w_pack", "--stack", "transformers=4.48", place=place)


def test_a_model_larger_than_the_disk_is_told(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(documents.shutil, "disk_usage", lambda _: usage(100 * GIB, 95 * GIB, 5 * GIB))
    assert any("5.00 GiB" in note for note in peak(LLAMA_8B, place=place)["notes"])


@pytest.fixture(scope="module", name="odd")
def fixture_odd(place: Workspace) -> dict[str, dict[str, Any]]:
    """Configs that nobody has seen, each looked at by a real short process; two at once would not be quicker here."""
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    configs = {
        "unknown": {**LLAMA_8B, "model_type": "never_seen"},
        "unknown_without_sizes": {"model_type": "never_seen"},
        "wide_vocabulary": {"model_type": "starcoder2", **small, "num_key_value_heads": 2, "vocab_size": 250_000},
        "heads_that_do_not_divide": {"model_type": "opt", "hidden_size": 63, "num_attention_heads": 4},
        "sees": {
            "model_type": "llava",
            "text_config": {"model_type": "llama", **small, "vocab_size": 512},
            "vision_config": {"model_type": "clip_vision_model", **small, "image_size": 28, "patch_size": 14},
        },
    }
    found = {}
    for name, config in configs.items():
        try:
            found[name] = memory_command.predict_config(config, asked([*USUAL, *OLD]), place)
        except RefusedInput as error:
            found[name] = {"refused": error}
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_configs_that_nobody_has_seen(odd: dict[str, dict[str, Any]], place: Workspace) -> None:
    low, high = odd["unknown"]["device_bytes"]
    assert high > 3 * low and any("rough guess" in note for note in odd["unknown"]["notes"])
    known = peak(LLAMA_8B, place=place)
    assert low < known["allocated_bytes"] < high
    for name in ("unknown_without_sizes", "heads_that_do_not_divide"):
        assert odd[name]["refused"].code == "memory.unbuildable", odd[name]
    wide = odd["wide_vocabulary"]
    # 250,000 words of 64 values, once for embedding and head together, in bfloat16; 14 bytes a token and word.
    assert wide["terms"]["loss"] >= 14 * 250_000 * 4 * 1024 and wide["terms"]["weights"] >= 250_000 * 64 * 2
    assert any("pictures" in note for note in odd["sees"]["notes"])


@pytest.mark.slow
def test_a_new_config_is_looked_at_once(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.memory import survey as surveys

    config = {**LLAMA_8B, "model_type": "olmo2", "intermediate_size": 12_000, "num_hidden_layers": 6}
    words = ["--weights-dtype", "bfloat16", "--autocast", "bf16", "--lora-target-modules", "q_proj,v_proj"]
    first = memory_command.predict_config(config, asked(words), place)
    monkeypatch.setattr(surveys, "_ask", lambda request: pytest.fail(f"asked again: {request}"))
    assert memory_command.predict_config(config, asked(words), place) == first
    assert first["notes"] == []
