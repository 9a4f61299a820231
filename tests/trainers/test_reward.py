"""A reward model: learns which answer is better, tells how its scores are spread, goes on bit for bit."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.protocol import CheckpointRef, DatasetRef
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from tests.trainers.test_preference import LEFT_OUT, pair
from trainers import reward
from trainers.checkpoints.manifest import digest_of
from trainers.models.generation import Place
from trainers.models.labelling import Classifiers
from trainers.models.loading import load_tokenizer
from trainers.rewards.reward_scores import BINS, figures_of, read_figures

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

VALUES = {name: value for name, value in SFT.items() if name not in LEFT_OUT} | {
    "method": "reward",
    "center_rewards_coefficient": 0.01,
    "max_steps": 8,
    "save_steps": 4,
    "eval_steps": 4,
    "validation_split": 0.25,
    "learning_rate": 5e-3,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    return write_dataset(tmp_path_factory.mktemp("data") / "pairs", [pair(n) for n in range(16)])


def train(job: Path, model: Path, rows: DatasetRef, **changed: Any) -> tuple[Path, Path]:
    """The attempt's folder and its last checkpoint."""
    refs = {name: changed.pop(name) for name in ("attempt", "resume_from") if name in changed}
    folder = write_spec(job, values=VALUES | changed, dataset=rows, model=model_ref(model), **refs)
    result = run_here(reward.main, folder)
    assert result.outcome == "succeeded", result
    return folder, Path(events_of(folder, "checkpoint")[-1].data["path"])


@pytest.fixture(scope="module")
def trained(tiny: Path, rows: DatasetRef, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return train(tmp_path_factory.mktemp("reward"), tiny, rows)


def test_it_learns_which_answer_is_better(tiny: Path, trained: tuple[Path, Path]) -> None:
    """Told by transformers and peft alone, on pairs that no run has seen."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    tokenizer = load_tokenizer(tiny)
    base = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1, pad_token_id=tokenizer.pad_token_id)
    model = PeftModel.from_pretrained(base, trained[1]).eval()

    @torch.no_grad()
    def score(turns: list[dict[str, Any]]) -> float:
        ids = tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")["input_ids"]
        return float(model(input_ids=ids).logits)

    unseen = [pair(n) for n in range(30, 40)]
    wins = [score(row["prompt"] + row["chosen"]) > score(row["prompt"] + row["rejected"]) for row in unseen]
    assert sum(wins) >= 9


def test_every_evaluation_tells_the_scores_and_a_checkpoint_keeps_them(trained: tuple[Path, Path]) -> None:
    folder, last = trained
    told = [event.data for event in events_of(folder, "reward_scores")]
    assert [each["step"] for each in told] == [4, 8]
    assert told[-1]["pairs"] == 4 == sum(told[-1]["better"]) == sum(told[-1]["worse"])
    kept = read_figures(last)
    assert (kept.accuracy, kept.mean) == (told[-1]["accuracy"], told[-1]["mean"])
    curves = [event.data["values"] for event in events_of(folder, "metric")]
    assert any("rewards/margins" in each for each in curves) and any(
        "eval_rewards/accuracies" in each for each in curves
    )


def test_a_run_goes_on_bit_for_bit(tmp_path: Path, tiny: Path, rows: DatasetRef, trained: tuple[Path, Path]) -> None:
    last = trained[1]
    middle = last.with_name("step-4")
    found = [CheckpointRef(step=4, path=str(middle), digest=digest_of(middle))]
    _, resumed = train(tmp_path, tiny, rows, attempt=2, resume_from=found)
    for name in ("adapter_model.safetensors", "reward.json"):
        assert (resumed / name).read_bytes() == (last / name).read_bytes(), name


def test_asked_beside_other_models_it_gives_a_number(tiny: Path, trained: tuple[Path, Path]) -> None:
    last, models = trained[1], Classifiers("cpu")
    place = Place(str(tiny), str(last), digest=digest_of(last))
    row = pair(31)
    said = [models.answer(place, row["prompt"] + row[side])[0] for side in ("chosen", "rejected")]
    assert float(said[0]) > float(said[1])


def test_what_the_figures_say() -> None:
    pairs = [(1.0, 0.0, 10, 5), (2.0, 1.0, 12, 5), (0.0, 3.0, 4, 9), (1.0, 0.0, 7, 7)]
    found = figures_of(pairs)
    assert (found.pairs, found.accuracy, found.margin) == (4, 0.75, 0.0)
    assert found.mean == pytest.approx(1.0) and found.std == pytest.approx(1.0)
    assert found.longer_is_better == pytest.approx(2 / 3) and found.accuracy_when_shorter == 0.0
    assert found.length_correlation == pytest.approx(27 / math.sqrt(12 * 86.75)), (
        "it gives the longer answer the higher score"
    )
    assert len(found.edges) == BINS + 1 and sum(found.better) == sum(found.worse) == 4
    assert json.loads(json.dumps(found.edges)) == sorted(found.edges)


def test_scores_that_are_all_alike_are_no_fault() -> None:
    found = figures_of([(0.5, 0.5, 5, 5)] * 3)
    assert (found.accuracy, found.std, found.length_correlation, found.longer_is_better) == (0.0, 0.0, None, None)
    assert math.isfinite(found.edges[-1]) and sum(found.better) == 3
