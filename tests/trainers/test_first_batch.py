"""The first batch is told as the model gets it, and a batch that teaches something else ends the run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.errors import JobFailed
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import sft
from trainers.training.first_batch import check

TURNS = [
    {"role": "user", "content": "Where is the Rhone?"},
    {"role": "assistant", "content": "In France."},
    {"role": "user", "content": "And the Elbe?"},
    {"role": "assistant", "content": "In Germany."},
]
ROW = {"input_ids": [1, 5, 6, 7], "labels": [-100, 5, -100, 7]}
OTHER = {"input_ids": [4, 8], "labels": [4, 8]}


def test_a_run_tells_what_it_learns_and_what_it_only_reads(tmp_path: Path, tiny: Path) -> None:
    rows = write_dataset(tmp_path / "v1", [{"messages": TURNS}, {"messages": TURNS[:2]}])
    folder = write_spec(tmp_path / "job", values=SFT | {"max_steps": 2}, dataset=rows, model=model_ref(tiny))
    assert run_here(sft.main, folder).outcome == "succeeded"
    (told,) = (event.data for event in events_of(folder, "batch"))
    assert (told["count"], len(told["rows"]), told["is_cut"]) == (2, 2, False)
    for row in told["rows"]:
        learned, read = ("".join(text for text, is_learned in row if is_learned is kind) for kind in (True, False))
        assert "In France." in learned and "Rhone" in read and "Rhone" not in learned and "France" not in read
    assert 0 < told["learned"] < told["tokens"]


def test_a_batch_that_would_teach_the_question_ends_the_run(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a library that makes its own labels would."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    own = DataCollatorForLanguageModeling.torch_call

    def all_learned(self: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return own(self, [row | {"labels": row["input_ids"]} for row in rows])

    monkeypatch.setattr(DataCollatorForLanguageModeling, "torch_call", all_learned)
    rows = write_dataset(tmp_path / "v1", [{"messages": TURNS}] * 2)
    folder = write_spec(tmp_path / "job", values=SFT, dataset=rows, model=model_ref(tiny))
    result = run_here(sft.main, folder)
    assert (result.outcome, result.reason) == ("failed", "job.batch.otherwise") and not events_of(folder, "batch")


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        ([ROW, OTHER], [[-100, 5, -100, 7], [4, 8, -100, -100]]),
        ([ROW, OTHER], [[-100, 5, -100, 7, -100, 8]]),
        ([{"input_ids": [1, 5, 4, 8], "labels": [1, 5, 4, 8], "seq_lengths": [2, 2]}], [[-100, 5, -100, 8]]),
    ],
    ids=["padded", "in one sequence", "packed"],
)
def test_rows_may_be_padded_or_joined(rows: list[dict[str, Any]], labels: list[list[int]]) -> None:
    is_joined = len(labels) < len(rows) or "seq_lengths" in rows[0]
    check(rows, {"labels": torch.tensor(labels)} | ({"position_ids": ...} if is_joined else {}))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([[1, 5, -100, 7]], "batch.otherwise"),
        ([[-100, 5, -100, -100]], "batch.otherwise"),
        ([[-100, 5, -100, 6]], "batch.otherwise"),
    ],
    ids=["more", "less", "another token"],
)
def test_other_labels_than_the_row_s_are_refused(labels: list[list[int]], reason: str) -> None:
    with pytest.raises(JobFailed) as refused:
        check([ROW], {"labels": torch.tensor(labels)})
    assert refused.value.reason == reason


def test_a_batch_with_nothing_to_learn_is_refused() -> None:
    with pytest.raises(JobFailed) as refused:
        check([ROW | {"labels": [-100] * 4}], {"labels": torch.full((1, 4), -100)})
    assert refused.value.reason == "batch.nothing"
