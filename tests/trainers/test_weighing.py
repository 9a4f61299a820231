"""Rows of small classes count more: the weights, and the loss that a real run reports with them."""

from pathlib import Path
from typing import Any

import pytest

from studio.errors import JobFailed
from studio.protocol import DatasetRef
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import sft, token_rows
from trainers.weighing import class_weights

SIZES = {"refund": 6, "delivery": 2}


def rows_of(folder: Path, *, categories: dict[str, int] = SIZES) -> DatasetRef:
    names = [name for name, count in categories.items() for _ in range(count)]
    rows = [
        {"prompt": f"{name} {n}?", "completion": f"{n} " * (n + 1), "category": name, "split": None}
        for n, name in enumerate(names)
    ]
    return write_dataset(folder, rows)


def spec_of(job: Path, model: Path, rows: DatasetRef, **changes: Any) -> Path:
    steady = {"max_steps": 1, "save_steps": 1, "validation_split": 0.0, "lora_dropout": 0.0}
    whole = {"per_device_train_batch_size": rows.rows, "gradient_accumulation_steps": 1}
    return write_spec(job, values=SFT | steady | whole | changes, dataset=rows, model=model_ref(model))


def test_classes_of_unlike_size_get_like_weight(tmp_path: Path) -> None:
    weights = class_weights(rows_of(tmp_path / "v"))
    assert list(weights.values()) == pytest.approx([8 / (2 * 6)] * 6 + [8 / (2 * 2)] * 2)
    assert sum(weights.values()) == pytest.approx(8)


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFailed) as caught:
        class_weights(rows_of(tmp_path / "v", categories={"refund": 4}))
    assert caught.value.reason == "no_categories"


def test_the_loss_of_a_run_is_the_weighted_one(tmp_path: Path, tiny: Path) -> None:
    rows = rows_of(tmp_path / "v")
    losses = {}
    for kind in ("none", "balanced"):
        folder = spec_of(tmp_path / kind, tiny, rows, class_weights=kind)
        assert run_here(sft.main, folder).outcome == "succeeded"
        values = [event.data["values"] for event in events_of(folder, "metric")]
        losses[kind] = next(each["loss"] for each in values if "loss" in each)
    sums, counts = row_losses(tiny, rows, tmp_path)
    weights = class_weights(rows)
    assert losses["none"] == pytest.approx(sum(sums.values()) / counts, abs=1e-3)
    assert losses["balanced"] == pytest.approx(sum(weights[row] * sums[row] for row in sums) / counts, abs=1e-3)
    assert abs(losses["balanced"] - losses["none"]) > 5e-3


def row_losses(model_path: Path, rows: DatasetRef, folder: Path) -> tuple[dict[int, float], int]:
    """Row -> summed negative log-likelihood of its answer, by transformers alone; and all answer tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    from studio.protocol import read_spec
    from trainers.attempt import Attempt
    from trainers.loading import load_tokenizer

    model = AutoModelForCausalLM.from_pretrained(model_path).eval()
    attempt = spec_of(folder / "looked", model_path, rows)
    data, _ = token_rows.prepare_data(Attempt(attempt, read_spec(attempt)), load_tokenizer(model_path))
    sums, counts = {}, 0
    for row in data:
        ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
        size = int((labels[:, 1:] != -100).sum())
        with torch.no_grad():
            sums[row["row"]] = float(model(input_ids=ids, labels=labels).loss) * size
        counts += size
    return sums, counts
