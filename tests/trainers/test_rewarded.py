"""Learning from rewards: GRPO, RLOO, PPO with real weights; rules are told, a missing score is no 0, resumes exact."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.graders.score import Row
from studio.protocol import CheckpointRef, DatasetRef
from studio.rewards.recipe import parse
from studio.rewards.scoring import score
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import grpo, ppo, rloo
from trainers.checkpoints.manifest import digest_of
from trainers.rewards.from_rewards import remembered
from trainers.rewards.rewarded import GENERATED, missing_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

WEIGHTS = "adapter_model.safetensors"
REWARDS = [{"name": "length", "min": 2, "max": 6, "weight": 1.0}, {"name": "contains", "texts": ["a"], "weight": 0.5}]
VALUES = {name: value for name, value in SFT.items() if name != "packing"} | {
    "rewards": REWARDS,
    "num_generations": 4,
    "per_device_train_batch_size": 4,
    "max_completion_length": 12,
    "temperature": 1.0,
    "top_p": 1.0,
    "epsilon": 0.2,
    "epsilon_high": 0.28,
    "num_iterations": 1,
    "mask_truncated_completions": False,
    "max_steps": 4,
    "save_steps": 1,
}
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "grpo": (grpo, {"beta": 0.04, "loss_type": "dapo", "entropy_coef": 0.0, "scale_rewards": "group"}),
    "ppo": (
        ppo,
        {
            "beta": 0.05,
            "cliprange": 0.2,
            "cliprange_value": 0.2,
            "vf_coef": 0.1,
            "gamma": 1.0,
            "lam": 0.95,
            "whiten_advantages": True,
            "normalize_rewards": True,
            "missing_eos_penalty": 0.5,
            "kl_target": 1.0,
            "entropy_coef": 0.01,
        },
    ),
    "rloo": (rloo, {"beta": 0.05, "normalize_advantages": False}),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    asked = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {2 * n}."} for n in range(12)]
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", asked)


def train(job: Path, model: Path, rows: DatasetRef, method: str, **changed: Any) -> Path:
    """The attempt's folder."""
    named = ("attempt", "resume_from", "asked_models", "old_dataset")
    refs = {name: changed.pop(name) for name in named if name in changed}
    values = VALUES | METHODS[method][1] | {"method": method} | changed
    folder = write_spec(job, values=values, dataset=rows, model=model_ref(model), **refs)
    result = run_here(METHODS[method][0].main, folder)
    assert result.outcome == "succeeded", result
    return folder


def last_of(folder: Path) -> Path:
    return Path(events_of(folder, "checkpoint")[-1].data["path"])


@pytest.mark.parametrize(
    ("uses", "method"),
    [
        pytest.param(uses, method, marks=pytest.mark.slow if uses == 1 and method != "grpo" else ())
        for uses in (1, 2)
        for method in METHODS
    ],
)
def test_a_run_goes_on_bit_for_bit_also_while_answers_are_still_used(
    tmp_path: Path, tiny: Path, rows: DatasetRef, method: str, uses: int
) -> None:
    folder = train(tmp_path / "1", tiny, rows, method, num_iterations=uses)
    last = last_of(folder)
    assert (last.with_name("step-3") / GENERATED).exists() == (uses == 2)
    middle = last.with_name("step-3")
    found = [CheckpointRef(step=3, path=str(middle), digest=digest_of(middle))]
    resumed = train(tmp_path / "2", tiny, rows, method, num_iterations=uses, attempt=2, resume_from=found)
    assert (last_of(resumed) / WEIGHTS).read_bytes() == (last / WEIGHTS).read_bytes()


def test_every_rule_has_its_curve_and_answers_are_told_with_their_scores(
    tmp_path: Path, tiny: Path, rows: DatasetRef
) -> None:
    folder = train(tmp_path, tiny, rows, "grpo", validation_split=0.25, eval_steps=2, max_steps=2)
    told = [event.data["values"] for event in events_of(folder, "metric")]
    names = {"reward", "completions/mean_length", "kl", "entropy", "clip_ratio/region_mean"}
    names |= {f"rewards/{rule}/{figure}" for rule in ("length", "contains") for figure in ("mean", "std")}
    assert names <= set().union(*told) and any("eval_reward" in each for each in told)
    first = next(each for each in told if "reward" in each)
    total = first["rewards/length/mean"] + 0.5 * first["rewards/contains/mean"]
    assert first["reward"] == pytest.approx(total, abs=1e-5), "weights count"
    spread = torch.tensor([each["values"]["length"] for each in _first_answers(folder)]).std()
    assert first["rewards/length/std"] == pytest.approx(float(spread), abs=1e-6)
    shown = [event.data for event in events_of(folder, "rollout")]
    assert [each["step"] for each in shown] == [0, 1] and all(len(each["answers"]) == 4 for each in shown)
    for each in shown[0]["answers"]:
        expected = score(parse(REWARDS), [each["text"]], [Row(question=shown[0]["question"])])
        assert each["reward"] == expected.totals[0]


def _first_answers(folder: Path) -> list[dict[str, Any]]:
    return events_of(folder, "rollout")[0].data["answers"]


def test_the_share_that_was_clipped_is_told(tmp_path: Path, tiny: Path, rows: DatasetRef) -> None:
    """Answers are as likely as when they were written at their first use, and far from that after a long step."""
    folder = train(tmp_path, tiny, rows, "ppo", max_steps=2, num_iterations=2, learning_rate=0.3)
    told = [event.data["values"] for event in events_of(folder, "metric")]
    shares = [each["clip_ratio/region_mean"] for each in told if "clip_ratio/region_mean" in each]
    assert shares[0] == 0 < shares[1] <= 1


def test_answers_without_a_score_are_told_and_never_count_as_0(tmp_path: Path, tiny: Path) -> None:
    rows = write_dataset(tmp_path / "v", [{"prompt": f"Say {n}.", "completion": "It is so."} for n in range(4)])
    rewards = [{"name": "numeric_match"}, {"name": "length", "min": 2, "max": 6}]
    folder = train(tmp_path / "job", tiny, rows, "grpo", rewards=rewards, max_steps=1)
    told = [event.data["values"] for event in events_of(folder, "alert") if event.data["code"] == "reward_missing"]
    assert [(each["rule"], each["count"], each["total"]) for each in told] == [("numeric_match", 4, 4)]
    values = next(event.data["values"] for event in events_of(folder, "metric"))
    assert values["reward"] is None and values["loss"] == 0, "nothing was learned from them"


@pytest.mark.slow
@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo"])
def test_every_loss_of_grpo_learns(tmp_path: Path, tiny: Path, rows: DatasetRef, loss_type: str) -> None:
    folder = train(tmp_path, tiny, rows, "grpo", loss_type=loss_type, max_steps=2)
    told = [event.data["values"] for event in events_of(folder, "metric") if "grad_norm" in event.data["values"]]
    assert len(told) == 2 and all(each["grad_norm"] > 0 for each in told)


@pytest.mark.slow
@pytest.mark.parametrize("masks", [False, True])
def test_answers_that_were_broken_off_are_learned_from_or_left_out(
    tmp_path: Path, tiny: Path, rows: DatasetRef, masks: bool
) -> None:
    """A model of random weights hardly ever ends an answer."""
    values = {"mask_truncated_completions": masks, "beta": 0.0, "max_steps": 1, "max_completion_length": 3}
    folder = train(tmp_path, tiny, rows, "grpo", **values)
    told = next(event.data["values"] for event in events_of(folder, "metric") if "loss" in event.data["values"])
    assert told["completions/clipped_ratio"] == 1 and told["reward_std"] > 0
    assert (told["grad_norm"] == 0) == masks


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_critic_is_kept_beside_the_model_and_never_in_it(
    tmp_path: Path, tiny: Path, rows: DatasetRef, tuning: str
) -> None:
    from safetensors import safe_open

    values = {"tuning": tuning, "max_steps": 2, "save_steps": 2, "learning_rate": 1e-4}
    folder = train(tmp_path, tiny, rows, "ppo", **values)
    last = last_of(folder)
    with safe_open(last / (WEIGHTS if tuning == "lora" else "model.safetensors"), "pt") as weights:
        assert not [name for name in weights.keys() if "critic" in name]  # noqa: SIM118 - no dictionary
    with safe_open(last / "critic.safetensors", "pt") as critic:
        assert critic.get_tensor("weight").any(), "it has learned"
    told = set().union(*(event.data["values"] for event in events_of(folder, "metric")))
    assert {"value_loss", "explained_variance", "kl", "kl_coef", "reward", "clip_ratio/region_mean"} <= told


def test_missing_scores_are_counted_by_rule_and_reason() -> None:
    recipe = parse([{"name": "numeric_match"}, {"name": "length", "min": 1, "max": 9}])
    found = missing_of(score(recipe, ["one", "2"], [Row(question="?"), Row(question="?", reference="2")]))
    assert {rule for rule, _ in found} == {"numeric_match"} and sum(found.values()) == 1


def test_a_question_is_rendered_once() -> None:
    class Counting:
        asked = 0

        def prompt(self, turns: list[dict[str, Any]]) -> list[int]:
            self.asked += 1
            return [len(turns)]

    renderer = Counting()
    tokens = remembered(renderer)
    assert [tokens([{"role": "user", "content": "a"}]) for _ in range(3)] == [[1]] * 3 and renderer.asked == 1
