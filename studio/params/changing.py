"""Which values of a run may change while it stays the same run, and what the next smaller setting is.

smaller({"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, ...})
    -> {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
"""

from collections.abc import Mapping
from typing import Any

FREE_TO_CHANGE = frozenset(
    {
        "goal",
        "run_name",
        "save_steps",
        "save_total_limit",
        "logging_steps",
        "retry_smaller",
        "gradient_checkpointing",
        "per_device_eval_batch_size",
    }
)
"""Values that change nothing in the weights."""
CONTINUABLE = frozenset({"num_train_epochs", "max_steps", "learning_rate", "eval_steps", "early_stopping_patience"})
"""Values that a run may have otherwise than the one whose checkpoint it goes on from."""
ANEW = frozenset(
    {
        "seed",
        "num_train_epochs",
        "max_steps",
        "learning_rate",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "continual",
        "old_dataset",
        "replay_ratio",
        "general_rows",
        "general_share",
        "sft_coef",
        "ewc_lambda",
        "si_c",
        "track_importance",
    }
)
"""What a person may change, besides the data set, in a run that begins with another one's weights alone."""


FREE_OF_SHAPE = frozenset({"lora_dropout", "loraplus_lr_ratio"})


def shaping() -> frozenset[str]:
    """Names of the values that decide which weights are trained, and so which other run's weights fit."""
    from studio.params.table import every_parameter

    names = {name for name, each in every_parameter().items() if each.group in ("lora", "tuning")}
    return frozenset(names | {"tuning"}) - FREE_OF_SHAPE


def smaller(values: Mapping[str, Any], *, phase: str | None = None, has_checkpoints: bool = False) -> dict[str, Any]:
    """The values to change so that a run needs less memory and still learns from the same rows in an update.

    In order: fewer rows at once (and as many more batches an update), checkpointed activations, a base in 4 bits. The
    last makes another model of it, so only where nothing was saved yet. Empty: there is nothing smaller.

    Args:
        phase: what the run did when memory ran out; held-out rows are scored in batches of their own.
    """
    if phase == "evaluating" and values.get("per_device_eval_batch_size", 1) > 1:
        return {"per_device_eval_batch_size": values["per_device_eval_batch_size"] // 2}
    rows, batches = values.get("per_device_train_batch_size", 1), values.get("gradient_accumulation_steps", 1)
    in_four_bits = {"tuning": "qlora"} if values.get("tuning") == "lora" and not has_checkpoints else {}
    if phase == "loading_model":  # rows are not there yet
        return in_four_bits
    if rows > 1:
        fewer = max(number for number in range(1, rows // 2 + 1) if rows * batches % number == 0)
        return {"per_device_train_batch_size": fewer, "gradient_accumulation_steps": rows * batches // fewer}
    # A prefix cannot go through a layer that is computed again.
    if not values.get("gradient_checkpointing") and values.get("tuning") != "prefix_tuning":
        return {"gradient_checkpointing": True}
    return in_four_bits
