"""Which rows come when, and that a run that goes on has its order again."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import polars as pl
import pytest
from datasets import Dataset

from studio.protocol import read_spec
from studio.workshop.reports import DIFFICULTY
from tests.trainers.jobs import SFT, model_ref, run_here, write_dataset, write_spec
from tests.trainers.resumed import STEADY, STEPS, assert_resumes_alike
from trainers import sft
from trainers.attempt import Attempt
from trainers.rows.curricula import STAGES, order_of_run
from trainers.rows.token_rows import in_order
from trainers.training import recipe

ROWS = 30


def test_stages_take_harder_rows_in_and_leave_none_out() -> None:
    order = order_of_run("staged", ROWS, 3 * ROWS, seed=1)
    for stage in range(STAGES):
        part = order[stage * ROWS : (stage + 1) * ROWS]
        assert part.max() == ROWS * (stage + 1) // STAGES - 1
        assert Counter(part.tolist()).most_common()[0][1] <= STAGES
        assert part.tolist() != sorted(part)
    assert set(order.tolist()) == set(range(ROWS))


def test_step_by_step_the_rows_get_harder_until_the_middle() -> None:
    order = order_of_run("continuous", ROWS, 40 * ROWS, seed=1)
    growing, rest = numpy.split(order, 2)
    means = [part.mean() for part in numpy.array_split(growing, 8)]
    assert means[0] < ROWS / 6 and means[-1] > 2 * means[0]
    assert growing[0] < ROWS / 10
    assert set(Counter(rest.tolist()).values()) == {20}


@pytest.mark.parametrize("kind", ["easy_to_hard", "staged", "continuous"])
def test_an_order_is_whole_and_drawn_from_the_seed_alone(kind: str) -> None:
    for total in (1, 7, 100):
        order = order_of_run(kind, 10, total, seed=3)
        assert len(order) == total and order.min() >= 0 and order.max() < 10
        assert (order == order_of_run(kind, 10, total, seed=3)).all()


def test_the_control_is_blind_to_the_scores(tmp_path: Path) -> None:
    """The same rows in the same order whatever they are scored, and without any score; another one for another seed."""
    rows = Dataset.from_dict({"row": range(1, ROWS + 1)})

    def order(name: str, hardness: list[float] | None, *, control: bool = True, seed: int = 1) -> list[int]:
        version = write_dataset(tmp_path / name / "v1", [{"prompt": "a", "completion": "b"}] * ROWS)
        if hardness is not None:
            scores = pl.DataFrame({"row": range(1, ROWS + 1), "difficulty": hardness})
            scores.write_parquet(tmp_path / name / "v1" / DIFFICULTY)
        values = SFT | {"curriculum": "staged", "curriculum_control": control, "seed": seed}
        job = write_spec(tmp_path / name, values=values, dataset=version, seed=seed)
        return list(in_order(Attempt(job, read_spec(job)), rows)["row"])

    rising = [row / ROWS for row in range(ROWS)]
    drawn = order("rising", rising)
    assert drawn == order("falling", rising[::-1]) == order("none", None)
    assert sorted(drawn) == list(range(1, ROWS + 1)) and drawn not in (sorted(drawn), sorted(drawn)[::-1])
    assert drawn != order("seed", rising, seed=2)
    assert order("followed", rising[::-1], control=False) == list(range(ROWS, 0, -1))


@pytest.mark.parametrize("kind", ["staged", "continuous"])
def test_a_run_goes_on_in_its_order_past_the_end_of_an_epoch(tmp_path: Path, tiny: Path, kind: str) -> None:
    # 24 rows, eight a step: an epoch ends at steps 3 and 6, the checkpoint stands at 4.
    batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    assert_resumes_alike(tmp_path, tiny, curriculum=kind, curriculum_control=True, max_steps=STEPS, **batch)


def test_a_run_reads_the_easiest_rows_first(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [{"prompt": f"{i}?", "completion": "yes " * (i + 1)} for i in range(12)]
    dataset = write_dataset(tmp_path / "v1", pairs)
    hardness = [(7 * i) % 12 / 12 for i in range(12)]
    pl.DataFrame({"row": range(1, 13), "difficulty": hardness}).write_parquet(tmp_path / "v1" / DIFFICULTY)
    read: list[int] = []
    train = recipe.train

    def watched(attempt: Attempt, trainer: Any, resume_from: Path | None) -> Any:
        collate, lengths = trainer.data_collator, [len(ids) for ids in trainer.train_dataset["input_ids"]]
        assert len(set(lengths)) == len(pairs)

        def watching(rows: list[dict[str, Any]]) -> Any:
            read.extend(lengths.index(len(row["input_ids"])) for row in rows)
            return collate(rows)

        trainer.data_collator = watching
        return train(attempt, trainer, resume_from)

    monkeypatch.setattr(recipe, "train", watched)
    values = SFT | STEADY | {"curriculum": "staged", "max_steps": 6, "save_steps": 6}
    job = write_spec(tmp_path / "job", values=values, dataset=dataset, model=model_ref(tiny))
    assert run_here(sft.main, job).outcome == "succeeded"
    # Places in the data set, which stands from easy to hard; six steps of two rows, three stages.
    assert len(read) == 12
    assert max(read[:4]) < 4 and max(read[4:8]) < 8 and max(read[8:]) >= 8
