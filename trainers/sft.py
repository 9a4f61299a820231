"""Supervised fine-tuning with trl: `python -m trainers.sft <attempt folder>`.

Reads downwards: spec, tokenizer, data, model, tuning, trainer, train, save. LoRA, QLoRA and full training differ in
two arguments only. Rows come in random order, or from easy to hard where the spec says so.
"""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import JobFailed
from trainers.attempt import Attempt, run_attempt

if TYPE_CHECKING:
    from trainers.data import Findings
    from trainers.reporting import Reporter


def main(attempt: Attempt) -> dict[str, Any]:
    attempt.phase("loading_libraries")
    trainer_class, device = load_libraries(attempt)
    from trainers.loading import load_tokenizer
    from trainers.peaks import Peaks, PeaksCallback
    from trainers.reporting import Reporter
    from trainers.resuming import same_run
    from trainers.tuning import peft_config

    resume_from = prepare_checkpoints(attempt)

    attempt.phase("loading_data")
    tokenizer = load_tokenizer(attempt.spec.model.path)
    train_dataset, eval_dataset = prepare_data(attempt, tokenizer)
    run = same_run(attempt.spec, sorted((attempt.folder / "cache").glob("*.arrow")))
    check_start(attempt, resume_from, run)

    attempt.phase("loading_model")
    model = prepare_model(attempt, device)

    attempt.phase("preparing")
    peaks = Peaks()
    reporter = Reporter(attempt, peaks)
    trainer = trainer_class(
        model=model,
        args=trainer_arguments(attempt, device, evaluates=eval_dataset is not None),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        peft_config=peft_config(attempt.spec.values),
        callbacks=[reporter, PeaksCallback(peaks)],
    )
    trainer.peaks = peaks
    trainer.same_run = run
    trainer.checkpoints, trainer.after_save = Path(attempt.spec.checkpoints_path), reporter.checkpoint_saved
    trainer.before_save = partial(attempt.phase, "saving")
    trainer.new_rate = attempt.spec.values["learning_rate"] if is_foreign(attempt, resume_from) else None
    check_counts(trainer, len(train_dataset))
    reporter.report_memory()
    return train(attempt, trainer, reporter, resume_from)


# -- libraries and checkpoints ---------------------------------------------------------------------------------------


def load_libraries(attempt: Attempt) -> tuple[type, str]:
    """Import what takes seconds; gives the class of the trainer and the device that the process sees."""
    import torch
    import transformers
    from datasets import disable_progress_bars
    from trl import SFTTrainer

    from trainers.loading import own_device
    from trainers.peaks import WatchesMemory
    from trainers.saving import AtomicCheckpoints
    from trainers.weighing import WeighsRows

    class Trainer(AtomicCheckpoints, WatchesMemory, WeighsRows, SFTTrainer):
        pass

    transformers.utils.logging.disable_progress_bar()
    disable_progress_bars()
    torch.set_num_threads(attempt.spec.threads or torch.get_num_threads())
    return Trainer, own_device(attempt.spec.device)


def prepare_checkpoints(attempt: Attempt) -> Path | None:
    """Tidy the folder of checkpoints; gives the checkpoint to go on from, or None for a fresh start."""
    from studio.protocol import sync_folder
    from trainers.manifest import sweep_unfinished
    from trainers.resuming import start_of

    checkpoints = Path(attempt.spec.checkpoints_path)
    checkpoints.mkdir(parents=True, exist_ok=True)
    sync_folder(checkpoints.parent)
    sweep_unfinished(checkpoints)
    return start_of(attempt)


def is_foreign(attempt: Attempt, resume_from: Path | None) -> bool:
    """Whether that is a checkpoint of another run."""
    origin = attempt.spec.start_from
    return origin is not None and resume_from == Path(origin.path)


def check_start(attempt: Attempt, resume_from: Path | None, run: dict[str, Any]) -> None:
    """Refuse to go on as another run; tell what may make the last digits differ.

    Raises:
        JobFailed: resumed_otherwise.
    """
    from trainers.resuming import changed_surroundings, check_same

    if resume_from is None:
        return
    check_same(resume_from, run, is_own=not is_foreign(attempt, resume_from))
    changed = changed_surroundings(resume_from, run)
    if changed:
        attempt.alert("resumed_elsewhere", changed=changed)


# -- data ------------------------------------------------------------------------------------------------------------


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
    if validation is None and validates:
        kept, chosen = held_out(len(train), values["validation_split"], seed=attempt.spec.seed)
        train, validation = train.select(kept), train.select(chosen) if chosen else None
    return weighed(attempt, in_order(attempt, train)), validation


def weighed(attempt: Attempt, rows: Any) -> Any:
    """The rows as they are, or each with the weight of its class."""
    from studio.params.trl_names import weighs_classes
    from trainers.weighing import WEIGHT, class_weights

    if not weighs_classes(attempt.spec.values):
        return rows
    weights = class_weights(attempt.spec.dataset)
    return rows.add_column(WEIGHT, [weights[row] for row in rows["row"]])


def in_order(attempt: Attempt, rows: Any) -> Any:
    """The rows as they are, or the easy ones first; the sampler then keeps that order in every epoch."""
    from studio.params.trl_names import is_easy_to_hard
    from trainers.data import MIDDLE, Findings, difficulties

    if not is_easy_to_hard(attempt.spec.values):
        return rows
    hardness, numbers = difficulties(attempt.spec.dataset), list(rows["row"])
    unknown = Findings({"data.no_score": [number for number in numbers if number not in hardness]})
    if unknown.rows["data.no_score"]:
        attempt.alert("data.no_score", **unknown.named("data.no_score"))
    return rows.select(sorted(range(len(numbers)), key=lambda place: hardness.get(numbers[place], MIDDLE)))


def _tokens(attempt: Attempt, tokenizer: Any, split: str, findings: "Findings") -> Any | None:
    """The usable rows on one side of the split as a data set on disk; None if there are none."""
    from datasets import Dataset

    from trainers.data import Renderer, conversations, render_rows, write_tokens

    rows = conversations(attempt.spec.dataset, split=split)
    max_length = attempt.spec.values["max_length"]
    path = attempt.folder / "cache" / f"{split}.arrow"
    count = write_tokens(render_rows(rows, Renderer(tokenizer), max_length=max_length, findings=findings), path)
    return Dataset.from_file(str(path)) if count else None


def check_counts(trainer: Any, expected: int) -> None:
    """Compare the rows that went into trl with those it trains on.

    Raises:
        JobFailed: rows_lost.
    """
    data = trainer.train_dataset
    found = sum(map(len, data["seq_lengths"])) if "seq_lengths" in data.column_names else len(data)
    if found != expected:
        raise JobFailed("rows_lost", expected=expected, found=found)


# -- model and trainer -----------------------------------------------------------------------------------------------


def prepare_model(attempt: Attempt, device: str) -> Any:
    """The base model on its device, compressed where the tuning asks for it."""
    from trainers.loading import load_model
    from trainers.tuning import check_targets, quantization_config

    values = attempt.spec.values
    model = load_model(
        attempt.spec.model.path,
        dtype=values["dtype"],
        attn_implementation=values["attn_implementation"],
        quantization=quantization_config(values),
        device=device,
    )
    check_targets(values, model)
    return model


def trainer_arguments(attempt: Attempt, device: str, *, evaluates: bool) -> Any:
    """trl's settings: those of the spec, and those that follow from the place where the run happens."""
    from trl import SFTConfig

    from studio.params.trl_names import sft_arguments

    arguments = sft_arguments(attempt.spec.values)
    if not evaluates:
        arguments["eval_strategy"] = "no"
    return SFTConfig(**arguments, **surroundings(attempt, device))


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


# -- training --------------------------------------------------------------------------------------------------------


def train(attempt: Attempt, trainer: Any, reporter: "Reporter", resume_from: Path | None) -> dict[str, Any]:
    """Train to the last step or a stop, both of which save by themselves; gives the run's figures.

    Raises:
        JobFailed: nothing_to_train, where a run of its own would be over before its first step.
    """
    from trainers.reporting import NothingLeftToDo
    from trainers.watchdog import Watchdog

    reporter.watchdog = Watchdog(attempt)
    attempt.take_over_stops()
    started = time.monotonic()
    reporter.watchdog.start()
    try:
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    except NothingLeftToDo as error:
        if is_foreign(attempt, resume_from):
            raise JobFailed("nothing_to_train", step=trainer.state.global_step) from error
        attempt.alert("nothing_left_to_do", "info", step=trainer.state.global_step)
    finally:
        reporter.watchdog.stop()
        reporter.report_peaks()
        attempt.figures |= reporter.figures(trainer.state, seconds=time.monotonic() - started)
    attempt.hand_back_stops()
    reporter.report_memory()
    if not (trainer.state.global_step or attempt.stopped_early):
        raise JobFailed("nothing_to_train", step=0)
    return {}


if __name__ == "__main__":
    run_attempt(main)
