"""From a transformers Trainer to events, and from requests to its flow: stop, save now."""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from trainers.attempt import Attempt
from trainers.checkpoints.manifest import digest_of, size_of
from trainers.checkpoints.pacing import SavePace
from trainers.checkpoints.saving import EvaluationInterrupted
from trainers.losses.shares import Domination
from trainers.training.early_stopping import validations_without_gain
from trainers.training.peaks import Peaks
from trainers.training.watchdog import Watchdog

METRICS = ("loss", "learning_rate", "grad_norm", "mean_token_accuracy", "entropy", "num_tokens", "accuracy", "f1")
METRICS += ("kl", "nll_loss", "reward", "reward_std", "frac_reward_zero_std", "policy_loss", "value_loss")
METRICS += ("explained_variance", "kl_coef", "sft_loss")
METRICS += ("old_loss",)
"""Of the rows that the model learned before (`trainers.continual.scores`)."""
OF_LOSSES = ("adversarial_loss",)
"""What `trainers.losses` tell."""
FAMILIES = ("term_share/", "task_share/", "rewards/", "logps/", "completions/", "clip_ratio/")
"""Beginnings of names: shares of the loss, rewards of rules, log-probabilities, lengths of answers, clipping."""
PROGRESS_SECONDS = 0.5
MEMORY_SECONDS = 30.0
RECENT_STEPS = 20


class NothingLeftToDo(Exception):
    """The checkpoint to go on from stands at the last step already; a Trainer would do one more."""


class Reporter(TrainerCallback):
    """Writes metric, progress, memory and checkpoint events, and obeys the attempt's requests.

    A stop is obeyed between two batches and between two batches of an evaluation, and what is saved is the last whole
    step. A save follows a log line, so that a run that goes on from it draws the same curve.
    """

    def __init__(self, attempt: Attempt, peaks: Peaks) -> None:
        self.watchdog = Watchdog(attempt)
        self.attempt = attempt
        self.catch_up: Callable[[], bool] = lambda: False
        """Does an evaluation that the attempt before left out; tells whether there was one."""
        self._peaks = peaks
        self._pace = SavePace()
        self._domination = Domination()
        self._durations: deque[float] = deque(maxlen=RECENT_STEPS)
        self._step_started = self._last_progress = self._last_memory = 0.0
        self._begun, self._first_step, self._train_seconds = 0.0, 0, 0.0
        self._saved_step, self._is_pace_told = 0, False
        self._metrics: dict[str, float] = {}
        self._epoch = 0.0

    @property
    def _origin(self) -> int:
        """The step of the other run's checkpoint that this run goes on from; 0 without one."""
        origin = self.attempt.spec.start_from
        return origin.step if origin else 0

    # -- what a Trainer tells ----------------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._catch_up(state)
        if state.global_step >= state.max_steps or control.should_training_stop:
            raise NothingLeftToDo
        self.attempt.phase("training")
        self._begun = self._step_started = time.monotonic()
        self._first_step = self._saved_step = state.global_step
        self._report_progress(state)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watchdog.beat()

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watchdog.beat()
        if self._is_to_stop(state):
            control.should_training_stop = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watchdog.beat()
        now = time.monotonic()
        self._durations.append(now - self._step_started)
        self._train_seconds += now - self._step_started
        # Known also of a run that is ended at once.
        self.attempt.figures["steps"] = state.global_step
        is_last = state.global_step >= state.max_steps
        if is_last or now - self._last_progress >= PROGRESS_SECONDS:
            self._report_progress(state)
        if now - self._last_memory >= MEMORY_SECONDS:
            self.report_memory()
        self._keep_pace(state, control)
        self._obey(state, control)
        if is_last or control.should_training_stop:
            control.should_save = True
            control.should_evaluate = control.should_evaluate or (is_last and args.eval_strategy != "no")
        control.should_log = control.should_log or control.should_save or control.should_evaluate
        if control.should_evaluate:
            self.attempt.phase("evaluating")
        # What evaluating and saving take is not this step's time.
        self._step_started = time.monotonic()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Comes also after a stop within a step, whose last whole step is then still to be saved."""
        if self.attempt.stopped_early and state.global_step > self._saved_step:
            control.should_save = True

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watchdog.beat()
        if self.attempt.current_phase != "evaluating":
            self.attempt.phase("evaluating")
        if self.attempt.stop_requested.is_set():
            self.attempt.stopped_early = True
            raise EvaluationInterrupted

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        values = {k: v for k, v in logs.items() if _is_told(k.removeprefix("eval_"))}
        self._epoch = state.epoch or 0.0
        if values:
            self._metrics |= values
            self.attempt.events.write("metric", step=state.global_step, epoch=self._epoch, values=values)
        for name, share in self._domination.found(values).items():
            code, _, what = name.partition("/")
            self.attempt.alert(f"dominates.{code}", name=what, percent=round(100 * share), step=state.global_step)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop_early(state, control)
        self._resume_training(state, control)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watchdog.beat()
        if self._is_to_stop(state):  # asked while it saved: nothing more is to be done
            control.should_training_stop = True
        self._resume_training(state, control)

    # -- what others ask for -----------------------------------------------------------------------------------------

    def checkpoint_saved(self, path: Path, seconds: float) -> None:
        """Report a finished checkpoint."""
        self._saved_step = int(path.name.removeprefix("step-"))
        self._pace.saved(seconds)
        self._tell_checkpoint(path, seconds)

    def _tell_checkpoint(self, path: Path, seconds: float) -> None:
        self.attempt.events.write(
            "checkpoint",
            step=int(path.name.removeprefix("step-")),
            epoch=self._epoch,
            path=str(path),
            size_bytes=size_of(path),
            digest=digest_of(path),
            metrics={name: self._metrics[name] for name in ("loss", "eval_loss") if name in self._metrics},
            seconds=round(seconds, 3),
        )

    def report_memory(self) -> None:
        self._last_memory = time.monotonic()
        self.attempt.events.write("memory", phase=self.attempt.current_phase, **self._peaks.now())

    def report_peaks(self) -> None:
        """What the run needed in each phase, however it ended: the studio's own predictions learn from it."""
        self.attempt.events.write("peaks", **self._peaks.figures())

    def figures(self, state: Any, *, seconds: float) -> dict[str, Any]:
        """The final figures of the run."""
        return {
            "train_loss": mean_loss(state.log_history, after=self._origin),
            "eval_loss": self._metrics.get("eval_loss"),
            "steps": state.global_step,
            "seconds": round(seconds, 3),
            # Without evaluating and saving: what `num_tokens` took.
            "train_seconds": round(self._train_seconds, 3),
            "saving_seconds": round(self._pace.seconds, 3),
            "peak_memory_bytes": self._peaks.peak_bytes,
        }

    # -- within ------------------------------------------------------------------------------------------------------

    def _catch_up(self, state: Any) -> None:
        """Score the held-out rows where a stop had broken that off, and tell what the checkpoint there is worth."""
        if not self.catch_up():
            return
        last = next((entry["loss"] for entry in reversed(state.log_history) if "loss" in entry), None)
        self._metrics |= {} if last is None else {"loss": last}
        saved = next((each for each in self.attempt.spec.resume_from if each.step == state.global_step), None)
        if saved is not None:
            self._tell_checkpoint(Path(saved.path), 0.0)

    def _obey(self, state: Any, control: Any) -> None:
        if self.attempt.save_requested.is_set():
            self.attempt.save_requested.clear()
            control.should_save = True
        if self._is_to_stop(state):
            # An evaluation that is due here begins all the same, and is broken off: it draws from the random generator.
            control.should_training_stop = True

    def _is_to_stop(self, state: Any) -> bool:
        """Whether a stop was asked for that comes before the last step; the run is then known to have ended early."""
        if not self.attempt.stop_requested.is_set() or state.global_step >= state.max_steps:
            return False
        self.attempt.stopped_early, self.attempt.has_trained = True, state.global_step > 0
        return True

    def _keep_pace(self, state: Any, control: Any) -> None:
        """Leave a regular save out that would cost too much of a long run."""
        if not control.should_save:
            return
        each = self._seconds_each(state.global_step) or 0.0
        elapsed = time.monotonic() - self._begun
        if self._pace.allows(elapsed_seconds=elapsed, total_seconds=each * state.max_steps):
            return
        control.should_save = False
        if not self._is_pace_told:
            self._is_pace_told = True
            self.attempt.alert("saves_less_often", "info", seconds=round(self._pace.longest))

    def _stop_early(self, state: Any, control: Any) -> None:
        """End the run when held-out rows are not answered better any more. Specs older than that name no patience."""
        patience = self.attempt.spec.values.get("early_stopping_patience", 0)
        if not patience or state.global_step >= state.max_steps:
            return
        own = [entry for entry in state.log_history if entry["step"] > self._origin]
        metric = self.attempt.spec.values.get("metric_for_best_model", "loss")
        if validations_without_gain(own, metric) >= patience:
            # The Trainer saves after it has evaluated.
            control.should_training_stop = control.should_save = True
            self.attempt.alert("stopped_early", "info", step=state.global_step, patience=patience)

    def _resume_training(self, state: Any, control: Any) -> None:
        self._step_started = time.monotonic()
        if self.attempt.current_phase != "training" and not control.should_training_stop:
            self.attempt.phase("training")

    def _report_progress(self, state: Any) -> None:
        self._last_progress = time.monotonic()
        left = state.max_steps - state.global_step
        each = self._seconds_each(state.global_step)
        self.attempt.events.write(
            "progress",
            done=state.global_step,
            total=state.max_steps,
            unit="steps",
            seconds_left=None if each is None else round(each * left, 1),
        )

    def _seconds_each(self, step: int) -> float | None:
        """Seconds that a step takes, with its share of the evaluating and saving so far; None before the first."""
        if not self._durations:
            return None
        pauses = self._last_progress - self._begun - self._train_seconds
        # The median: a step that waited for the disk or for another program does not make the time left jump.
        return statistics.median(self._durations) + max(0.0, pauses) / max(1, step - self._first_step)


def _is_told(name: str) -> bool:
    return name in (*METRICS, *OF_LOSSES) or name.startswith(FAMILIES)


def mean_loss(log: Iterable[Mapping[str, Any]], *, after: int = 0) -> float | None:
    """The loss of all steps after `after`, from a Trainer's log, whose entries are means since the one before.

    A Trainer's own figure speaks of the steps since it was started last. None: nothing was logged.
    """
    total, last = 0.0, after
    for entry in log:
        if "loss" in entry and entry["step"] > last:
            total += entry["loss"] * (entry["step"] - last)
            last = entry["step"]
    return total / (last - after) if last > after else None
