"""Every way of training compares the rows that it hands to the library with those that the library then has."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from studio.errors import JobFailed
from studio.params.methods import METHODS
from studio.protocol import read_spec
from tests.trainers.jobs import SFT, write_spec
from trainers.attempt import Attempt
from trainers.rows.token_rows import check_counts
from trainers.training import recipe

ROWS = Dataset.from_dict({"input_ids": [[1, 2], [3, 4], [5, 6]]})


class Library:
    """A trainer that makes of its rows what it likes."""

    def __init__(self, *, keeps: dict[str, int], callbacks: list[Any], **given: Any) -> None:
        self.train_dataset, self.eval_dataset = (
            given[name] and given[name].select(range(keeps[name])) for name in ("train_dataset", "eval_dataset")
        )


@pytest.mark.parametrize("lost", ["train_dataset", "eval_dataset"])
def test_a_row_that_the_library_drops_ends_the_run(tmp_path: Path, lost: str) -> None:
    folder = write_spec(tmp_path, values=SFT)
    attempt = Attempt(folder, read_spec(folder))
    given = {"train_dataset": ROWS, "eval_dataset": ROWS}
    with pytest.raises(JobFailed) as refused:
        recipe.build(attempt, Library, {}, None, keeps=dict.fromkeys(given, 3) | {lost: 2}, **given)
    assert (refused.value.reason, refused.value.values) == ("rows_lost", {"expected": 3, "found": 2})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_rows_that_the_library_packs_are_counted_one_by_one(tmp_path: Path, tiny: Path, tokenizer: Any) -> None:
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    ids = [list(range(3, 6 + n % 11)) for n in range(24)]
    rows = Dataset.from_dict({"row": range(24), "input_ids": ids, "labels": ids})
    given = {"train_dataset": rows, "eval_dataset": rows.select(range(7))}
    settings = {"packing": True, "max_length": 32, "report_to": "none", "use_cpu": True, "bf16": False}
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny),
        args=SFTConfig(str(tmp_path), **settings),
        processing_class=tokenizer,
        **given,
    )
    for side, own in given.items():
        packed = getattr(trainer, side)
        assert len(packed) < len(own), "several lie in one"
        check_counts(packed, len(own))
        lost = len(packed[-1]["seq_lengths"])
        with pytest.raises(JobFailed) as refused:
            check_counts(packed.select(range(len(packed) - 1)), len(own))
        assert refused.value.values == {"expected": len(own), "found": len(own) - lost}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_gets_its_trainer_there(method: str) -> None:
    """By itself, or through what it shares with others."""
    room = Path(recipe.__file__).parents[1]
    makers = [room / f"{method}.py", room / "training" / "preference.py", room / "rewards" / "from_rewards.py"]
    own, *shared = (path.read_text("utf-8") for path in makers)
    assert "recipe.build(" in own or ("learner(" in own and all("recipe.build(" in each for each in shared))
