"""Continued pre-training with trl: `python -m trainers.pretrain <attempt folder>`.

Texts are joined and cut into pieces of `max_length` tokens (`trainers.rows.chunks`), and every token is learned. Whole
texts are held out for validation; where there is only one, pieces of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from studio.errors import JobFailed
from trainers import sft
from trainers.attempt import Attempt, run_attempt
from trainers.training import recipe

if TYPE_CHECKING:
    from trainers.rows.data import Findings, Sample


def main(attempt: Attempt) -> dict[str, Any]:
    attempt.phase("loading_libraries")
    device = recipe.load_libraries(attempt)
    from trl import SFTTrainer

    from trainers.continual import kinds as continual
    from trainers.continual import old_rows
    from trainers.losses.kinds import mixins
    from trainers.models.loading import load_tokenizer
    from trainers.training.first_batch import TellsFirstBatch

    resume_from = recipe.prepare_checkpoints(attempt)

    attempt.phase("loading_data")
    tokenizer = load_tokenizer(attempt.spec.model.path)
    train_dataset, eval_dataset = prepare_data(attempt, tokenizer)
    old = old_rows.prepare(attempt, tokenizer)
    train_dataset = old_rows.mixed_in(attempt, train_dataset, old)
    run = recipe.check_start(attempt, resume_from)

    attempt.phase("loading_model")
    model, adapter = recipe.prepare_model(attempt, device)

    attempt.phase("preparing")
    trainer = recipe.build(
        attempt,
        recipe.trainer_class(
            *continual.mixins(attempt.spec.values), *mixins(attempt.spec.values), TellsFirstBatch, SFTTrainer
        ),
        run,
        resume_from,
        model=model,
        args=sft.trainer_arguments(attempt, device, evaluates=eval_dataset is not None),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        peft_config=adapter,
    )
    trainer.tell_batch = partial(attempt.events.write, "batch")
    check_tokens(num_tokens(trainer.train_dataset), num_tokens(train_dataset))
    continual.begin(attempt, trainer, old, resume_from)
    return recipe.train(attempt, trainer, resume_from)


def prepare_data(attempt: Attempt, tokenizer: Any) -> tuple[Any, Any]:
    """Pieces to train on and to validate with; texts that cannot be used are reported by number.

    Raises:
        JobFailed: no_usable_rows; tokens_lost.
    """
    from trainers.rows.data import TRAIN, VALIDATION, Findings

    dataset, values, findings = attempt.spec.dataset, attempt.spec.values, Findings()
    maker = _Maker(attempt, tokenizer, findings)
    share = values["validation_split"]
    if share > 0 and dataset.splits.get(VALIDATION):
        train, validation = maker.pieces(TRAIN, maker.rows(TRAIN)), maker.pieces(VALIDATION, maker.rows(VALIDATION))
    else:
        train, validation = _held_out(maker, dataset.training_rows, share, attempt.spec.seed)
    for code in findings.rows:
        attempt.alert(code, **findings.named(code), max_length=values["max_length"])
    if train is None:
        raise JobFailed("no_usable_rows", dataset=dataset.name, max_length=values["max_length"])
    return train, validation


def _held_out(maker: "_Maker", num_rows: int, share: float, seed: int) -> tuple[Any, Any]:
    """A share of the texts, or of the pieces of the only one."""
    from trainers.rows.data import TRAIN, VALIDATION, held_out

    kept, chosen = held_out(num_rows, share, seed=seed)
    if chosen:
        train = maker.pieces(TRAIN, maker.rows(TRAIN, set(kept)))
        return train, maker.pieces(VALIDATION, maker.rows(TRAIN, set(chosen)))
    train = maker.pieces(TRAIN, maker.rows(TRAIN))
    kept, chosen = held_out(len(train) if train else 0, share, seed=seed)
    return (train.select(kept), train.select(chosen)) if chosen else (train, None)


@dataclass(frozen=True)
class _Maker:
    attempt: Attempt
    tokenizer: Any
    findings: "Findings"

    def rows(self, split: str, places: set[int] | None = None) -> "Iterator[tuple[int, Sample]]":
        """The rows on one side of the split, or those of them at these places."""
        from trainers.rows.data import conversations

        rows = enumerate(conversations(self.attempt.spec.dataset, split=split))
        return (row for place, row in rows if places is None or place in places)

    def pieces(self, name: str, rows: "Iterator[tuple[int, Sample]]") -> Any | None:
        """The rows as pieces on disk, in `<attempt>/cache/<name>.arrow`; None if there are none.

        Raises:
            JobFailed: tokens_lost.
        """
        from datasets import Dataset

        from trainers.rows.chunks import Count, cut, ended
        from trainers.rows.data import Renderer, render_rows, write_tokens

        rendered = render_rows(rows, Renderer(self.tokenizer), max_length=None, findings=self.findings)
        count, size = Count(), self.attempt.spec.values["max_length"]
        path = self.attempt.folder / "cache" / f"{name}.arrow"
        written = write_tokens(cut(ended(rendered, self.tokenizer.eos_token_id), size, count), path)
        if not written:
            return None
        made = Dataset.from_file(str(path))
        check_tokens(num_tokens(made), count.tokens)
        self.attempt.alert(
            "texts_cut", "info", side=name, rows=count.rows, tokens=count.tokens, pieces=written, max_length=size
        )
        return made


def num_tokens(dataset: Any) -> int:
    """All tokens of a data set, counted by Arrow a thousand rows at a time."""
    import pyarrow.compute

    batches = dataset.select_columns("input_ids").with_format("arrow").iter(1000)
    return sum(pyarrow.compute.sum(pyarrow.compute.list_value_length(batch["input_ids"])).as_py() for batch in batches)


def check_tokens(found: int, expected: int) -> None:
    """
    Raises:
        JobFailed: tokens_lost.
    """
    if found != expected:
        raise JobFailed("tokens_lost", expected=expected, found=found)


if __name__ == "__main__":
    run_attempt(main)
