"""Checkpoints that are whole or absent, and runs that go on from them as if nothing had happened.

`AtomicCheckpoints` is mixed in before a trl trainer: `class Trainer(AtomicCheckpoints, SFTTrainer)`. transformers saves
as it always does, only into a temporary folder that is sealed with a manifest and renamed to `checkpoints/step-<N>`.
A run may be stopped between two steps, within one, and while it evaluates: what is saved is always the end of a step,
random states included. Keeping and deleting checkpoints is the server's business, not done here.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from studio.errors import JobFailed
from trainers.checkpoints.manifest import read_manifest, whole_folder
from trainers.checkpoints.random_states import RandomStates
from trainers.training.schedules import set_rate

PICKLED_ARGUMENTS = "training_args.bin"


class EvaluationInterrupted(Exception):
    """Raised by a callback within an evaluation: the run is to end, and the rest of it is not wanted."""


class AtomicCheckpoints:
    """Redirects a Trainer's checkpoints, and stops it at the first loss or gradient that is no number."""

    checkpoints: Path
    """Where `step-<N>` folders go. Set before training."""
    same_run: Mapping[str, Any]
    """What a run must have in common with this one to go on from its checkpoints. Set before training."""
    before_save: Callable[[], None]
    """Called before each checkpoint. Set before training."""
    after_save: Callable[[Path, float], None]
    """Called with each finished checkpoint and the seconds that it took. Set before training."""
    new_rate: float | None = None
    """The learning rate, where it is to be another one than that of the checkpoint to go on from."""
    _redirected: str | None = None
    _step_end: tuple[int, RandomStates] | None = None
    """The last finished step, and the random states after all that belongs to it."""

    # -- saving ------------------------------------------------------------------------------------------------------

    def _get_output_dir(self, trial: Any) -> str:
        return self._redirected or super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        began, step = time.monotonic(), self.state.global_step
        trainable = trainable_dtypes(self.model)
        if not _is_finite(self.model):
            raise JobFailed("non_finite_weights", step=step)
        if self._step_end and self._step_end[0] == step:
            # Part of the next step was done already; it will be done again, from the start.
            self._step_end[1].put_back()
        self.before_save()
        target = self.checkpoints / f"step-{step}"
        facts = {
            "step": step,
            "trainable_dtypes": sorted(set(trainable.values())),
            "trained_parameters": sum(each.numel() for each in self.model.parameters() if each.requires_grad),
            "same_run": self.same_run,
        }
        with whole_folder(target, **facts) as folder:
            self._redirected = str(folder)
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._redirected = None
            _lift(folder / f"checkpoint-{step}", folder)
            # A pickle of settings that the spec holds anyway.
            (folder / PICKLED_ARGUMENTS).unlink(missing_ok=True)
        self.after_save(target, time.monotonic() - began)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """trl would write one beside the checkpoints at each save; the studio writes cards on export."""

    # -- going on ----------------------------------------------------------------------------------------------------

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # peft loads an adapter as float32 whatever it was; a QLoRA adapter in bfloat16 would then train differently.
        before = trainable_dtypes(self.model)
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for name, parameter in self.model.named_parameters():
            if name in before:
                parameter.data = parameter.data.to(getattr(torch, before[name]))
        recorded = (read_manifest(Path(resume_from_checkpoint)) or {}).get("trainable_dtypes")
        found = sorted(set(trainable_dtypes(self.model).values()))
        if recorded is not None and recorded != found:
            raise JobFailed("other_dtype", recorded=", ".join(recorded), found=", ".join(found))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.new_rate is not None:
            set_rate(self.optimizer, self.lr_scheduler, self.new_rate)

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        trained = super()._init_training_state(*args, **kwargs)
        # How often to save, score and log is this run's setting; a checkpoint brings back what it was saved with.
        self.state.compute_steps(self.args, self.state.max_steps)
        # trl counts tokens from 0 again when a run goes on.
        counted = [entry["num_tokens"] for entry in self.state.log_history if "num_tokens" in entry]
        self._total_train_tokens = int(counted[-1]) if counted else 0
        return trained

    def begin_with(self, checkpoint: Path) -> None:
        """Take over what another run had learned by then; optimizer, schedule and place in the data stay new."""
        self._load_from_checkpoint(str(checkpoint))

    def evaluate_missed(self) -> bool:
        """Score the held-out rows at the step that the run goes on from, if a stop broke that off there.

        Training draws nothing else for it from the random generators. Tells whether it was done to its end.
        """
        step, state = self.state.global_step, self.state
        is_due = self.args.eval_strategy == "steps" and (step % state.eval_steps == 0 or step >= state.max_steps)
        is_known = any("eval_loss" in entry and entry["step"] == step for entry in state.log_history)
        if not step or not is_due or is_known:
            return False
        before = RandomStates.now()
        found = self._evaluate(None, None)
        before.put_back()
        return bool(found)

    # -- a step ------------------------------------------------------------------------------------------------------

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise JobFailed("non_finite", step=self.state.global_step + 1)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        # Runs before the optimizer's step, so the weights stay as they were. With float16 a scaler expects such
        # gradients now and then, skips the step and lowers its scale.
        if self.accelerator.scaler is None and not torch.isfinite(torch.as_tensor(norm)):
            raise JobFailed("non_finite", step=self.state.global_step + 1)
        return norm

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        super()._maybe_log_save_evaluate(*args, **kwargs)
        self._step_end = (self.state.global_step, RandomStates.now())

    def _evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        try:
            return super()._evaluate(*args, **kwargs)
        except EvaluationInterrupted:
            self.control.should_evaluate = False
            self.control.should_training_stop = self.control.should_save = True
            return {}


def trainable_dtypes(model: Any) -> dict[str, str]:
    """Name of each trained weight -> name of its dtype."""
    return {
        name: str(parameter.dtype).removeprefix("torch.")
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _is_finite(model: Any) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in model.parameters() if each.requires_grad)


def _lift(folder: Path, into: Path) -> None:
    for path in folder.iterdir():
        os.replace(path, into / path.name)
    shutil.rmtree(folder)
