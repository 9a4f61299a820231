"""What the arithmetic promises beyond the measured rows: verdicts, levers, a CPU, odd configs, inspected models."""

from dataclasses import replace

import pytest

from studio.errors import RefusedInput
from studio.hardware import Gpu, Machine
from studio.memory.estimate import Shapes, estimate
from studio.memory.inventory import from_config, from_figures
from studio.memory.stack import Stack, coefficients
from studio.memory.survey import shipped
from studio.params.table import check, parameters

GIB = 2**30
SMOL = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
CPU = Machine(cpu_count=2, ram_bytes=16 * GIB, ram_free_bytes=12 * GIB)


def card(gib):
    gpu = Gpu(index=0, name="card", total_bytes=gib * GIB, free_bytes=gib * GIB, capability=(8, 9))
    return Machine(cpu_count=8, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB, gpus=(gpu,))


def settings(**changes):
    least = {"model_name_or_path": "m", "dataset": "d", "dtype": "bfloat16", "mixed_precision": "bf16"}
    return check({**least, "per_device_train_batch_size": 1, **changes})


def predict(config=LLAMA_8B, machine=None, longest=512, **changes):
    return estimate(from_config(config), settings(**changes), shapes=Shapes(longest), machine=machine)


def test_the_starter_model_has_its_number_of_parameters():
    assert from_config(SMOL).parameters == 134_515_008


def test_lora_parameters_of_every_linear_layer():
    # r x (in + out) for q, k, v, o, gate, up and down of 30 layers.
    a_layer = 8 * (576 + 576 + 576 + 192 + 576 + 192 + 576 + 576 + 3 * (576 + 1536))
    assert from_config(SMOL).adapter_parameters(["all-linear"], 8) == 30 * a_layer


@pytest.mark.parametrize(
    ("gib", "tuning", "verdict"),
    [(24, "lora", "fits"), (12, "qlora", "fits"), (12, "lora", "too_large"), (48, "full", "too_large")],
)
def test_sizes_that_people_know(gib, tuning, verdict):
    assert predict(machine=card(gib), tuning=tuning).verdict == verdict


@pytest.mark.parametrize(
    "lever",
    [
        {"gradient_checkpointing": True},
        {"per_device_train_batch_size": 2},
        {"max_length": 128},
        {"tuning": "qlora"},
        {"attn_implementation": "sdpa"},
    ],
    ids=lambda lever: next(iter(lever)),
)
def test_each_lever_frees_memory(lever):
    heavy = {"gradient_checkpointing": False, "per_device_train_batch_size": 8, "attn_implementation": "eager"}
    before = predict(**heavy)
    after = predict(**{**heavy, **lever})
    assert after.allocated_bytes < before.allocated_bytes


def test_an_8_bit_optimizer_frees_memory_in_full_training():
    assert predict(tuning="full", optim="adamw_bnb_8bit").resting_bytes < predict(tuning="full").resting_bytes


def test_accumulation_alone_frees_nothing():
    assert predict(gradient_accumulation_steps=8).allocated_bytes >= predict().allocated_bytes
    accumulated, moved = predict(gradient_accumulation_steps=8), predict(adversarial="fgm")
    assert moved.allocated_bytes == accumulated.allocated_bytes


def test_a_short_data_set_counts_its_own_length():
    several = {"per_device_train_batch_size": 8}
    assert predict(longest=64, **several).allocated_bytes < predict(longest=512, **several).allocated_bytes
    assert predict(longest=5000, **several).allocated_bytes == predict(longest=1024, **several).allocated_bytes


def test_on_a_cpu_the_process_itself_counts():
    found = predict(SMOL, machine=CPU, dtype="float32", mixed_precision="no", per_device_train_batch_size=4)
    assert found.device == "cpu" and found.verdict == "fits"
    assert found.terms["process"] == coefficients()["constants"]["process_bytes"]
    low, high = found.device_bytes
    assert low < found.allocated_bytes < high


def test_memory_that_another_run_holds_now_makes_a_run_tight_and_not_impossible():
    busy = Machine(cpu_count=2, ram_bytes=16 * GIB, ram_free_bytes=GIB)
    assert predict(SMOL, machine=busy, dtype="float32", mixed_precision="no").verdict == "tight"
    small = Machine(cpu_count=2, ram_bytes=GIB, ram_free_bytes=GIB)
    assert predict(SMOL, machine=small, dtype="float32", mixed_precision="no").verdict == "too_large"


def test_on_a_busy_gpu_what_is_free_counts_and_what_could_be():
    def found(free, lent=0):
        gpu = Gpu(0, "card", 24 * GIB, free * GIB, (8, 9), lent_bytes=lent * GIB)
        return predict(machine=Machine(cpu_count=8, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB, gpus=(gpu,)))

    assert found(free=24).verdict == "fits"
    assert found(free=4).verdict == "tight"  # another program holds the rest
    assert found(free=4, lent=20).verdict == "fits"  # a job of the studio's does
    assert found(free=4).available_bytes == 4 * GIB < found(free=4).limit_bytes


def test_of_two_gpus_the_one_with_more_room_counts():
    gpus = tuple(Gpu(i, f"card {i}", 24 * GIB, free * GIB, (8, 9)) for i, free in enumerate((3, 22)))
    machine = Machine(cpu_count=8, ram_bytes=64 * GIB, ram_free_bytes=60 * GIB, gpus=gpus)
    assert predict(machine=machine).available_bytes == 22 * GIB


def test_phases_are_named_and_the_peak_is_their_maximum():
    found = predict()
    assert set(found.phases) == {"load", "forward_and_loss", "layer_backward", "optimizer_step", "evaluation"}
    assert found.allocated_bytes == max(sum(parts.values()) for parts in found.phases.values())
    assert "evaluation" not in predict(validation_split=0).phases


def test_old_libraries_hold_all_logits_and_new_trl_does_not():
    old = Stack(versions={"transformers": "4.48.1", "trl": "0.13"})
    new = Stack(versions={"transformers": "5.23.0", "trl": "1.16.0"})
    sizes = [
        estimate(from_config(LLAMA_8B), settings(max_length=4096), shapes=Shapes(4096), stack=stack).allocated_bytes
        for stack in (old, new)
    ]
    assert sizes[0] > sizes[1] + 4096 * 128256 * 10


def test_every_optimizer_of_the_table_has_coefficients():
    table = {parameter.name: parameter for parameter in parameters("sft")}
    assert {choice.value for choice in table["optim"].choices} == set(coefficients()["optimizers"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model_type": "never-seen"}, "memory.unknown_family"),
        ({"hidden_size": -4}, "memory.odd_dimension"),
        ({"vocab_size": None}, "memory.odd_dimension"),
        ({"num_hidden_layers": 10**12}, "memory.odd_dimension"),
    ],
)
def test_an_odd_config_is_refused(change, code):
    with pytest.raises(RefusedInput) as refused:
        from_config({**SMOL, **change})
    assert refused.value.code == code


def test_an_inspect_job_and_the_config_tell_the_same():
    config = from_config(SMOL)
    figures = {
        "tied_embeddings": True,
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "intermediate_size": 1536,
        "vocab_size": 49152,
        "num_heads": 9,
        "modules": [
            {"kind": m.kind, "name": m.name, "shape": list(m.shape), "count": m.count, "dtype": "bfloat16"}
            for m in config.modules
        ]
        + [{"kind": "Linear", "name": "lm_head", "shape": [49152, 576], "count": 1, "dtype": "bfloat16"}],
    }
    assert replace(from_figures(figures), family="llama") == config


def test_weights_that_lie_on_their_side_are_put_upright() -> None:
    """GPT-2's three projections in one are (inputs, outputs); its adapters scale 2304 outputs, not 768."""
    known = shipped({"model_type": "gpt2"})
    assert known is not None
    found = from_figures(known["inventory"])
    shapes = {module.last_name: module.shape for module in found.modules if module.is_weight}
    assert shapes["c_attn"] == (2304, 768) and shapes["c_fc"] == (3072, 768)
