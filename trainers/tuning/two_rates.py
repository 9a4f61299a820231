"""LoRA+: the matrix that begins at zero learns faster than the other (Hayou et al. 2024)."""

from typing import Any


def split(optimizer: Any, model: Any, ratio: float) -> None:
    """Put LoRA's B into groups of their own, whose rate is `ratio` times that of the group they come from."""
    if ratio == 1:
        return
    faster = {id(weight) for name, weight in model.named_parameters() if ".lora_B." in name}
    for group in list(optimizer.param_groups):
        chosen = [weight for weight in group["params"] if id(weight) in faster]
        if chosen:
            group["params"] = [weight for weight in group["params"] if id(weight) not in faster]
            options = {name: value for name, value in group.items() if name != "params"}
            optimizer.add_param_group(options | {"params": chosen, "lr": group["lr"] * ratio})
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
