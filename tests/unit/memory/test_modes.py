"""Which trace speaks for a run: the way of training that its settings name, and no other."""

from dataclasses import replace

import pytest

from studio.memory.activations import layers_of
from studio.memory.adapters import TUNINGS
from studio.memory.inventory import from_config
from studio.memory.layers import Mode, Peak, Profile, Size
from studio.memory.stack import Stack, installed_stack
from studio.memory.ways import mode_of
from tests.unit.memory.test_estimate import LLAMA_8B, settings

PROFILE = Profile(
    **{name: Size(token=float(number)) for number, name in enumerate(("kept", "below", "first", "above"), 1)},
    **{name: Peak((Size(token=10.0),)) for name in ("forward", "backward", "no_grad")},
)


def mode(tuning, **changes):
    values = {**settings(tuning="lora"), "lora_r": 8, "tuning": tuning, **changes}
    return mode_of(values, stack=installed_stack())


@pytest.mark.parametrize("tuning", TUNINGS)
def test_every_tuning_has_a_trace_of_its_own(tuning):
    found = mode(tuning)
    assert found is not None and Mode.from_document(found.document()) == found
    assert found.is_usual == (tuning in ("full", "lora", "qlora"))


def test_virtual_tokens_and_dora_are_part_of_it():
    assert mode("prefix_tuning", num_virtual_tokens=7).num_virtual_tokens == 7
    assert mode("ia3", num_virtual_tokens=7).num_virtual_tokens == 0
    assert mode("lora", use_dora=True).variant == "dora" and mode("lora").variant == ""


def test_what_was_traced_before_there_were_variants_is_still_known():
    assert not {"variant", "num_virtual_tokens"} & mode("lora").document().keys()


def test_older_libraries_have_none():
    values = {**settings(tuning="lora"), "lora_r": 8}
    assert mode_of(values, stack=Stack(versions={"transformers": "4.48.1"})) is None


def test_a_trace_of_dora_speaks_for_dora_alone():
    traced = replace(from_config(LLAMA_8B), profiles=((mode("lora", use_dora=True), PROFILE),))
    plain = {**settings(tuning="lora"), "lora_r": 8}
    found = {
        name: layers_of(traced, plain | {"use_dora": is_dora}, stack=installed_stack(), device="cuda")
        for name, is_dora in (("dora", True), ("lora", False))
    }
    assert found["dora"].is_traced and found["dora"].has_beside
    assert not found["lora"].is_traced
