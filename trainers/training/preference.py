"""What the ways of learning from preferences share, from the rows to the trained model.

    main = preference.learner(pair_rows.pairs, load)       in `trainers.dpo`, `orpo`, `cpo`, `kto`

A method has of its own a trainer of trl, which gets tokens and must not make them anew, and that trainer's settings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers.attempt import Attempt
from trainers.rows import pair_rows
from trainers.training import recipe, reference


@dataclass(frozen=True)
class Way:
    """A method's own."""

    trainer: type
    config: type
    has_reference: bool
    """Its trainer asks a reference model: the base with the adapter switched off, or one that is handed over."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the trainer, where the method leaves no choice."""
    mixins: tuple[type, ...] = ()
    """What is mixed in before the trainer, besides what all its kin have."""


def learner(shape: Callable[[], pair_rows.Shape], load: Callable[[], Way]) -> Callable[[Attempt], dict[str, Any]]:
    """The `main` of a method.

    Args:
        shape: how its rows become tokens.
        load: imports trl.
    """

    def main(attempt: Attempt) -> dict[str, Any]:
        attempt.phase("loading_libraries")
        device = recipe.load_libraries(attempt)
        way = load()
        from trainers.losses.kinds import mixins
        from trainers.models.loading import load_tokenizer

        resume_from = recipe.prepare_checkpoints(attempt)

        attempt.phase("loading_data")
        tokenizer = load_tokenizer(attempt.spec.model.path)
        train_dataset, eval_dataset = pair_rows.prepare_data(attempt, tokenizer, shape())
        run = recipe.check_start(attempt, resume_from)

        attempt.phase("loading_model")
        model, adapter = recipe.prepare_model(attempt, device)
        source = reference.begun_with(attempt, resume_from) if way.has_reference else None
        # trl would read the base model from the disk once more.
        has_copy = way.has_reference and adapter is None

        attempt.phase("preparing")
        trainer = recipe.build(
            attempt,
            recipe.trainer_class(*mixins(attempt.spec.values), way.trainer),
            run,
            resume_from,
            args=arguments(attempt, device, way, evaluates=eval_dataset is not None),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=tokenizer,
            **reference.with_adapter(model, adapter, source),
            **({"ref_model": reference.copied(attempt, model, source)} if has_copy else {}),
        )
        reference.hold_to_start(attempt, trainer, source)
        return recipe.train(attempt, trainer, resume_from)

    return main


def arguments(attempt: Attempt, device: str, way: Way, *, evaluates: bool) -> Any:
    """trl's settings: those of the spec, and those that follow from the place where the run happens."""
    from studio.params.trl_names import sft_arguments

    given = sft_arguments(attempt.spec.values)
    if not evaluates:
        given["eval_strategy"] = "no"
    return way.config(**given | way.settings, **recipe.surroundings(attempt, device))
