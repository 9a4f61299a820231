"""Group relative policy optimisation with trl: `python -m trainers.grpo <attempt folder>`.

An answer that is worth more than the others to the same question becomes likelier, one that is worth less less likely.
"""

from trainers.attempt import run_attempt
from trainers.rewards import from_rewards
from trainers.training.preference import Way


def load() -> Way:
    from trl import GRPOConfig, GRPOTrainer

    return Way(GRPOTrainer, GRPOConfig, has_reference=True)


main = from_rewards.learner(load)

if __name__ == "__main__":
    run_attempt(main)
