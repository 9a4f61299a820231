"""Rows that count more or less: the weights, and the loss that a real run reports with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from studio.errors import JobFailed
from studio.protocol import DatasetRef
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import sft
from trainers.losses.row_weights import row_weights
from trainers.rows import token_rows

SIZES = {"refund": 6, "delivery": 2}
PRIORITIES = [3, 1, None, "0.5", 1, 1, 1, 0]


def rows_of(folder: Path, *, categories: Mapping[str, int] = SIZES) -> DatasetRef:
    names = [name for name, count in categories.items() for _ in range(count)]
    rows = [
        {
            "prompt": f"{name} {n}?",
            "completion": f"{n} " * (n + 1),
            "extra": None if PRIORITIES[n] is None else json.dumps({"priority": PRIORITIES[n]}),
            "category": name,
            "split": None,
        }
        for n, name in enumerate(names)
    ]
    return write_dataset(folder, rows)


def weights_of(rows: DatasetRef, tokens: list[int] | None = None, **values: Any) -> list[float]:
    return list(row_weights(rows, dict(enumerate(tokens or [1] * rows.rows, 1)), values).values())


def spec_of(job: Path, model: Path, rows: DatasetRef, **changes: Any) -> Path:
    steady = {"max_steps": 1, "save_steps": 1, "validation_split": 0.0, "lora_dropout": 0.0}
    whole = {"per_device_train_batch_size": rows.rows, "gradient_accumulation_steps": 1}
    return write_spec(job, values=SFT | steady | whole | changes, dataset=rows, model=model_ref(model))


def test_classes_of_unlike_size_get_like_weight(tmp_path: Path) -> None:
    weights = weights_of(rows_of(tmp_path / "v"), class_weights="balanced")
    assert weights == pytest.approx([8 / (2 * 6)] * 6 + [8 / (2 * 2)] * 2)
    assert sum(weights) == pytest.approx(8)


def test_tasks_with_long_answers_do_not_outweigh_the_others(tmp_path: Path) -> None:
    tokens = [2, 2, 2, 2, 2, 2, 50, 70]
    weights = weights_of(rows_of(tmp_path / "v"), tokens, class_weights="balanced_tokens")
    counted = [weight * size for weight, size in zip(weights, tokens, strict=True)]
    assert sum(counted[:6]) == pytest.approx(sum(counted[6:]))
    assert sum(weights) == pytest.approx(8)


def test_named_categories_and_a_column_of_the_rows_multiply(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "v")
    weights = weights_of(rows, category_weights="delivery=2", weight_column="priority")
    assert [each / weights[1] for each in weights] == pytest.approx([3, 1, 1, 0.5, 1, 1, 2, 0])
    assert sum(weights) == pytest.approx(8)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"category_weights": "refunds=2"}, "unknown_categories"),
        ({"weight_column": "importance"}, "no_weight_column"),
        ({"category_weights": "refund=0, delivery=0"}, "bad_weight"),
    ],
)
def test_weights_that_name_nothing_are_refused(tmp_path: Path, values: dict[str, str], reason: str) -> None:
    with pytest.raises(JobFailed) as caught:
        weights_of(rows_of(tmp_path / "v"), **values)
    assert caught.value.reason == reason


@pytest.mark.parametrize("value", ["high", -1, True, float("nan")])
def test_a_weight_that_is_none_is_refused_with_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    monkeypatch.setitem(globals(), "PRIORITIES", [1, 1, value, *PRIORITIES[3:]])
    with pytest.raises(JobFailed) as caught:
        weights_of(rows_of(tmp_path / "v"), weight_column="priority")
    assert caught.value.reason == "bad_weight"


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFailed) as caught:
        weights_of(rows_of(tmp_path / "v", categories={"refund": 4}), class_weights="balanced")
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
    weights = dict(enumerate(weights_of(rows, class_weights="balanced"), 1))
    assert losses["none"] == pytest.approx(sum(sums.values()) / counts, abs=1e-3)
    assert losses["balanced"] == pytest.approx(sum(weights[row] * sums[row] for row in sums) / counts, abs=1e-3)
    assert abs(losses["balanced"] - losses["none"]) > 5e-3


def row_losses(model_path: Path, rows: DatasetRef, folder: Path) -> tuple[dict[int, float], int]:
    """Row -> summed negative log-likelihood of its answer, by transformers alone; and all answer tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    from studio.protocol import read_spec
    from trainers.attempt import Attempt
    from trainers.models.loading import load_tokenizer

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
