"""Measures what a run would take: two real steps on the longest batch, `python -m trainers.probe_memory <attempt>`.

Everything is as in `trainers.sft` with the same values, but for three things: all rows are the longest one there is, no
more than two batches make a step (with two, gradients stay between them as with any number), and nothing is saved.
Validation, where the run has any, is measured with a batch of that row too. The second step counts: the optimizer has
its states from then on.
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import msgspec

from studio.errors import JobFailed
from studio.params.methods import method_of
from trainers import sft
from trainers.attempt import Attempt, run_attempt
from trainers.training import recipe

if TYPE_CHECKING:
    from trainers.rows.data import Rendered, Sample

STEPS = 2
CANDIDATES = 64
"""Rows with the most letters, among which the one with the most tokens is looked for."""


def main(attempt: Attempt) -> dict[str, Any]:
    attempt.phase("loading_libraries")
    device = recipe.load_libraries(attempt)
    from transformers.trainer_utils import SaveStrategy
    from trl import SFTTrainer

    from trainers.losses.kinds import mixins
    from trainers.models.loading import load_tokenizer
    from trainers.training.peaks import Peaks, PeaksCallback

    attempt.phase("loading_data")
    attempt.spec = msgspec.structs.replace(attempt.spec, values=shortened(attempt.spec.values))
    values = attempt.spec.values
    tokenizer = load_tokenizer(attempt.spec.model.path)
    longest = longest_rows(attempt, tokenizer)
    if method_of(values).joins_rows:
        longest = [joined(longest, values["max_length"])]
    validates, evaluated = values["validation_split"] > 0, longest[:1] * values["per_device_eval_batch_size"]

    attempt.phase("loading_model")
    model, adapter = recipe.prepare_model(attempt, device)

    attempt.phase("memory.measuring")
    peaks = Peaks()
    arguments = sft.trainer_arguments(attempt, device, evaluates=validates)
    arguments.save_strategy = SaveStrategy.NO
    trainer = recipe.trainer_class(*mixins(values), SFTTrainer)(
        model=model,
        args=arguments,
        train_dataset=data_of(attempt, "train", training_rows(longest, values)),
        eval_dataset=data_of(attempt, "validation", evaluated) if validates else None,
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=[PeaksCallback(peaks)],
    )
    trainer.peaks, trainer.values = peaks, values
    try:
        trainer.train()
    finally:
        attempt.events.write("peaks", **peaks.figures())
    return {"peak_memory_bytes": peaks.peak_bytes, **peaks.figures()}


def shortened(values: dict[str, Any]) -> dict[str, Any]:
    """The run's values with as little work as shows its peaks."""
    return values | {
        "max_steps": STEPS,
        "gradient_accumulation_steps": min(2, values["gradient_accumulation_steps"]),
        "eval_steps": STEPS,
        "warmup_ratio": 0.0,
        "curriculum": "none",
        "curriculum_control": False,
        "class_weights": "none",
        "category_weights": "",
        "weight_column": "",
    }


def longest_rows(attempt: Attempt, tokenizer: Any) -> "list[Rendered]":
    """The longest rows to train on as training cuts them, the longest first.

    Raises:
        JobFailed: no_usable_rows.
    """
    from trainers.rows.data import Findings, Renderer, conversations, render_rows

    dataset, max_length = attempt.spec.dataset, attempt.spec.values["max_length"]
    chosen = heapq.nlargest(CANDIDATES, conversations(dataset), key=lambda row: letters(row[1]))
    renderer = Renderer(tokenizer, reasoning=attempt.spec.values.get("reasoning", "keep"))
    rendered = render_rows(chosen, renderer, max_length=max_length, findings=Findings())
    found = sorted(rendered, key=lambda row: -len(row.input_ids))
    if not found:
        raise JobFailed("no_usable_rows", dataset=dataset.name, max_length=max_length)
    return found


def joined(rows: "list[Rendered]", size: int) -> "Rendered":
    """One piece of a text as long as pieces are."""
    from trainers.rows.data import Rendered

    tokens = list(islice(cycle(token for row in rows for token in row.input_ids), size))
    return Rendered(rows[0].row, tokens, tokens)


def letters(sample: "Sample") -> int:
    """About how long a row is, without a tokenizer; a token counts as four letters."""
    if sample.input_ids is not None:
        return 4 * len(sample.input_ids)
    if sample.text is not None:
        return len(sample.text)
    return len(str(sample.messages)) + len(str(sample.tools or ""))


def training_rows(longest: "list[Rendered]", values: dict[str, Any]) -> "Iterator[Rendered]":
    """Rows for two steps: the longest again and again, or as many as fill packed rows to the end."""
    rows = STEPS * values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
    if not values.get("packing"):
        return islice(cycle(longest[:1]), rows)
    shortest = len(longest[-1].input_ids)
    return islice(cycle(longest), 2 * rows * -(-values["max_length"] // shortest))


def data_of(attempt: Attempt, name: str, rows: "Iterable[Rendered]") -> Any:
    from datasets import Dataset

    from trainers.rows.data import write_tokens

    path = attempt.folder / "cache" / f"{name}.arrow"
    write_tokens(rows, path)
    return Dataset.from_file(str(path))


if __name__ == "__main__":
    run_attempt(main)
