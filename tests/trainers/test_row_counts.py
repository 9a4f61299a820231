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


@pytest.mark.parametrize("method", METHODS)
def test_a_method_gets_its_trainer_there(method: str) -> None:
    """By itself, or through what it shares with others."""
    room = Path(recipe.__file__).parents[1]
    makers = [room / f"{method}.py", room / "training" / "preference.py", room / "rewards" / "from_rewards.py"]
    own, *shared = (path.read_text("utf-8") for path in makers)
    assert "recipe.build(" in own or ("learner(" in own and all("recipe.build(" in each for each in shared))
