"""Rows behind each other in one sequence teach what padded rows teach, and nothing of their neighbours."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.protocol import DatasetRef
from tests.trainers.jobs import events_of, write_dataset
from tests.trainers.resumed import assert_resumes_alike, losses_of, metric_of, run_of
from trainers.models.loading import load_model
from trainers.training import padding

STEADY = {"max_steps": 4, "save_steps": 4, "per_device_train_batch_size": 4, "lora_dropout": 0.0}


@pytest.fixture
def rows(tmp_path: Path) -> DatasetRef:
    """Of very unlike length, some of them raw answers to nothing in particular."""
    pairs = [{"prompt": f"Count to {n}", "completion": " ".join(map(str, range(n % 9 + 1)))} for n in range(17)]
    return write_dataset(tmp_path / "v1", pairs)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_curve_is_that_of_padded_rows(tmp_path: Path, tiny: Path, rows: DatasetRef, attention: str) -> None:
    more = STEADY | {"attn_implementation": attention, "validation_split": 0.2, "eval_steps": 2}
    padded, joined = (run_of(tmp_path / str(is_on), tiny, rows, **more, padding_free=is_on) for is_on in (False, True))
    assert list(losses_of(joined).values()) == pytest.approx(list(losses_of(padded).values()), rel=1e-4)
    for name in ("grad_norm", "eval_loss", "num_tokens"):
        assert metric_of(joined, name) == pytest.approx(metric_of(padded, name), rel=1e-3), name
    seen = [events_of(folder, "peaks")[-1].data["seen"] for folder in (padded, joined)]
    assert seen[0]["rows"] > 1 and seen[1]["rows"] == 1, "the rows lie in one sequence"
    assert seen[1]["tokens"] < seen[0]["rows"] * seen[0]["tokens"], "and nothing in it is padding"


def test_a_run_goes_on_as_if_undisturbed(tmp_path: Path, tiny: Path) -> None:
    assert_resumes_alike(tmp_path, tiny, padding_free=True)


def test_a_model_that_lets_rows_see_each_other_gets_them_padded(
    tmp_path: Path, tiny: Path, rows: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(tiny, dtype="float32", device="cpu")
    assert padding.keeps_rows_apart(model)
    own = type(model).forward

    def without_places(self: Any, *given: Any, position_ids: Any = None, **named: Any) -> Any:
        return own(self, *given, **named)

    monkeypatch.setattr(type(model), "forward", without_places)
    assert not padding.keeps_rows_apart(model)
    folder = run_of(tmp_path / "job", tiny, rows, **STEADY, padding_free=True)
    assert [event.data["code"] for event in events_of(folder, "alert")] == ["rows_not_joined"]
    assert events_of(folder, "peaks")[-1].data["seen"]["rows"] > 1


def test_in_bfloat16_rows_are_told_apart_too(tiny: Path) -> None:
    assert padding.keeps_rows_apart(load_model(tiny, dtype="bfloat16", device="cpu"))


def test_a_model_that_cannot_take_places_is_no_model_to_join_rows_for() -> None:
    class Strange(torch.nn.Linear):
        device = torch.device("cpu")

    assert not padding.keeps_rows_apart(Strange(2, 2))
