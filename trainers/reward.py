"""A reward model from pairs of answers with trl: `python -m trainers.reward <attempt folder>`.

A head of one number stands where the model had its vocabulary. It learns to give the better of two answers the higher
number; what it says of held-out pairs is told at each evaluation and kept with each checkpoint
(`trainers.rewards.reward_scores`).
"""

from dataclasses import asdict
from typing import Any

from trainers import classify
from trainers.attempt import Attempt, run_attempt
from trainers.models.heads import REWARD, SEQUENCE, Head
from trainers.rows import pair_rows
from trainers.training import preference, recipe

HEAD = Head(SEQUENCE, REWARD)


def main(attempt: Attempt) -> dict[str, Any]:
    attempt.phase("loading_libraries")
    device = recipe.load_libraries(attempt)
    from trl import RewardConfig, RewardTrainer

    from trainers.losses.kinds import mixins
    from trainers.models.loading import load_tokenizer
    from trainers.rewards.reward_scores import Figures, ScoresPairs

    resume_from = recipe.prepare_checkpoints(attempt)

    attempt.phase("loading_data")
    tokenizer = load_tokenizer(attempt.spec.model.path)
    train_dataset, eval_dataset = pair_rows.prepare_data(attempt, tokenizer, pair_rows.whole_pairs())
    run = recipe.check_start(attempt, resume_from)

    attempt.phase("loading_model")
    model = classify.prepare_model(attempt, device, HEAD, tokenizer.pad_token_id)

    attempt.phase("preparing")
    way = preference.Way(RewardTrainer, RewardConfig, has_reference=False)
    trainer = recipe.build(
        attempt,
        recipe.trainer_class(*mixins(attempt.spec.values), ScoresPairs, RewardTrainer),
        run,
        resume_from,
        model=model,
        args=preference.arguments(attempt, device, way, evaluates=eval_dataset is not None),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
    )

    def tell(step: int, figures: Figures) -> None:
        attempt.events.write("reward_scores", step=step, **asdict(figures))

    trainer.head, trainer.tell = HEAD, tell
    return recipe.train(attempt, trainer, resume_from)


if __name__ == "__main__":
    run_attempt(main)
