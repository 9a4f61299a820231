"""The course of the learning rate and the optimizer, as transformers' arguments.

{"lr_scheduler_type": "cosine_with_restarts", "num_cycles": 3}  ->  {"lr_scheduler_kwargs": {"num_cycles": 3}}
"""

from collections.abc import Mapping
from typing import Any

PLATEAU, STABLE, RESTARTS = "reduce_lr_on_plateau", "warmup_stable_decay", "cosine_with_restarts"
MUON = "muon"
LION_BETA = 0.99
"""Lion's own (Chen et al. 2023); transformers would hand on AdamW's 0.999."""


def schedule_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a schedule needs besides its name. Specs may be older than its settings.

    The length of `warmup_stable_decay`'s last part depends on the steps: `trainers.training.schedules`.
    """
    kind = values["lr_scheduler_type"]
    if kind == RESTARTS:
        return {"lr_scheduler_kwargs": {"num_cycles": values.get("num_cycles", 1)}}
    if kind == PLATEAU:
        patience = {"factor": values["plateau_factor"], "patience": values["plateau_patience"]}
        return {"lr_scheduler_kwargs": patience, "metric_for_best_model": "loss", "greater_is_better": False}
    return {}


def optimizer_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """What an optimizer needs besides its name; Muon comes from `trainers.training.optimizers`."""
    if values["optim"] == MUON:
        return {"optim": "adamw_torch_fused"}
    return {"adam_beta2": LION_BETA} if "lion" in values["optim"] else {}
