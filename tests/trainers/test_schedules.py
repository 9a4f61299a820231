"""Courses of the learning rate and optimizers: what a run really takes, and that it goes on as if undisturbed."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.resumed import STEPS, assert_resumes_alike, losses_of, metric_of, rows_of, run_of
from trainers.training.optimizers import MuonWithAdamW
from trainers.training.schedules import set_rate

RATE = 1e-3
HELD_OUT = {"validation_split": 0.25, "eval_steps": 2}


def rates(folder: Path) -> list[float]:
    return list(metric_of(folder, "learning_rate").values())


def test_the_rate_falls_only_at_the_end(tmp_path: Path, tiny: Path) -> None:
    values = {"lr_scheduler_type": "warmup_stable_decay", "decay_ratio": 0.25, "optim": "muon", "weight_decay": 0.01}
    found = rates(assert_resumes_alike(tmp_path, tiny, **values))
    assert found[:6] == pytest.approx([RATE] * 6)
    assert RATE > found[7] > 0


def test_the_rate_starts_high_again(tmp_path: Path, tiny: Path) -> None:
    values = {"lr_scheduler_type": "cosine_with_restarts", "num_cycles": 2, "optim": "lion_8bit"}
    found = rates(assert_resumes_alike(tmp_path, tiny, **values))
    assert found[0] == found[4] == RATE
    assert found[3] < found[0] / 4


def test_the_rate_falls_when_the_validation_stands_still(tmp_path: Path, tiny: Path) -> None:
    # So small a rate that nothing gets better than it was.
    plateau = {"lr_scheduler_type": "reduce_lr_on_plateau", "plateau_factor": 0.1, "plateau_patience": 0}
    values = {"learning_rate": 1e-7, "optim": "sgd", **plateau, **HELD_OUT}
    found = rates(assert_resumes_alike(tmp_path, tiny, **values))
    assert found[0] == 1e-7
    assert found[-1] == pytest.approx(1e-8)


@pytest.mark.parametrize("optim", ["lion_32bit", "muon"])
def test_an_optimizer_learns(tmp_path: Path, tiny: Path, optim: str) -> None:
    folder = run_of(tmp_path / "job", tiny, rows_of(tmp_path / "rows"), optim=optim, tuning="full")
    losses = losses_of(folder)
    assert losses[STEPS] < losses[1] - 0.05


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning")
@pytest.mark.parametrize("optim", ["adamw_bnb_8bit", "paged_adamw_8bit", "lion_8bit", "paged_lion_8bit", "adafactor"])
def test_an_optimizer_that_saves_memory_learns_and_goes_on(tmp_path: Path, tiny: Path, optim: str) -> None:
    """With matrices so large that their states are in 8 bits; of paged ones nothing is paged on a CPU."""
    folder = assert_resumes_alike(tmp_path, tiny, optim=optim, tuning="full", weight_decay=0.01)
    losses = losses_of(folder)
    assert losses[STEPS] < losses[1] - 0.05
    kept = torch.load(tmp_path / "whole" / "checkpoints" / f"step-{STEPS}" / "optimizer.pt", weights_only=True)
    assert (torch.uint8 in dtypes_in(kept["state"])) == optim.endswith("8bit")


def dtypes_in(state: Any) -> set[torch.dtype]:
    if torch.is_tensor(state):
        return {state.dtype}
    return set().union(*map(dtypes_in, state.values())) if isinstance(state, dict) else set()


def test_muon_takes_matrices_between_layers_only(tiny: Path) -> None:
    from types import SimpleNamespace

    from transformers import AutoModelForCausalLM, Trainer

    from trainers.training.optimizers import UsesMuon

    model = AutoModelForCausalLM.from_pretrained(tiny)
    of = type("T", (UsesMuon, Trainer), {"__init__": lambda self: None})()
    of.model, of.optimizer, of.args = model, None, SimpleNamespace(learning_rate=1.0, weight_decay=0.1)
    found = {id(weight): group for group in of.create_optimizer().param_groups for weight in group["params"]}
    for name, weight in model.named_parameters():
        group = found[id(weight)]
        assert ("ns_steps" in group) == (name.endswith("proj.weight")), name
        assert group["weight_decay"] == (0.0 if "norm" in name else 0.1), name


def test_muon_goes_on_from_its_saved_states() -> None:
    def made() -> tuple[list[torch.nn.Parameter], MuonWithAdamW]:
        torch.manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(6, 4)), torch.nn.Parameter(torch.randn(4))]
        return weights, MuonWithAdamW(matrices=weights[:1], others=weights[1:], lr=0.1)

    def step(weights: list[torch.nn.Parameter], optimizer: MuonWithAdamW, number: int) -> None:
        torch.manual_seed(number)
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        optimizer.step()

    weights, optimizer = made()
    step(weights, optimizer, 1)
    others, resumed = made()
    with torch.no_grad():
        for own, other in zip(weights, others, strict=True):
            other.copy_(own)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(weights, optimizer, 2)
    step(others, resumed, 2)
    assert all(torch.equal(own, other) for own, other in zip(weights, others, strict=True))


def test_another_rate_on_a_plateau() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    set_rate(optimizer, scheduler, 0.05)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert scheduler.get_last_lr() == [pytest.approx(0.05)]
