"""Alarms on what real runs of tiny models tell: each is made to go wrong in one way, and healthy ones are silent."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.alarms.curves import Curve, curve
from studio.alarms.watching import watch
from studio.protocol import DatasetRef, read_spec
from tests.fixture_sets import imported
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec, write_tiny_model
from tests.trainers.test_preference import BASE, said
from tests.trainers.test_preference import METHODS as PREFERENCES
from tests.trainers.test_rewarded import METHODS as REWARDED
from tests.trainers.test_rewarded import VALUES
from trainers import sft

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.filterwarnings("ignore::UserWarning")]

LONG = {"name": "length", "unit": "characters", "min": 60, "max": 500, "slack": 60}
"""A rule that is met with the longest tokens that there are, whatever they say."""
WRITES = {"per_device_train_batch_size": 8, "save_steps": 100}


def untied(folder: Path, starter: Path, *, ends: float | None = None) -> Path:
    """A tiny model with a vocabulary head of its own: one that is surer of what it says, or one that ends answers.

    Args:
        ends: how much likelier the end of an answer is; then every other token is about as likely as any.
    """
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(write_tiny_model(folder, starter))
    model.config.tie_word_embeddings = False
    torch.manual_seed(1)
    embedding = model.model.embed_tokens.weight.data
    if ends is None:
        head = 0.3 * torch.randn(embedding.shape)
    else:
        always = torch.nn.functional.normalize(torch.randn(embedding.shape[1]), dim=0)
        head = embedding - (embedding @ always)[:, None] * always
        head[model.config.eos_token_id] = ends * always
        embedding += always
    model.lm_head.weight = torch.nn.Parameter(head)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sure(tiny: Path, starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untied(tmp_path_factory.mktemp("sure") / "model", starter)


@pytest.fixture(scope="module")
def ending(tiny: Path, starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untied(tmp_path_factory.mktemp("ending") / "model", starter, ends=0.8)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    asked = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {2 * n}."} for n in range(12)]
    return write_dataset(tmp_path_factory.mktemp("asked") / "v1", asked)


def curves_of(folder: Path) -> dict[str, Curve]:
    points: dict[str, list[tuple[int, float]]] = {}
    for event in events_of(folder, "metric"):
        for name, value in event.data["values"].items():
            points.setdefault(name, []).append((event.data["step"], float("nan") if value is None else value))
    return {name: curve(*zip(*told, strict=True)) for name, told in points.items()}


def alarms(job: Path, model: Path, rows: DatasetRef, method: str, **changed: Any) -> dict[str, tuple[dict, ...]]:
    """{alarm: what it would change} of a run with these settings."""
    module, own = (PREFERENCES | REWARDED)[method]
    shared = VALUES | WRITES if method in REWARDED else BASE | {"save_steps": 100}
    values = shared | own | {"method": method} | changed
    folder = write_spec(job, values=values, dataset=rows, model=model_ref(model))
    result = run_here(module.main, folder)
    assert result.outcome == "succeeded", result
    return {alarm.code: alarm.changes for alarm in watch(curves_of(folder), read_spec(folder).values)}


def test_a_huge_rate_that_nothing_holds_back_runs_away(tmp_path: Path, sure: Path, questions: DatasetRef) -> None:
    found = alarms(tmp_path, sure, questions, "grpo", beta=0.001, learning_rate=0.3, max_steps=7)
    assert found == {"kl_explodes": ({"beta": 0.003}, {"learning_rate": 0.15})}


def test_a_reward_that_is_constant_tells_no_answer_from_another(
    tmp_path: Path, tiny: Path, questions: DatasetRef
) -> None:
    anything = [{"name": "length", "min": 1, "max": 500}]
    found = alarms(tmp_path, tiny, questions, "grpo", rewards=anything, max_steps=6, max_completion_length=4)
    assert set(found) == {"spread_none"}


@pytest.mark.slow
def test_a_reward_that_long_answers_meet_by_chance_makes_them_long(
    tmp_path: Path, ending: Path, questions: DatasetRef
) -> None:
    values = {"max_steps": 12, "max_completion_length": 32, "learning_rate": 1e-2, "beta": 0.0}
    rewards = [{"name": "contains", "texts": ["a"]}]
    found = alarms(tmp_path / "1", ending, questions, "grpo", rewards=rewards, **values)
    assert {"length_grows", "cut_off_more"} <= set(found)
    asked = [{"name": "length", "min": 20, "max": 500, "slack": 20}]
    found = alarms(tmp_path / "2", ending, questions, "grpo", rewards=asked, **values)
    assert "length_grows" not in found, "it was asked for"


@pytest.mark.slow
def test_a_reward_out_of_reach_that_one_text_always_raises_makes_all_answers_that_text(
    tmp_path: Path, sure: Path, questions: DatasetRef
) -> None:
    values = {"max_steps": 30, "max_completion_length": 6, "learning_rate": 2e-2, "beta": 0.0}
    rewards = [LONG | {"min": 300, "slack": 300}]
    found = alarms(tmp_path, sure, questions, "grpo", rewards=rewards, **values)
    assert set(found) == {"entropy_collapses", "hacked_alike", "spread_lost"}


@pytest.mark.slow
def test_a_rate_that_moves_nothing_is_told_with_the_beta_that_holds_it(
    tmp_path: Path, sure: Path, questions: DatasetRef
) -> None:
    values = {"max_steps": 20, "max_completion_length": 4, "learning_rate": 1e-9}
    held = alarms(tmp_path / "1", sure, questions, "grpo", beta=0.04, **values)
    assert held == {"kl_stuck": ({"beta": 0.012}, {"learning_rate": 3e-9})}
    free = alarms(tmp_path / "2", sure, questions, "grpo", beta=0.0, **values)
    assert set(free) == {"reward_flat"} and free["reward_flat"][0] == {"learning_rate": 3e-9}


@pytest.mark.slow
def test_a_model_that_cannot_do_it_is_told_so(tmp_path: Path, sure: Path, questions: DatasetRef) -> None:
    rewards = [{"name": "exact_match"}]
    found = alarms(tmp_path, sure, questions, "rloo", rewards=rewards, max_steps=10, max_completion_length=4)
    assert found == {"never_scores": ()}


@pytest.mark.slow
def test_a_task_that_is_learned_to_its_end_is_told_as_solved(tmp_path: Path, sure: Path, questions: DatasetRef) -> None:
    values = {"max_steps": 30, "max_completion_length": 8, "learning_rate": 2e-2, "beta": 0.0}
    rewards = [{"name": "contains", "texts": ["th"]}]
    assert alarms(tmp_path, sure, questions, "grpo", rewards=rewards, **values) == {"solved": ()}
    reward = curves_of(tmp_path / "attempts" / "1")["reward"]
    assert reward.early < 0.5 and reward.late >= 0.9, "the best reward that there is"


@pytest.mark.slow
def test_ppo_comes_to_the_best_reward_that_there_is(tmp_path: Path, sure: Path, questions: DatasetRef) -> None:
    values = {"max_steps": 60, "max_completion_length": 8, "learning_rate": 1e-2, "beta": 0.0, "kl_target": 0.0}
    values |= {"num_iterations": 2, "missing_eos_penalty": 0.0, "entropy_coef": 0.0}
    alarms(tmp_path, sure, questions, "ppo", rewards=[{"name": "contains", "texts": ["th"]}], **values)
    told = curves_of(tmp_path / "attempts" / "1")
    assert told["reward"].early < 0.5 and told["reward"].late >= 0.9


@pytest.mark.slow
def test_a_reward_that_short_answers_meet_by_chance_makes_them_short(
    tmp_path: Path, ending: Path, questions: DatasetRef
) -> None:
    values = {"max_steps": 30, "max_completion_length": 24, "learning_rate": 1e-2, "beta": 0.0, "tuning": "full"}
    values |= {"per_device_train_batch_size": 16, "num_generations": 8}
    rewards = [{"name": "pattern", "pattern": r"^[\s\S]{0,35}$"}]
    assert "length_shrinks" in alarms(tmp_path, ending, questions, "grpo", rewards=rewards, **values)


@pytest.mark.slow
def test_a_rule_that_is_met_by_breaking_another_is_told_with_half_its_weight(
    tmp_path: Path, sure: Path, questions: DatasetRef
) -> None:
    values = {"max_steps": 24, "max_completion_length": 8, "learning_rate": 2e-2, "beta": 0.0}
    wanted, unwanted = {"name": "contains", "texts": ["th"]}, {"name": "pattern", "pattern": r"(?i)^((?!th)[\s\S])*$"}
    rewards = [wanted | {"weight": 3.0}, unwanted | {"weight": 1.0}]
    found = alarms(tmp_path, sure, questions, "grpo", rewards=rewards, **values)
    assert found["hacked_rule"][0]["rewards"] == [wanted | {"weight": 1.5}, unwanted | {"weight": 1.0}]


@pytest.mark.slow
def test_a_reward_that_held_out_questions_do_not_share_is_told(tmp_path: Path, sure: Path) -> None:
    """What is learned from is more of the letter t, what is held out wants e."""
    letters = {"train": ("t", range(12)), "validation": ("e", range(12, 20))}
    rows = [
        {"prompt": f"What is {n} plus {n}?", "completion": letter, "split": split}
        for split, (letter, numbers) in letters.items()
        for n in numbers
    ]
    values = {"max_steps": 24, "max_completion_length": 8, "learning_rate": 2e-2, "beta": 0.0, "eval_steps": 6}
    values |= {"rewards": [{"name": "similarity", "measure": "chrf"}], "validation_split": 0.25}
    found = alarms(tmp_path / "run", sure, write_dataset(tmp_path / "v1", rows), "grpo", **values)
    assert set(found) == {"hacked_held_out"}


@pytest.mark.slow
def test_a_reward_that_comes_once_in_a_while_makes_the_critic_swing(
    tmp_path: Path, sure: Path, questions: DatasetRef
) -> None:
    values = {"max_steps": 24, "max_completion_length": 8, "learning_rate": 1e-5, "beta": 0.0, "kl_target": 0.0}
    values |= {"normalize_rewards": False, "missing_eos_penalty": 0.0, "entropy_coef": 0.0}
    found = alarms(tmp_path, sure, questions, "ppo", rewards=[{"name": "contains", "texts": ["qu"]}], **values)
    assert found["value_loss_swings"][0] == {"normalize_rewards": True}


@pytest.mark.slow
def test_a_model_that_knew_the_better_answers_and_loses_them_is_told(tmp_path: Path, sure: Path) -> None:
    asked = [f"What is {n} plus {n}?" for n in range(12)]
    good, bad = ([f"It is {2 * n} {what}." for n in range(12)] for what in ("apples", "pears"))
    rows = [{"prompt": question, "completion": answer} for question, answer in zip(asked, good, strict=True)]
    pairs = [
        {"prompt": said("user", question), "chosen": said("assistant", one), "rejected": said("assistant", other)}
        for question, one, other in zip(asked, good, bad, strict=True)
    ]
    whole = {name: value for name, value in SFT.items() if not name.startswith("lora_")}
    values = whole | {"tuning": "full", "max_steps": 40, "learning_rate": 1e-2, "save_steps": 40}
    rows = write_dataset(tmp_path / "rows", rows)
    first = write_spec(tmp_path / "sft", values=values, dataset=rows, model=model_ref(sure))
    assert run_here(sft.main, first).outcome == "succeeded"
    knows = Path(events_of(first, "checkpoint")[-1].data["path"])
    values = {"beta": 0.01, "learning_rate": 3e-2, "max_steps": 16, "max_length": 256}
    found = alarms(tmp_path / "dpo", knows, write_dataset(tmp_path / "pairs", pairs), "dpo", **values)
    assert found == {"runs_off": ({"beta": 0.02}, {"learning_rate": 1.5e-2})}


@pytest.mark.slow
def test_pairs_that_move_nothing_are_told(tmp_path: Path, sure: Path) -> None:
    pairs = imported(tmp_path / "data", "preference")
    found = alarms(tmp_path / "run", sure, pairs, "dpo", beta=5.0, learning_rate=1e-9, max_steps=16, max_length=256)
    assert found == {"margin_flat": ({"beta": 2.5}, {"learning_rate": 3e-9})}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "rate", "beta"), [("grpo", 1e-2, 0.0), ("rloo", 1e-2, 0.01), ("ppo", 3e-3, 0.01)])
def test_a_run_that_learns_a_reward_is_silent(
    tmp_path: Path, sure: Path, questions: DatasetRef, method: str, rate: float, beta: float
) -> None:
    """It comes to write longer words, of many kinds."""
    values = {"max_steps": 18, "max_completion_length": 6, "learning_rate": rate, "beta": beta}
    rewards = [LONG | {"min": 120, "slack": 120}]
    more = {"kl_target": 0.0} if method == "ppo" else {}
    assert alarms(tmp_path, sure, questions, method, rewards=rewards, **values, **more) == {}
    if method == "grpo":
        reward = curves_of(tmp_path / "attempts" / "1")["reward"]
        assert reward.late > reward.early, "it did learn"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "name"), [("dpo", "preference"), ("cpo", "preference"), ("kto", "unpaired")])
def test_a_run_that_learns_to_prefer_is_silent(tmp_path: Path, sure: Path, method: str, name: str) -> None:
    rows = imported(tmp_path / "data", name)
    values = {"max_steps": 40, "learning_rate": 1e-3, "per_device_train_batch_size": 4, "max_length": 256}
    assert alarms(tmp_path / "run", sure, rows, method, **values) == {}
