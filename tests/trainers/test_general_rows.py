"""General rows beside a reward, and PPO's critic with a model of its own: what is learned, kept and gone on with."""

from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset
from safetensors.torch import load_file

from studio.protocol import CheckpointRef, DatasetRef
from tests.trainers.jobs import events_of, write_dataset
from tests.trainers.test_rewarded import WEIGHTS, last_of, train
from trainers.checkpoints.manifest import digest_of
from trainers.rows.general_rows import joined, rows_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

BESIDE = {"general_share": 0.5, "sft_coef": 2.0, "max_steps": 4, "save_steps": 2}


@pytest.fixture(scope="module", name="rows")
def fixture_rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    asked = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {2 * n}."} for n in range(12)]
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", asked)


@pytest.fixture(scope="module", name="general")
def fixture_general(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    said = [{"prompt": f"Who lives at number {n}?", "completion": "Nobody lives there."} for n in range(5)]
    return write_dataset(tmp_path_factory.mktemp("general") / "v1", said)


def test_every_row_comes_once_before_any_comes_again() -> None:
    passes = [rows_of(number, 5, 2, seed=1) for number in range(5)]
    drawn = [place for each in passes for place in each]
    assert sorted(drawn[:5]) == sorted(drawn[5:]) == list(range(5))
    assert drawn[:5] != drawn[5:] and rows_of(3, 5, 2, seed=1) == passes[3] != rows_of(3, 5, 2, seed=2)


@pytest.mark.parametrize(
    ("asked", "share", "general"), [(90, 0.1, 10), (190, 0.05, 10), (12, 0.5, 12), (45, 0.1, 5), (3, 0.05, 1)]
)
def test_the_share_of_general_questions_is_the_one_asked_for(asked: int, share: float, general: int) -> None:
    """Of all that are asked, not of the others; and one at the least."""
    own, others = (Dataset.from_dict({"row": list(rows)}) for rows in (range(1, asked + 1), range(-7, 0)))
    found = joined(own, others, share, seed=1)["row"]
    assert found[:asked] == list(range(1, asked + 1)) and len(found) == asked + general
    counts = Counter(found[asked:])
    assert all(row < 0 for row in counts) and max(counts.values()) - min(counts[row] for row in range(-7, 0)) <= 1


@pytest.mark.parametrize("method", ["grpo", "ppo"])
def test_general_answers_are_learned_beside_and_a_run_goes_on_bit_for_bit(
    tmp_path: Path, tiny: Path, rows: DatasetRef, general: DatasetRef, method: str
) -> None:
    beside = BESIDE | {"general_rows": "answers", "old_dataset": general, "learning_rate": 1e-2}
    folder = train(tmp_path / "1", tiny, rows, method, **beside)
    told = [event.data["values"] for event in events_of(folder, "metric")]
    losses = [each["sft_loss"] for each in told if "sft_loss" in each]
    assert len(losses) == 4 and losses[-1] < losses[0] - 0.1
    last = last_of(folder)
    middle = last.with_name("step-2")
    found = [CheckpointRef(step=2, path=str(middle), digest=digest_of(middle))]
    resumed = train(tmp_path / "2", tiny, rows, method, **beside, attempt=2, resume_from=found)
    assert (last_of(resumed) / WEIGHTS).read_bytes() == (last / WEIGHTS).read_bytes()


def test_general_rows_that_cannot_be_used_are_told_by_number(tmp_path: Path, tiny: Path, rows: DatasetRef) -> None:
    long = {"prompt": "word " * 200, "completion": "Nobody."}
    said = [{"prompt": f"Who lives at {n}?", "completion": "Nobody."} for n in range(3)]
    general = write_dataset(tmp_path / "general" / "v1", [said[0], long, said[1], long, said[2]])
    values = BESIDE | {"general_rows": "both", "old_dataset": general, "max_steps": 1, "max_length": 64}
    folder = train(tmp_path / "1", tiny, rows, "grpo", **values)
    told = {event.data["code"]: event.data["values"] for event in events_of(folder, "alert")}
    for code in ("general_questions_left_out", "old_rows_left_out"):
        assert (told[code]["rows"], told[code]["dataset"]) == ("2, 4", general.name)


def test_general_questions_are_asked_among_the_others(
    tmp_path: Path, tiny: Path, rows: DatasetRef, general: DatasetRef
) -> None:
    values = BESIDE | {"general_rows": "questions", "old_dataset": general, "max_steps": 12, "save_steps": 12}
    folder = train(tmp_path, tiny, rows, "rloo", **values)
    asked = {event.data["question"].split()[0] for event in events_of(folder, "rollout")}
    assert asked == {"What", "Who"}
    assert not any("sft_loss" in event.data["values"] for event in events_of(folder, "metric"))


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_critic_with_a_model_of_its_own_learns_and_goes_on_bit_for_bit(
    tmp_path: Path, tiny: Path, rows: DatasetRef, tuning: str
) -> None:
    values = {"tuning": tuning, "value_model": True, "max_steps": 4, "save_steps": 2, "learning_rate": 1e-3}
    folder = train(tmp_path / "1", tiny, rows, "ppo", **values)
    last = last_of(folder)
    own = load_file(last / "critic.safetensors")
    assert {"head.weight", "head.bias"} < own.keys() and any("layers.1" in name for name in own)
    assert all(weight.any() for name, weight in own.items() if name == "head.weight" or "lora_B" in name)
    weights = WEIGHTS if tuning == "lora" else "model.safetensors"
    assert not [name for name in load_file(last / weights) if "critic" in name]
    middle = last.with_name("step-2")
    found = [CheckpointRef(step=2, path=str(middle), digest=digest_of(middle))]
    resumed = train(tmp_path / "2", tiny, rows, "ppo", **values, attempt=2, resume_from=found)
    for name in (weights, "critic.safetensors"):
        assert (last_of(resumed) / name).read_bytes() == (last / name).read_bytes()
