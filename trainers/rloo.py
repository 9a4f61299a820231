"""REINFORCE leave-one-out with trl: `python -m trainers.rloo <attempt folder>`.

Each answer is compared with the mean of the other ones to the same question.
"""

from trainers.attempt import run_attempt
from trainers.rewards import from_rewards
from trainers.training.preference import Way


def load() -> Way:
    from trl import RLOOConfig, RLOOTrainer

    return Way(RLOOTrainer, RLOOConfig, has_reference=True)


main = from_rewards.learner(load)

if __name__ == "__main__":
    run_attempt(main)
