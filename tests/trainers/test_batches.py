"""How the rows of an update are portioned changes nothing: 1 row x 8 batches learns as 8 rows x 1 batch does."""

from pathlib import Path
from typing import Any

import pytest

from studio.protocol import DatasetRef
from tests.trainers.jobs import write_dataset
from tests.trainers.resumed import losses_of, metric_of, run_of

ROWS = 8
WHOLE, ONE_BY_ONE = (
    {"per_device_train_batch_size": rows, "gradient_accumulation_steps": ROWS // rows} for rows in (ROWS, 1)
)
EVERYTHING = {
    "label_smoothing_factor": 0.1,
    "class_weights": "balanced",
    "adversarial": "fgm",
    "adversarial_epsilon": 0.1,
    "optim": "lion_32bit",
    "learning_rate": 1e-4,
    "max_grad_norm": 0.5,
}


@pytest.fixture
def rows(tmp_path: Path) -> DatasetRef:
    """Of very unlike length, so that a mean over batches is not the mean over tokens."""
    pairs = [
        {"prompt": f"Count to {n}", "completion": " ".join(map(str, range(n % 9 + 1))), "category": "ab"[n % 3 == 0]}
        for n in range(40)
    ]
    return write_dataset(tmp_path / "v1", pairs)


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
def test_the_loss_curve_is_the_same(tmp_path: Path, tiny: Path, rows: DatasetRef, changes: dict[str, Any]) -> None:
    steady = {"max_steps": 5, "lora_dropout": 0.0, "save_steps": 5, **changes}
    whole, one_by_one = (
        run_of(tmp_path / str(n), tiny, rows, **steady, **batch) for n, batch in enumerate((WHOLE, ONE_BY_ONE))
    )
    assert list(losses_of(whole).values()) == pytest.approx(list(losses_of(one_by_one).values()), rel=2e-4)
    for name in ("grad_norm", "num_tokens"):
        assert metric_of(whole, name)[2] == pytest.approx(metric_of(one_by_one, name)[2], rel=1e-3)
