"""The arithmetic of PPO against a plain reference, one answer and one token at a time, in float64."""

import pytest
import torch

from trainers.rewards.advantages import (
    KLController,
    Running,
    explained_variance,
    generalised_advantages,
    token_rewards,
    value_loss,
    whitened,
)

GAMMA, LAM = 0.97, 0.9


@pytest.fixture
def answers() -> dict[str, torch.Tensor]:
    """Four answers of 1 to 6 tokens, padded on their right with rubbish."""
    made = torch.Generator().manual_seed(3)
    lengths = torch.tensor([6, 3, 1, 5])
    draw = {name: torch.randn(4, 6, generator=made, dtype=torch.float64) for name in ("rewards", "values", "ratios")}
    return draw | {"mask": (torch.arange(6)[None, :] < lengths[:, None]).double(), "lengths": lengths}


def test_advantages_are_those_of_the_paper(answers: dict[str, torch.Tensor]) -> None:
    rewards, values, mask = (answers[name] for name in ("rewards", "values", "mask"))
    advantages, returns = generalised_advantages(rewards * mask, values, mask, gamma=GAMMA, lam=LAM)
    for row, length in enumerate(answers["lengths"].tolist()):
        known = values[row, :length].tolist() + [0.0]
        deltas = [float(rewards[row, t]) + GAMMA * known[t + 1] - known[t] for t in range(length)]
        for t in range(length):
            expected = sum((GAMMA * LAM) ** (later - t) * deltas[later] for later in range(t, length))
            assert float(advantages[row, t]) == pytest.approx(expected, abs=1e-12)
            assert float(returns[row, t]) == pytest.approx(expected + known[t], abs=1e-12)
        assert not advantages[row, length:].any(), "padding has none"


def test_with_lambda_1_returns_are_the_rewards_that_follow(answers: dict[str, torch.Tensor]) -> None:
    rewards, mask = answers["rewards"] * answers["mask"], answers["mask"]
    _, returns = generalised_advantages(rewards, answers["values"], mask, gamma=1.0, lam=1.0)
    following = rewards.flip(1).cumsum(1).flip(1)
    assert torch.allclose(returns * mask, following * mask)


def test_the_reward_stands_on_the_last_token_and_the_divergence_on_each(answers: dict[str, torch.Tensor]) -> None:
    totals, mask, ratios = torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), answers["mask"], answers["ratios"]
    found = token_rewards(totals, ratios, mask, kl_coef=0.1)
    for row, length in enumerate(answers["lengths"].tolist()):
        expected = [
            -0.1 * float(ratios[row, t]) + (float(totals[row]) if t == length - 1 else 0) for t in range(length)
        ]
        assert found[row, :length].tolist() == pytest.approx(expected) and not found[row, length:].any()


def test_an_answer_without_tokens_that_count_has_no_reward() -> None:
    found = token_rewards(torch.tensor([5.0]), torch.ones(1, 3), torch.zeros(1, 3), kl_coef=0.1)
    assert not found.any()


def test_whitened_advantages_have_mean_0_and_variance_1(answers: dict[str, torch.Tensor]) -> None:
    mask = answers["mask"]
    found = whitened(answers["rewards"], mask)[mask.bool()]
    assert float(found.mean()) == pytest.approx(0, abs=1e-9) and float(found.var(unbiased=False)) == pytest.approx(1)


def test_the_critic_s_loss_and_its_gradient_are_the_plain_ones(answers: dict[str, torch.Tensor]) -> None:
    mask, returns, old = answers["mask"], answers["rewards"], answers["ratios"]
    values = answers["values"].clone().requires_grad_()
    loss = value_loss(values, old, returns, mask, cliprange=0.2)
    loss.backward()
    total, count = 0.0, float(mask.sum())
    for row, length in enumerate(answers["lengths"].tolist()):
        for t in range(length):
            v, o, r = (float(each[row, t]) for each in (answers["values"], old, returns))
            near = min(max(v, o - 0.2), o + 0.2)
            plain, kept = (v - r) ** 2, (near - r) ** 2
            total += 0.5 * max(plain, kept)
            moves = plain >= kept or abs(v - o) <= 0.2
            assert float(values.grad[row, t]) == pytest.approx((v - r) / count if moves else 0.0, abs=1e-12)
    assert float(loss.detach()) == pytest.approx(total / count)


def test_running_statistics_are_those_of_all_rewards_together() -> None:
    draw = torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 7
    seen = Running()
    for part in draw.split([1, 9, 0, 40]):
        seen.add(part)
    expected = (draw - draw.mean()) / draw.std(unbiased=False)
    assert torch.allclose(seen.scaled(draw), expected, atol=1e-6)
    assert torch.equal(Running().scaled(draw), draw), "nothing is known of the first answers"


def test_the_weight_of_the_divergence_follows_its_target() -> None:
    far, near, fixed = KLController(0.1, target=6.0), KLController(0.1, target=6.0), KLController(0.1)
    far.update(60.0, 100), near.update(0.0, 100), fixed.update(60.0, 100)
    assert far.coef == pytest.approx(0.1 * (1 + 0.2 * 100 / 10_000)) and near.coef < 0.1 == fixed.coef


def test_explained_variance() -> None:
    mask, returns = torch.tensor([[1.0, 1.0, 1.0, 0.0]]), torch.tensor([[1.0, 2.0, 3.0, 99.0]])
    assert explained_variance(returns, returns, mask) == 1 and explained_variance(torch.zeros(1, 4), returns, mask) == 0
    assert explained_variance(returns, torch.ones(1, 4), mask) == 0, "returns that do not vary"
