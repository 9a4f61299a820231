"""The estimate against peak memory that others measured and published: `measured_public.csv`, each row with its source.

Rows of grade A have an exact configuration and the allocator's own figure.
"""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from studio.hardware import Machine
from studio.memory.estimate import GPU_LIMIT, GPU_SHARE, Shapes, estimate
from studio.memory.inventory import from_config
from studio.memory.stack import Stack
from studio.params.table import check

HERE = Path(__file__).parent
CONFIGS = json.loads((HERE / "configs.json").read_text())
ALL_ROWS = list(csv.DictReader((HERE / "measured_public.csv").read_text().splitlines()))
ROWS = [row for row in ALL_ROWS if row["trainer"] == "sft"]
GRPO_ROWS = [row for row in ALL_ROWS if row["trainer"] == "grpo"]
RESERVED_ROWS = [row for row in GRPO_ROWS if row["grade"] == "A" and row["peak_reserved_gib"]]
GIB = 2**30


def predict(row):
    tuning = row["tuning"]
    adapter = (
        {} if tuning == "full" else {"lora_r": row["lora_r"], "lora_target_modules": row["lora_target_modules"].split()}
    )
    values = check(
        {
            "model_name_or_path": row["model"],
            "dataset": "measured",
            "tuning": tuning,
            **adapter,
            "dtype": row["weights_dtype"],
            "mixed_precision": {"none": "no"}.get(row["mixed_precision"], row["mixed_precision"]),
            "optim": "adamw_torch",
            "per_device_train_batch_size": row["per_device_batch"],
            "per_device_eval_batch_size": 1,
            "max_length": row["seq_length"],
            "attn_implementation": row["attention"],
            "gradient_checkpointing": row["gradient_checkpointing"],
        }
    )
    versions = dict(re.findall(r"(\w+) ([\d.]+)", row["stack"]))
    kernel = "liger" if "liger" in row["loss"] else None
    stack = Stack(versions=versions, loss_kernel=kernel, kbit_prep=row["kbit_prep"] == "True")
    inventory = from_config(CONFIGS[row["model"]])
    return estimate(inventory, values, shapes=Shapes(int(row["seq_length"])), stack=stack)


def predict_grpo(row):
    given = {
        "model_name_or_path": row["model"],
        "dataset": "measured",
        "tuning": row["tuning"],
        "lora_r": row["lora_r"],
        "lora_target_modules": row["lora_target_modules"].split(),
        "dtype": row["weights_dtype"],
        "mixed_precision": row["mixed_precision"],
        "per_device_train_batch_size": row["per_device_batch"],
        "gradient_accumulation_steps": 4,
        "gradient_checkpointing": row["gradient_checkpointing"],
        "validation_split": 0,
    }
    lengths = {"max_prompt_length": 16, "max_completion_length": int(row["completion_length"])}
    own = {**lengths, "num_generations": int(row["num_generations"]), "beta": 0.0}
    stack = Stack(versions=dict(re.findall(r"(\w+) ([\d.]+)", row["stack"])))
    inventory = from_config(CONFIGS[row["model"]])
    return estimate(inventory, check(given) | own, shapes=Shapes(16), stack=stack, method="grpo")


def error(predicted, measured_gib):
    return predicted / GIB / float(measured_gib) - 1


@pytest.mark.parametrize("row", [row for row in ROWS if row["grade"] == "A"], ids=lambda row: row["id"])
def test_peak_within_two_per_cent(row):
    assert abs(error(predict(row).allocated_bytes, row["peak_allocated_gib"])) <= 0.02


def test_peaks_on_average_within_a_tenth_of_a_per_cent():
    errors = [
        abs(error(predict(row).allocated_bytes, row["peak_allocated_gib"])) for row in ROWS if row["grade"] == "A"
    ]
    assert sum(errors) / len(errors) <= 0.001


@pytest.mark.parametrize("row", [row for row in GRPO_ROWS if row["grade"] == "A"], ids=lambda row: row["id"])
def test_grpo_within_half_a_per_cent(row):
    found = predict_grpo(row)
    assert found.peak_phase == "forward_and_loss"
    assert abs(error(found.allocated_bytes, row["peak_allocated_gib"])) <= 0.005


@pytest.mark.parametrize("row", [row for row in GRPO_ROWS if row["grade"] == "B"], ids=lambda row: row["id"])
def test_grpo_of_an_unsure_stack_is_not_below_and_at_most_a_sixth_above(row):
    """These two fit 12 bytes a scored token and word (+0.4 % and -0.3 %), the four of grade A fit 16: see
    coefficients.yaml. What differs between their stacks is not told, so the larger counts for both."""
    assert 0 <= error(predict_grpo(row).allocated_bytes, row["peak_allocated_gib"]) <= 0.17


@pytest.mark.parametrize("row", RESERVED_ROWS, ids=lambda row: row["id"])
def test_what_the_allocator_held_with_grpo_lies_in_the_band(row):
    low, high = predict_grpo(row).reserved_bytes
    assert low <= float(row["peak_reserved_gib"]) * GIB <= high


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_resting_within_one_per_cent(row):
    assert abs(error(predict(row).resting_bytes, row["resting_allocated_gib"])) <= 0.01


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_what_the_driver_showed_lies_in_the_band(row):
    low, high = predict(row).device_bytes
    assert low <= int(row["device_mib"]) * 2**20 <= high


def test_kbit_preparation_leaves_embeddings_and_head_in_float32_but_under_bfloat16():
    """trl 0.13 (peft_module_casting_to_bf16); the row has bf16, and rests as the one without preparation."""
    row = next(row for row in ROWS if row["id"] == "mistral-qlora-kbit-b4")
    wide = predict({**row, "mixed_precision": "fp16", "weights_dtype": "float16"})
    assert wide.resting_bytes - predict(row).resting_bytes == pytest.approx(2 * 2 * 32000 * 4096, rel=0.01)


def test_what_the_driver_most_likely_shows_is_met_within_five_per_cent_on_average():
    errors = [abs(predict(row).likely_device_bytes / (int(row["device_mib"]) * 2**20) - 1) for row in ROWS]
    assert sum(errors) / len(errors) <= 0.05


def on_card(found, gib):
    return replace(found, available_bytes=int(gib * GIB * GPU_SHARE), limit_bytes=int(gib * GIB * GPU_LIMIT))


CARDS_GIB = (2, 4, 6, 8, 12, 16, 24, 32, 40, 48, 64, 80)


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row["id"])
def test_nothing_fits_a_card_that_is_smaller_than_what_was_measured(row):
    """The published runs ended well; on a card below their allocated peak each of them is a run out of memory."""
    found = (predict_grpo if row["trainer"] == "grpo" else predict)(row)
    peak = float(row["peak_allocated_gib"])
    for gib in CARDS_GIB:
        here = on_card(found, gib)
        if gib < peak:
            assert here.verdict == "too_large"
        elif gib < peak + 0.5:  # the context has no room any more
            assert here.verdict != "fits"


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row["id"])
def test_what_ran_is_not_called_too_large_for_where_it_ran(row):
    found = (predict_grpo if row["trainer"] == "grpo" else predict)(row)
    gib = {"A100-SXM4-80GB": 80, "RTX 4090": 24, "RTX 3070 Laptop 8GB": 8}[row["gpu"]]
    assert on_card(found, gib).verdict != "too_large"


CPU_ROWS = list(csv.DictReader((HERE / "measured_cpu.csv").read_text().splitlines()))


@pytest.mark.parametrize("row", CPU_ROWS, ids=lambda row: row["id"])
def test_a_process_on_a_cpu_took_what_the_band_says(row):
    given = {"dtype": "float32", "mixed_precision": "no", "gradient_checkpointing": False}
    given |= {name: row["per_device_batch"] for name in ("per_device_train_batch_size", "per_device_eval_batch_size")}
    values = check({"model_name_or_path": "m", "dataset": "d", "tuning": row["tuning"], **given})
    machine = Machine(cpu_count=2, ram_bytes=24 * GIB, ram_free_bytes=16 * GIB)
    shapes = Shapes(int(row["longest_row"]))
    found = estimate(from_config(CONFIGS["SmolLM2-135M"]), values, shapes=shapes, machine=machine)
    low, high = found.device_bytes
    assert low <= int(row["host_peak_bytes"]) <= high
