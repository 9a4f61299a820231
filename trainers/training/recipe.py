"""What every way of training shares: libraries, checkpoints to go on from, the model, the trainer, the training itself.

A method's module (`trainers.sft`) names its data, its trainer and that trainer's settings, and reads downwards:

    device = recipe.load_libraries(attempt)
    resume_from = recipe.prepare_checkpoints(attempt)
    ... its rows, written below <attempt>/cache ...
    run = recipe.check_start(attempt, resume_from)
    model, adapter = recipe.prepare_model(attempt, device)
    kind = recipe.trainer_class(*mixins(attempt.spec.values), SFTTrainer)
    trainer = recipe.build(attempt, kind, run, resume_from, model=model, ...)
    return recipe.train(attempt, trainer, resume_from)
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from trainers.attempt import Attempt


def load_libraries(attempt: Attempt) -> str:
    """Import what takes seconds; gives the device that the process sees."""
    import torch
    import transformers
    from datasets import disable_progress_bars

    from trainers.models.loading import own_device

    transformers.utils.logging.disable_progress_bar()
    disable_progress_bars()
    torch.set_num_threads(attempt.spec.threads or torch.get_num_threads())
    return own_device(attempt.spec.device)


def prepare_checkpoints(attempt: Attempt) -> Path | None:
    """Tidy the folder of checkpoints; gives the checkpoint to go on from, or None for a fresh start."""
    from studio.protocol import sync_folder
    from trainers.checkpoints.manifest import sweep_unfinished
    from trainers.checkpoints.resuming import start_of

    checkpoints = Path(attempt.spec.checkpoints_path)
    checkpoints.mkdir(parents=True, exist_ok=True)
    sync_folder(checkpoints.parent)
    sweep_unfinished(checkpoints)
    return start_of(attempt)


def is_foreign(attempt: Attempt, resume_from: Path | None) -> bool:
    """Whether that is a checkpoint of another run."""
    origin = attempt.spec.start_from
    return origin is not None and resume_from == Path(origin.path)


def check_start(attempt: Attempt, resume_from: Path | None) -> dict[str, Any]:
    """What makes this run the run that it is; the rows must lie below `cache` by now.

    Refuses to go on as another run, and tells what may make the last digits differ.

    Raises:
        JobFailed: resumed_otherwise.
    """
    from trainers.checkpoints.resuming import CONTINUED, OWN, WEIGHTS, changed_surroundings, check_same, same_run

    run = same_run(attempt.spec, sorted((attempt.folder / "cache").glob("*.arrow")))
    if resume_from is not None:
        check_same(resume_from, run, what=CONTINUED if is_foreign(attempt, resume_from) else OWN)
        changed = changed_surroundings(resume_from, run)
        if changed:
            attempt.alert("resumed_elsewhere", changed=changed)
    elif attempt.spec.weights_from is not None:
        check_same(Path(attempt.spec.weights_from.path), run, what=WEIGHTS)
    return run


def prepare_model(attempt: Attempt, device: str) -> tuple[Any, Any]:
    """The base model on its device, compressed where the tuning asks for it, and the adapter that trl puts on it.

    Without an adapter it is None, and whatever is not to be trained is frozen.
    """
    from trainers.losses.dropout import set_attention_dropout
    from trainers.models.loading import load_model
    from trainers.tuning import kinds, quantised

    values = attempt.spec.values
    model = load_model(
        attempt.spec.model.path,
        dtype=values["dtype"],
        attn_implementation=values["attn_implementation"],
        quantization=quantised.config(values),
        device=device,
    )
    if values.get("attention_dropout"):
        set_attention_dropout(model, values["attention_dropout"])
    return model, kinds.prepare(model, values)


def surroundings(attempt: Attempt, device: str) -> dict[str, Any]:
    """A trainer's settings that follow from the place where the run happens, not from the person who started it."""
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


def trainer_class(*bases: type) -> type:
    """A trainer that saves as the studio saves and tells what memory it needs; the last of `bases` is the library's."""
    from trainers.checkpoints.saving import AtomicCheckpoints
    from trainers.training.peaks import WatchesMemory
    from trainers.tuning.keeping import KeepsTuning

    return type("Trainer", (AtomicCheckpoints, WatchesMemory, KeepsTuning, *bases), {})


def build(attempt: Attempt, kind: type, run: dict[str, Any], resume_from: Path | None, **given: Any) -> Any:
    """The trainer, whose `reporter` tells the studio how it goes.

    Args:
        kind: a `trainer_class`.
        run: what makes the run the run that it is: of `check_start`.
        given: what the library's trainer takes; `callbacks` are the studio's.

    Raises:
        JobFailed: rows_lost: the library trains on, or validates with, fewer or more rows than it was given.
    """
    from trainers.rows.token_rows import check_counts
    from trainers.training.peaks import Peaks, PeaksCallback
    from trainers.training.reporting import Reporter

    peaks = Peaks()
    reporter = Reporter(attempt, peaks)
    trainer = kind(**given, callbacks=[reporter, PeaksCallback(peaks)])
    for side in ("train_dataset", "eval_dataset"):
        if given[side] is not None:
            check_counts(getattr(trainer, side), len(given[side]))
    trainer.peaks, trainer.reporter = peaks, reporter
    trainer.same_run, trainer.values = run, attempt.spec.values
    trainer.begin_tuning()
    trainer.checkpoints, trainer.after_save = Path(attempt.spec.checkpoints_path), reporter.checkpoint_saved
    trainer.before_save = partial(attempt.phase, "saving")
    trainer.new_rate = attempt.spec.values["learning_rate"] if is_foreign(attempt, resume_from) else None
    if resume_from is None and attempt.spec.weights_from is not None:
        trainer.begin_with(Path(attempt.spec.weights_from.path))
    elif resume_from is not None and not is_foreign(attempt, resume_from):
        reporter.catch_up = trainer.evaluate_missed
    reporter.report_memory()
    return trainer


def train(attempt: Attempt, trainer: Any, resume_from: Path | None) -> dict[str, Any]:
    """Train to the last step or a stop, both of which save by themselves; gives the run's figures.

    Raises:
        JobFailed: nothing_to_train, where a run of its own would be over before its first step.
    """
    from trainers.training.reporting import NothingLeftToDo
    from trainers.training.watchdog import Watchdog

    reporter = trainer.reporter
    reporter.watchdog = Watchdog(attempt)
    attempt.take_over_stops()
    started = time.monotonic()
    reporter.watchdog.start()
    try:
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    except NothingLeftToDo as error:
        if is_foreign(attempt, resume_from):
            raise JobFailed("nothing_to_train", step=trainer.state.global_step) from error
        if not attempt.stopped_early:
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
