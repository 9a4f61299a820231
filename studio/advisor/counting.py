"""How many rows a run trains and validates with, and how many steps that makes."""

import math
from collections.abc import Mapping
from typing import Any


def steps_of(values: Mapping[str, Any], rows: int, own_validation: int = 0) -> int:
    """Optimizer steps of a run as transformers counts them: the last, smaller batch of an epoch is a step too.

    Where the model writes its answers, a device batch is one of answers, several to each question, and the questions
    that fill no whole batch are left for another time (trl: RepeatSampler).
    """
    if values["max_steps"] > 0:
        return values["max_steps"]
    if "num_generations" in values:
        answers = values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
        questions = max(1, answers // values["num_generations"])
        batches = max(1, training_rows(values, rows, own_validation) // questions)
        return max(1, math.ceil(batches * values.get("num_iterations", 1) * values["num_train_epochs"]))
    learned = with_old_rows(values, training_rows(values, rows, own_validation))
    batches = math.ceil(learned / values["per_device_train_batch_size"])
    per_epoch = max(1, math.ceil(batches / values["gradient_accumulation_steps"]))
    return max(1, math.ceil(per_epoch * values["num_train_epochs"]))


def with_old_rows(values: Mapping[str, Any], rows: int) -> int:
    """Rows of an epoch with the old ones that are mixed in (`trainers.continual.old_rows.replayed` counts the same)."""
    if values.get("continual") != "replay":
        return rows
    return rows + round(rows * values["replay_ratio"] / (1 - values["replay_ratio"]))


def training_rows(values: Mapping[str, Any], rows: int, own_validation: int = 0) -> int:
    """Rows that are left after the held-out ones are set aside (`trainers.rows.data.held_out` counts the same)."""
    return rows if own_validation else rows - validation_rows(values, rows)


def validation_rows(values: Mapping[str, Any], rows: int, own_validation: int = 0) -> int:
    """Rows that a run validates with: those of the data set's own split if any, else a share of `rows`."""
    if values["validation_split"] == 0:
        return 0
    if own_validation or rows < 2:
        return own_validation
    return min(max(1, round(rows * values["validation_split"])), rows - 1)
