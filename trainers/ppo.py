"""Proximal policy optimisation with a critic: `python -m trainers.ppo <attempt folder>`.

trl has no PPO any more, so this one is the studio's: trl's GRPO trainer writes, scores and clips,
`trainers.rewards.critic` adds the critic, advantages a token, and the KL divergence as part of the reward. PPO:
Schulman et al. 2017; GAE: Schulman et al. 2016; for language models: Ouyang et al. 2022 (InstructGPT).
"""

from trainers.attempt import run_attempt
from trainers.rewards import from_rewards
from trainers.training.preference import Way

TOKENS_ALIKE = {"loss_type": "bnpo", "disable_dropout": True}
"""The mean over all tokens of a batch; and a policy that is the same when it writes and when it is compared."""


def load() -> Way:
    from trl import GRPOConfig, GRPOTrainer

    from trainers.rewards.critic import LearnsWithCritic

    return Way(GRPOTrainer, GRPOConfig, has_reference=True, settings=TOKENS_ALIKE, mixins=(LearnsWithCritic,))


main = from_rewards.learner(load)

if __name__ == "__main__":
    run_attempt(main)
