"""The arithmetic of PPO: rewards a token, advantages, the critic's loss. Tensors in, tensors out.

Answers are padded on their right; `mask` (B, C) is 1 on tokens that count. Time runs along the answer's tokens.
"""

import math
from dataclasses import dataclass

import torch

Tensor = torch.Tensor


def token_rewards(totals: Tensor, log_ratios: Tensor, mask: Tensor, *, kl_coef: float) -> Tensor:
    """(B, C) -kl_coef x log(policy / reference) on every token, and an answer's reward on its last one.

    InstructGPT (Ouyang et al. 2022, equation 2); the log-ratio of the token that was written is the usual one-sample
    estimate of the KL divergence.

    Args:
        totals: (B,) reward of each answer.
        log_ratios: (B, C) log-probability under the policy that wrote the answer less that under the reference.
    """
    rewards = -kl_coef * log_ratios * mask
    last = (mask.sum(dim=1) - 1).clamp(min=0).long()
    rewards[torch.arange(len(totals)), last] += totals * mask.any(dim=1)
    return rewards


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns, (B, C) each: GAE (Schulman et al. 2016, equations 11 and 16).

        delta_t = r_t + gamma V_{t+1} - V_t,   A_t = delta_t + gamma lam A_{t+1},   return_t = A_t + V_t

    After the last token of an answer nothing follows: its value there is 0.
    """
    values, advantages = values * mask, torch.zeros_like(rewards)
    following_value, following = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for place in range(rewards.shape[1] - 1, -1, -1):
        counts = mask[:, place]
        delta = rewards[:, place] + gamma * following_value - values[:, place]
        following = (delta + gamma * lam * following) * counts
        advantages[:, place], following_value = following, values[:, place]
    return advantages, advantages + values


def whitened(advantages: Tensor, mask: Tensor) -> Tensor:
    """With mean 0 and variance 1 over the tokens that count; 0 elsewhere."""
    count = mask.sum().clamp(min=1)
    mean = (advantages * mask).sum() / count
    variance = ((advantages - mean) ** 2 * mask).sum() / count
    return (advantages - mean) / (variance.sqrt() + 1e-8) * mask


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, cliprange: float) -> Tensor:
    """Half the squared error, the larger of the value's and of the value kept near the old one (PPO's own code)."""
    near = old_values + (values - old_values).clamp(-cliprange, cliprange)
    worse = torch.max((values - returns) ** 2, (near - returns) ** 2)
    return 0.5 * (worse * mask).sum() / mask.sum().clamp(min=1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - var(returns - values) / var(returns) over the tokens that count: 1 foretells all, 0 nothing."""
    counted = mask.bool()
    spread = returns[counted].var(unbiased=False)
    if not counted.any() or spread == 0:
        return 0.0
    return float(1 - (returns - values)[counted].var(unbiased=False) / spread)


@dataclass
class Running:
    """Mean and variance of all rewards so far (Welford 1962, batches as in Chan et al. 1979)."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared distances from the mean."""

    def add(self, rewards: Tensor) -> None:
        if not len(rewards):
            return
        count, mean = len(rewards), float(rewards.double().mean())
        squares = float(((rewards.double() - mean) ** 2).sum())
        total, distance = self.count + count, mean - self.mean
        self.squares += squares + distance**2 * self.count * count / total
        self.mean += distance * count / total
        self.count = total

    def scaled(self, rewards: Tensor) -> Tensor:
        """Less the mean, divided by the standard deviation; as they are while that is unknown."""
        deviation = math.sqrt(self.squares / self.count) if self.count > 1 else 0.0
        return (rewards - self.mean) / (deviation + 1e-8) if deviation else rewards - self.mean


@dataclass
class KLController:
    """The weight of the KL divergence: fixed, or moved towards a target (Ziegler et al. 2019, section 2.2)."""

    coef: float
    target: float = 0.0
    """In nats an answer; 0 leaves the weight as it is."""
    horizon: float = 10_000.0
    """Answers over which a lasting difference of one target doubles the weight or halves it, about."""

    def update(self, kl: float, answers: int) -> None:
        if self.target:
            error = max(-0.2, min(0.2, kl / self.target - 1))
            self.coef *= 1 + error * answers / self.horizon
