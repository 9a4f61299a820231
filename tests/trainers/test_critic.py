"""PPO's loss and its gradient through a whole model, against the papers' formulas, one answer and one token at a time.

    ratio        min(r A, clip(r, 1 - low, 1 + high) A)                       Schulman et al. 2017, equation 7
    advantages   sum of (gamma lam)^l delta_{t+l}                             Schulman et al. 2016, equation 16
    rewards      -beta log(policy / reference), the answer's on its last      Ouyang et al. 2022, equation 2

Answers and their mask, rewards, the models and their switching are a run's own; what writes the answers is replaced,
so that some of them end and others are broken off.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.graders.score import Row
from studio.rewards.recipe import parse
from studio.rewards.scoring import score
from tests.trainers.jobs import TOKENIZER, TOKENIZER_FILES, model_ref, run_here, write_dataset, write_spec
from tests.trainers.test_rewarded import METHODS, VALUES
from trainers.training import recipe

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

REWARDS = [
    {"name": "contains", "texts": ["a"], "weight": 1.0},
    {"name": "length", "min": 3, "max": 9, "weight": 0.5},
    {"name": "numeric_match", "weight": 2.0},
]
QUESTIONS = [("What is 1 plus 1?", "2"), ("And what is it when one adds a 2 to 1?", "3"), ("Who?", "Nobody.")]
"""The last has no number to be compared with: its answers have no reward."""
ANSWERS = ["It is 2, as ever", "It is what it was, or 4", "Well, one and one are 3.", "3", "No one", "She who asks"]
ENDED = [True, False, True, True, True, False]
VALUES_HERE = {
    "rewards": {"rewards": REWARDS},
    "dtype": "float64",
    "num_generations": 2,
    "per_device_train_batch_size": 6,
    "max_completion_length": 24,
    "temperature": 0.8,
    "beta": 0.3,
    "cliprange": 0.05,
    "epsilon_high": 0.15,
    "cliprange_value": 0.1,
    "vf_coef": 0.7,
    "gamma": 0.97,
    "lam": 0.9,
    "entropy_coef": 0.02,
    "missing_eos_penalty": 0.5,
    "learning_rate": 1e-3,
}
PORTIONS = 2
"""Batches that one step adds up."""


@pytest.fixture(scope="module", name="opt")
def fixture_opt(starter: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random OPT of two layers: unlike a Llama it reckons no part of itself in float32."""
    from transformers import OPTConfig, OPTForCausalLM

    folder = tmp_path_factory.mktemp("models") / "opt"
    config = OPTConfig(
        vocab_size=6144,
        hidden_size=16,
        word_embed_proj_dim=16,
        ffn_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        dropout=0.0,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    OPTForCausalLM(config).save_pretrained(folder)
    for name in (TOKENIZER, *TOKENIZER_FILES):
        shutil.copyfile(tiny / name, folder / name)
    return folder


@dataclass
class Said:
    """What a policy and its critic say of one answer's tokens."""

    logps: torch.Tensor
    entropies: torch.Tensor
    values: torch.Tensor


class Case:
    """A run's trainer right before its first step, with six answers to three questions."""

    def __init__(self, trainer: Any, renderer: Any) -> None:
        self.trainer, self.values, self.model = trainer, trainer.values, trainer.model
        self.method = self.values["method"]
        self.answers = [
            renderer.encode(text, add_special_tokens=False) + [2] * ends
            for text, ends in zip(ANSWERS, ENDED, strict=True)
        ]
        rows = list(trainer.train_dataset)
        self.inputs = [row for row in sorted(rows, key=lambda row: row["row"]) for _ in range(2)]
        self.prompts = [trainer.prompt_tokens(row["prompt"]) for row in self.inputs]
        trainer.current_gradient_accumulation_steps = PORTIONS
        written = self.answers if self.method == "rloo" else (self.answers, None)
        trainer._generate_single_turn = lambda *given, **named: written
        self.model.train()

    def nudge(self, size: float, seed: int) -> None:
        """As a step would, but further."""
        drawn = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.model.parameters():
                if weight.requires_grad:
                    weight += size * torch.randn(weight.shape, generator=drawn, dtype=weight.dtype)

    def says(self) -> list[Said]:
        """Each answer by itself, without padding, its logits whole."""
        critic = dict(self.model.named_children()).get("critic")
        found = []
        for prompt, answer in zip(self.prompts, self.answers, strict=True):
            ids = torch.tensor([prompt + answer])
            whole = self.model(input_ids=ids, output_hidden_states=True)
            before = slice(len(prompt) - 1, ids.shape[1] - 1)
            logps = (whole.logits[0, before] / self.values["temperature"]).log_softmax(-1)
            if hasattr(critic, "head"):
                own = critic.model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
                weight, bias = critic.head.weight, critic.head.bias
            elif critic is not None:
                own, (weight, bias) = whole.hidden_states[-1], (critic.weight, critic.bias)
            else:
                own = whole.hidden_states[-1]
                weight, bias = torch.zeros_like(own[0]), 0.0
            found.append(
                Said(
                    torch.stack([logps[place, token] for place, token in enumerate(answer)]),
                    -(logps.exp() * logps).sum(-1),
                    own[0, before] @ weight[0] + bias,
                )
            )
        return found

    def said(self) -> list[Said]:
        with torch.no_grad():
            return self.says()

    def totals(self) -> list[float | None]:
        """What each answer is worth as it is learned from; None: that is not known."""
        rows = [Row(question=q, reference=a) for q, a in QUESTIONS for _ in range(2)]
        worth = score(parse({"rewards": REWARDS}), ANSWERS, rows).totals
        penalty = self.values["missing_eos_penalty"]
        settled = [
            None if each is None else each - (0.0 if ends else penalty) for each, ends in zip(worth, ENDED, strict=True)
        ]
        if not self.values["normalize_rewards"]:
            return settled
        known = [each for each in settled if each is not None]
        mean = sum(known) / len(known)
        spread = math.sqrt(sum((each - mean) ** 2 for each in known) / len(known))
        return [None if each is None else (each - mean) / (spread + 1e-8) for each in settled]

    def advantages(self, then: list[Said], reference: list[Said]) -> list[tuple[list[float], list[float]] | None]:
        """(advantages, returns) of each answer that has a reward."""
        found: list[tuple[list[float], list[float]] | None] = []
        gamma, lam = self.values["gamma"], self.values["lam"]
        for total, policy, held in zip(self.totals(), then, reference, strict=True):
            if total is None:
                found.append(None)
                continue
            count = len(policy.logps)
            rewards = [-self.values["beta"] * float(policy.logps[t] - held.logps[t]) for t in range(count)]
            rewards[-1] += total
            values = [float(each) for each in policy.values] + [0.0]
            deltas = [rewards[t] + gamma * values[t + 1] - values[t] for t in range(count)]
            plain = [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, count)) for t in range(count)]
            found.append((plain, [plain[t] + values[t] for t in range(count)]))
        if self.values["whiten_advantages"]:
            every = [each for pair in found if pair for each in pair[0]]
            mean = sum(every) / len(every)
            spread = math.sqrt(sum((each - mean) ** 2 for each in every) / len(every))
            found = [pair and ([(each - mean) / (spread + 1e-8) for each in pair[0]], pair[1]) for pair in found]
        return found

    def plain_loss(self, now: list[Said], then: list[Said], reference: list[Said]) -> torch.Tensor:
        low, high = 1 - self.values["cliprange"], 1 + self.values["epsilon_high"]
        near = self.values["cliprange_value"]
        terms: list[torch.Tensor] = []
        for policy, old, known in zip(now, then, self.advantages(then, reference), strict=True):
            if known is None:
                continue
            for t, (advantage, wanted) in enumerate(zip(*known, strict=True)):
                ratio = (policy.logps[t] - old.logps[t]).exp()
                kept = min(max(float(ratio), low), high) * advantage
                gain = ratio * advantage if float(ratio * advantage) <= kept else ratio.new_tensor(kept)
                value, before = policy.values[t], float(old.values[t])
                held = before + (value - before).clamp(-near, near)
                wrong = 0.5 * torch.maximum((value - wanted) ** 2, (held - wanted) ** 2)
                terms.append(-gain - self.values["entropy_coef"] * policy.entropies[t] + self.values["vf_coef"] * wrong)
        return sum(terms[1:], terms[0]) / len(terms) / PORTIONS


@pytest.fixture(name="case")
def fixture_case(
    request: pytest.FixtureRequest, opt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    """The real entry point up to its first step."""
    monkeypatch.chdir(tmp_path)
    rows = write_dataset(tmp_path / "v1", [{"prompt": q, "completion": a} for q, a in QUESTIONS])
    method = request.param.get("method", "ppo")
    chosen = VALUES | METHODS[method][1] | VALUES_HERE | {"method": method} | request.param
    if method != "ppo":
        del chosen["cliprange"]
    made: list[Any] = []
    monkeypatch.setattr(recipe, "train", lambda attempt, trainer, resume_from: made.append(trainer) or {})
    folder = write_spec(tmp_path / "job", values=chosen, dataset=rows, model=model_ref(opt))
    result = run_here(METHODS[method][0].main, folder)
    assert result.outcome == "succeeded", result
    yield Case(made[0], made[0].processing_class)


class WholeLogits:
    """In place of trl's kernel, which reckons in float32 whatever the model's numbers are."""

    @staticmethod
    def apply(hidden: Any, weight: Any, bias: Any, targets: Any, temperature: float, *rest: Any) -> tuple[Any, ...]:
        logps = (hidden @ weight.T / temperature).log_softmax(-1)
        return logps.gather(1, targets[:, None])[:, 0], -(logps.exp() * logps).sum(-1), None, None, None


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


WAYS = {
    "all weights": {"tuning": "full"},
    "an adapter": {"tuning": "lora"},
    "a critic of its own": {"tuning": "full", "value_model": True},
    "neither scaled": {"tuning": "full", "normalize_rewards": False, "whiten_advantages": False},
}


@pytest.mark.parametrize(
    ("case", "kernel"),
    [(way, WholeLogits) for way in WAYS.values()] + [(WAYS["all weights"], None)],
    ids=[*WAYS, "trl's kernel"],
    indirect=["case"],
)
def test_the_whole_loss_and_its_gradient_are_the_papers(
    case: Case, kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel is not None:
        monkeypatch.setattr("trl.trainer.utils._ChunkedLogProbFunction", kernel)
    near = 1e-5 if kernel is None else 1e-10
    trainer, model = case.trainer, case.model
    size = 0.3 if case.values["tuning"] == "lora" else 0.04
    held = case.said()  # the weights that a run begins with, whatever holds them later
    case.nudge(size, seed=1)
    then = case.said()
    made = trainer._generate_and_score_completions(case.inputs)
    case.nudge(size, seed=2)
    loss = trainer._compute_loss(model, made)
    ours = gradients(model, loss)
    now = case.says()
    expected = case.plain_loss(now, then, held)
    plain = gradients(model, expected)

    clipped = [name for name in ("low", "high") if trainer._metrics["train"][f"clip_ratio/{name}_mean"][-1] > 0]
    assert clipped == (["low", "high"] if case.values["whiten_advantages"] else ["high"])
    moved = [float(each) for is_, was in zip(now, then, strict=True) for each in (is_.values - was.values).abs()]
    assert max(moved) > case.values["cliprange_value"], "the critic's clip counts"
    assert loss.dtype == torch.float64 and float(loss) == pytest.approx(float(expected), rel=near)
    assert ours.keys() == plain.keys() and any("critic" in name for name in ours)
    for name, found in ours.items():
        scale = max(float(plain[name].abs().max()), 1e-3)  # a bias of keys changes nothing
        assert found.dtype == torch.float64 and float((found - plain[name]).abs().max()) <= near * scale, name


# -- what single settings do -------------------------------------------------------------------------------------------

POLICY_ALONE = {"vf_coef": 0.0, "entropy_coef": 0.0, "beta": 0.0, "missing_eos_penalty": 0.0}


def policy_gradient(case: Case, made: dict[str, Any], *, ratio: float, advantage: float) -> float:
    """How much is learned when every answer has become so much likelier since it was written."""
    counts = made["completion_mask"].sum(1, keepdim=True).clamp(min=1) if case.method == "rloo" else 1
    logps = [each.logps for each in case.said()]
    before = torch.nn.utils.rnn.pad_sequence(logps, batch_first=True) - math.log(ratio) / counts
    written = {"old_logps": (before * made["completion_mask"]).sum(1), "old_per_token_logps": before}
    written["advantages"] = torch.full_like(made["advantages"], advantage)
    found = gradients(case.model, case.trainer._compute_loss(case.model, made | written))
    return sum(float(each.abs().sum()) for each in found.values())


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            {"method": method, **POLICY_ALONE, name: low, "epsilon_high": high},
            id=f"{method} up to {high}",
            marks=pytest.mark.slow if method == "rloo" else (),
        )
        for method, name in (("grpo", "epsilon"), ("rloo", "epsilon"), ("ppo", "cliprange"))
        for low, high in ((0.05, 0.15), (0.15, 0.05))
    ],
    indirect=True,
)
def test_each_clip_holds_its_own_side(case: Case) -> None:
    """A good answer is pushed up to the upper clip, a bad one down to the lower."""
    is_wide_above = case.values["epsilon_high"] > 0.1
    made = case.trainer._generate_and_score_completions(case.inputs)
    assert (policy_gradient(case, made, ratio=1.1, advantage=1.0) > 0) == is_wide_above
    assert (policy_gradient(case, made, ratio=0.9, advantage=-1.0) > 0) != is_wide_above
    assert (
        policy_gradient(case, made, ratio=0.9, advantage=1.0) > 0
        and policy_gradient(case, made, ratio=1.1, advantage=-1.0) > 0
    )


@pytest.mark.parametrize(
    "case",
    [
        {"method": method, "tuning": "full", **POLICY_ALONE, "entropy_coef": coefficient}
        for method in ("grpo", "ppo")
        for coefficient in (0.0, 0.05)
    ],
    ids=lambda case: f"{case['method']} {case['entropy_coef']}",
    indirect=True,
)
def test_the_entropy_coefficient_makes_answers_more_varied(case: Case) -> None:
    case.nudge(0.2, seed=1)  # a model of random weights is as varied as can be

    def entropy() -> float:
        return float(torch.cat([each.entropies for each in case.said()]).mean())

    before = entropy()
    made = case.trainer._generate_and_score_completions(case.inputs)
    made["advantages"] = torch.zeros_like(made["advantages"])
    found = gradients(case.model, case.trainer._compute_loss(case.model, made))
    with torch.no_grad():
        for name, gradient in found.items():
            case.model.get_parameter(name).sub_(0.1 * gradient)
    if case.values["entropy_coef"]:
        assert entropy() > before + 1e-4
    else:
        assert entropy() == before


@pytest.mark.parametrize(
    "case",
    [
        {
            "missing_eos_penalty": penalty,
            "normalize_rewards": False,
            "whiten_advantages": False,
            "gamma": 1.0,
            "lam": 1.0,
        }
        for penalty in (0.0, 0.5)
    ],
    ids=["free", "costs"],
    indirect=True,
)
def test_an_answer_that_was_broken_off_costs_the_penalty_and_one_without_a_reward_teaches_nothing(case: Case) -> None:
    """A new critic foretells 0 and the policy is its reference, so that each advantage is the answer's reward."""
    worth = [3.5, 1.5, 3.5, 2.0, None, None]
    penalty = case.values["missing_eos_penalty"]
    made = case.trainer._generate_and_score_completions(case.inputs)
    for row, (value, ends, answer) in enumerate(zip(worth, ENDED, case.answers, strict=True)):
        counts = made["completion_mask"][row].bool()
        assert int(counts.sum()) == (0 if value is None else len(answer))
        if value is not None:
            assert made["advantages"][row][counts].tolist() == [value - (0.0 if ends else penalty)] * len(answer)
