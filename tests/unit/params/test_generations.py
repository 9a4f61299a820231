"""Answers to each question and the answers of an update: what does not divide is refused with what would."""

import pytest

from studio.errors import SpecRefused
from studio.params.table import check

ASKED = {"model_name_or_path": "m", "dataset": "d", "rewards": ["length"]}


def refused(**changes):
    with pytest.raises(SpecRefused) as found:
        check(ASKED | changes)
    return found.value.faults


@pytest.mark.parametrize("method", ["grpo", "rloo", "ppo"])
def test_the_nearest_that_divide_are_proposed_and_taken(method):
    batch = {"method": method, "per_device_train_batch_size": 6, "gradient_accumulation_steps": 2}
    (fault,) = refused(num_generations=5, **batch)
    assert (fault.field, fault.code) == ("num_generations", "spec.generations_divide")
    assert (fault.values["written"], fault.values["fits"], fault.values["more"]) == (12, 4, 15)
    assert check({**ASKED, **batch, "num_generations": fault.values["fits"]})["num_generations"] == 4
    wider = batch | {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 3}
    assert check({**ASKED, **wider, "num_generations": 5})["num_generations"] == 5


def test_one_answer_an_update_is_told_apart():
    batch = {"method": "grpo", "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    (fault,) = refused(num_generations=8, **batch)
    assert (fault.field, fault.code) == ("gradient_accumulation_steps", "spec.generations_alone")
    assert check({**ASKED, **batch, "num_generations": 8, "gradient_accumulation_steps": 8})["num_generations"] == 8
