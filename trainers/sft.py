"""Supervised fine-tuning with trl: `python -m trainers.sft <attempt folder>`.

Rows come in random order, or from easy to hard where the spec says so; what of the model is trained is
`trainers.tuning`'s.
"""

from functools import partial
from typing import Any

from trainers.attempt import Attempt, run_attempt
from trainers.rows import token_rows
from trainers.training import recipe


def main(attempt: Attempt) -> dict[str, Any]:
    attempt.phase("loading_libraries")
    device = recipe.load_libraries(attempt)
    from trl import SFTTrainer

    from trainers.continual import kinds as continual
    from trainers.continual import old_rows
    from trainers.losses.kinds import mixins
    from trainers.models.loading import load_tokenizer
    from trainers.training import padding
    from trainers.training.first_batch import TellsFirstBatch

    resume_from = recipe.prepare_checkpoints(attempt)

    attempt.phase("loading_data")
    tokenizer = load_tokenizer(attempt.spec.model.path)
    train_dataset, eval_dataset = token_rows.prepare_data(attempt, tokenizer)
    old = old_rows.prepare(attempt, tokenizer)
    train_dataset = old_rows.mixed_in(attempt, train_dataset, old)
    run = recipe.check_start(attempt, resume_from)

    attempt.phase("loading_model")
    model, adapter = recipe.prepare_model(attempt, device)

    attempt.phase("preparing")
    trainer = recipe.build(
        attempt,
        recipe.trainer_class(
            *padding.mixins(attempt, model),
            *continual.mixins(attempt.spec.values),
            *mixins(attempt.spec.values),
            TellsFirstBatch,
            SFTTrainer,
        ),
        run,
        resume_from,
        model=model,
        args=trainer_arguments(attempt, device, evaluates=eval_dataset is not None),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        peft_config=adapter,
    )
    trainer.tell_batch = partial(attempt.events.write, "batch")
    continual.begin(attempt, trainer, old, resume_from)
    return recipe.train(attempt, trainer, resume_from)


def trainer_arguments(attempt: Attempt, device: str, *, evaluates: bool) -> Any:
    """trl's settings: those of the spec, and those that follow from the place where the run happens."""
    from trl import SFTConfig

    from studio.params.trl_names import sft_arguments

    arguments = sft_arguments(attempt.spec.values)
    if not evaluates:
        arguments["eval_strategy"] = "no"
    return SFTConfig(**arguments, **recipe.surroundings(attempt, device))


if __name__ == "__main__":
    run_attempt(main)
