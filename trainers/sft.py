"""Supervised fine-tuning with trl: `python -m trainers.sft <attempt folder>`.

Reads downwards: spec, tokenizer, data, model, tuning, trainer, train, save. LoRA, QLoRA and full training differ in
two arguments only.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import JobFailed
from trainers.attempt import Attempt, run_attempt

if TYPE_CHECKING:
    from trainers.data import Findings


def main(attempt: Attempt) -> dict[str, Any]:
    spec, values = attempt.spec, attempt.spec.values
    checkpoints = Path(spec.checkpoints_path)

    attempt.phase("loading_libraries")
    import torch
    import transformers
    from datasets import disable_progress_bars
    from trl import SFTConfig, SFTTrainer

    from studio.params.trl_names import sft_arguments
    from trainers.loading import load_model, load_tokenizer, own_device
    from trainers.manifest import sweep_unfinished
    from trainers.reporting import NothingLeftToDo, Reporter
    from trainers.saving import AtomicCheckpoints, checked_resume
    from trainers.tuning import check_targets, peft_config, quantization_config

    class Trainer(AtomicCheckpoints, SFTTrainer):
        pass

    device = own_device(spec.device)
    transformers.utils.logging.disable_progress_bar()
    disable_progress_bars()
    torch.set_num_threads(spec.threads or torch.get_num_threads())
    checkpoints.mkdir(parents=True, exist_ok=True)
    sweep_unfinished(checkpoints)
    resume_from = checked_resume(spec)

    # --- data
    attempt.phase("loading_data")
    tokenizer = load_tokenizer(spec.model.path)
    train_dataset, eval_dataset = prepare_data(attempt, tokenizer)

    # --- model
    attempt.phase("loading_model")
    model = load_model(
        spec.model.path,
        dtype=values["dtype"],
        attn_implementation=values["attn_implementation"],
        quantization=quantization_config(values),
        device=device,
    )
    check_targets(values, model)

    # --- trainer
    attempt.phase("preparing")
    reporter = Reporter(attempt)
    arguments = sft_arguments(values)
    if eval_dataset is None:
        arguments["eval_strategy"] = "no"
    trainer = Trainer(
        model=model,
        args=SFTConfig(**arguments, **surroundings(attempt, device)),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        peft_config=peft_config(values),
        callbacks=[reporter],
    )
    trainer.checkpoints, trainer.after_save = checkpoints, reporter.checkpoint_saved
    check_counts(trainer, len(train_dataset))
    reporter.report_memory()

    # --- train; the last step and a stop save by themselves
    attempt.take_over_stops()
    started, train_loss = time.monotonic(), None
    try:
        train_loss = trainer.train(resume_from_checkpoint=resume_from).training_loss
    except NothingLeftToDo:
        attempt.alert("nothing_left_to_do", "info", step=trainer.state.global_step)
    attempt.hand_back_stops()
    reporter.report_memory()
    return reporter.figures(steps=trainer.state.global_step, seconds=time.monotonic() - started, train_loss=train_loss)


def prepare_data(attempt: Attempt, tokenizer: Any) -> tuple[Any, Any]:
    """Training and validation rows as trl data sets; rows that cannot be used are reported by number.

    Validation rows are those of the version's own split, or a share of the others where it has none. Rows for the test
    are left alone.
    """
    from trainers.data import TRAIN, VALIDATION, Findings, held_out

    dataset, values, findings = attempt.spec.dataset, attempt.spec.values, Findings()
    train = _tokens(attempt, tokenizer, TRAIN, findings)
    validates = values["validation_split"] > 0
    validation = _tokens(attempt, tokenizer, VALIDATION, findings) if validates else None
    for code in findings.rows:
        attempt.alert(code, **findings.named(code), max_length=values["max_length"])
    if train is None:
        raise JobFailed("no_usable_rows", dataset=dataset.name, max_length=values["max_length"])
    if validation is not None or not validates:
        return train, validation
    kept, chosen = held_out(len(train), values["validation_split"], seed=attempt.spec.seed)
    return train.select(kept), train.select(chosen) if chosen else None


def _tokens(attempt: Attempt, tokenizer: Any, split: str, findings: "Findings") -> Any | None:
    """The usable rows on one side of the split as a data set on disk; None if there are none."""
    from datasets import Dataset

    from trainers.data import Renderer, conversations, render_rows, write_tokens

    rows = conversations(attempt.spec.dataset, split=split)
    max_length = attempt.spec.values["max_length"]
    path = attempt.folder / "cache" / f"{split}.arrow"
    count = write_tokens(render_rows(rows, Renderer(tokenizer), max_length=max_length, findings=findings), path)
    return Dataset.from_file(str(path)) if count else None


def surroundings(attempt: Attempt, device: str) -> dict[str, Any]:
    """Settings that follow from the place where the run happens, not from the person who started it."""
    return {
        # Nothing is written there: checkpoints are redirected, and metrics are events.
        "output_dir": str(attempt.folder / "cache" / "trainer"),
        "report_to": "none",
        "use_cpu": device == "cpu",
        "disable_tqdm": True,
        "logging_first_step": True,
        # A loss that is no number ends the run; the Trainer would hide it behind the average of earlier ones.
        "logging_nan_inf_filter": False,
    }


def check_counts(trainer: Any, expected: int) -> None:
    """Compare the rows that went into trl with those it trains on.

    Raises:
        JobFailed: rows_lost.
    """
    data = trainer.train_dataset
    found = sum(map(len, data["seq_lengths"])) if "seq_lengths" in data.column_names else len(data)
    if found != expected:
        raise JobFailed("rows_lost", expected=expected, found=found)


if __name__ == "__main__":
    run_attempt(main)
