"""Classification with transformers: `python -m trainers.classify <attempt folder>`.

A head of labels stands where the model had its vocabulary (`trainers.models.heads`); labels come from the rows
(`trainers.rows.labelled_rows`). With LoRA the head is trained whole beside the adapter and saved with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from studio.errors import JobFailed
from trainers.attempt import Attempt, run_attempt
from trainers.models.heads import SEQUENCE, TOKEN, Head, layer_of
from trainers.rows.labelled_rows import Labelled, Labels, count_labels, label_of, labelled_rows
from trainers.rows.sides import both_sides
from trainers.training import recipe

if TYPE_CHECKING:
    from trainers.rows.data import Findings


def main(attempt: Attempt) -> dict[str, Any]:
    attempt.phase("loading_libraries")
    device = recipe.load_libraries(attempt)
    import torch
    from transformers import Trainer

    from trainers.losses.kinds import mixins
    from trainers.models.loading import load_tokenizer
    from trainers.training.class_loss import LearnsLabels, balanced, figures, likeliest

    resume_from = recipe.prepare_checkpoints(attempt)

    attempt.phase("loading_data")
    tokenizer = load_tokenizer(attempt.spec.model.path)
    labels = find_labels(attempt)
    head = Head(attempt.spec.values["task_type"], labels.names if is_sequence(attempt) else labels.tag_names)
    train_dataset, eval_dataset = prepare_data(attempt, tokenizer, head, labels.source)
    run = recipe.check_start(attempt, resume_from)

    attempt.phase("loading_model")
    model = prepare_model(attempt, device, head, tokenizer.pad_token_id)

    attempt.phase("preparing")
    trainer = recipe.build(
        attempt,
        recipe.trainer_class(*mixins(attempt.spec.values), LearnsLabels, Trainer),
        run,
        resume_from,
        model=model,
        args=trainer_arguments(attempt, device, evaluates=eval_dataset is not None),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        data_collator=collator(tokenizer, head),
        compute_metrics=figures(head, partial(tell, attempt, head)),
        preprocess_logits_for_metrics=likeliest,
    )
    trainer.head = head
    if attempt.spec.values["label_weights"] == "balanced":
        sizes = labels.sizes if is_sequence(attempt) else labels.tags
        trainer.label_weights = torch.tensor(balanced(sizes, head.labels))
    return recipe.train(attempt, trainer, resume_from)


def is_sequence(attempt: Attempt) -> bool:
    return attempt.spec.values["task_type"] == SEQUENCE


def find_labels(attempt: Attempt) -> Labels:
    """The labels of the rows to train on.

    Raises:
        JobFailed: no_labels, no_tags.
    """
    from trainers.rows.data import TRAIN

    dataset = attempt.spec.dataset
    labels = count_labels(labelled_rows(dataset, split=TRAIN), attempt.spec.values.get("label_source", "auto"))
    if is_sequence(attempt) and labels.source is None:
        raise JobFailed("no_labels", dataset=dataset.name, version=dataset.version)
    if not is_sequence(attempt) and len(labels.tags) < 2:
        raise JobFailed("no_tags", dataset=dataset.name, version=dataset.version)
    return labels


def prepare_model(attempt: Attempt, device: str, head: Head, pad_token_id: int) -> Any:
    """The base model with a new head, and the adapter on it where the tuning has one."""
    from peft import get_peft_model
    from transformers import set_seed

    from trainers.models.loading import load_model
    from trainers.tuning import kinds, quantised

    values = attempt.spec.values
    quantization = quantised.config(values)
    if quantization is not None:
        quantization.llm_int8_skip_modules = list(head.layers)
    set_seed(attempt.spec.seed)  # the new head begins with random numbers
    model = load_model(
        attempt.spec.model.path,
        dtype=values["dtype"],
        attn_implementation=values["attn_implementation"],
        quantization=quantization,
        device=device,
        head=head,
        pad_token_id=pad_token_id,
    )
    adapter = kinds.prepare(model, values)
    if adapter is None:
        layer_of(model).requires_grad_(True)
        return model
    adapter.task_type = head.task_type
    if head.task_type == TOKEN and adapter.target_modules == "all-linear":
        adapter.exclude_modules = list(head.layers)  # peft leaves out the head of a whole row by itself
    if values["gradient_checkpointing"]:
        model.enable_input_require_grads()
    return get_peft_model(model, adapter)


def prepare_data(attempt: Attempt, tokenizer: Any, head: Head, source: str | None) -> tuple[Any, Any]:
    """Rows to train on and to validate with; rows that cannot be used are reported by number.

    Raises:
        JobFailed: no_usable_rows.
    """
    from trainers.rows.data import Findings

    findings = Findings()
    maker = _Maker(tokenizer, head, source, attempt.spec.values["max_length"], findings)
    return both_sides(attempt, lambda split: maker.written(attempt, split), findings)


@dataclass(frozen=True)
class _Maker:
    tokenizer: Any
    head: Head
    source: str | None
    max_length: int
    findings: "Findings"

    def written(self, attempt: Attempt, split: str) -> Any | None:
        """The usable rows on one side of the split in `<attempt>/cache/<split>.arrow`; None if there are none."""
        from datasets import Dataset, Features, Sequence, Value

        one = Value("int64")
        labels = one if self.head.task_type == SEQUENCE else Sequence(one)
        features = Features({"row": one, "input_ids": Sequence(Value("int32")), "labels": labels})
        from datasets.arrow_writer import ArrowWriter

        path = attempt.folder / "cache" / f"{split}.arrow"
        path.parent.mkdir(parents=True, exist_ok=True)
        with ArrowWriter(path=str(path), features=features) as writer:
            for line in self._lines(labelled_rows(attempt.spec.dataset, split=split)):
                writer.write(line)
            count, _ = writer.finalize()
        return Dataset.from_file(str(path)) if count else None

    def _lines(self, rows: Iterator[Labelled]) -> Iterator[dict[str, Any]]:
        from trainers.rows.data import Renderer
        from trainers.rows.label_tokens import RowLeftOut, read_question, read_words

        renderer, numbers = Renderer(self.tokenizer), {label: n for n, label in enumerate(self.head.labels)}
        for row in rows:
            try:
                if self.head.task_type == SEQUENCE:
                    ids, labels = read_question(renderer, row, numbers, label_of(row, self.source))
                else:
                    ids, labels = read_words(self.tokenizer, row, numbers)
            except RowLeftOut as reason:
                self.findings.add(reason.code, row.row)
                continue
            if len(ids) > self.max_length:
                self.findings.add("rows_shortened", row.row)
                ids, labels = ids[: self.max_length], labels if isinstance(labels, int) else labels[: self.max_length]
            yield {"row": row.row, "input_ids": ids, "labels": labels}


def trainer_arguments(attempt: Attempt, device: str, *, evaluates: bool) -> Any:
    from transformers import TrainingArguments

    from studio.params.trl_names import plain_arguments

    arguments = plain_arguments(attempt.spec.values)
    if not evaluates:
        arguments["eval_strategy"] = "no"
    return TrainingArguments(**arguments, **recipe.surroundings(attempt, device), label_names=["labels"])


def collator(tokenizer: Any, head: Head) -> Any:
    from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding

    return (DataCollatorWithPadding if head.task_type == SEQUENCE else DataCollatorForTokenClassification)(tokenizer)


def tell(attempt: Attempt, head: Head, counts: list[list[int]], scores: list[float | None]) -> None:
    attempt.events.write(
        "confusion", step=attempt.figures.get("steps", 0), labels=list(head.labels), counts=counts, f1=scores
    )


if __name__ == "__main__":
    run_attempt(main)
