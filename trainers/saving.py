"""Checkpoints that are whole or absent, and runs that go on from them as if nothing had happened.

`AtomicCheckpoints` is mixed in before a trl trainer: `class Trainer(AtomicCheckpoints, SFTTrainer)`. transformers saves
as it always does, only into a temporary folder that is sealed with a manifest and renamed to `checkpoints/step-<N>`.
Keeping and deleting checkpoints, and choosing the best, is the studio's business, not done here.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from studio.errors import JobFailed
from trainers.manifest import read_manifest, whole_folder

PICKLED_ARGUMENTS = "training_args.bin"


class AtomicCheckpoints:
    """Redirects a Trainer's checkpoints, and stops it at the first loss or gradient that is no number."""

    checkpoints: Path
    """Where `step-<N>` folders go. Set before training."""
    same_run: Mapping[str, Any]
    """What a run must have in common with this one to go on from its checkpoints. Set before training."""
    after_save: Callable[[Path], None]
    """Called with each finished checkpoint. Set before training."""
    _redirected: str | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return self._redirected or super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        trainable = trainable_dtypes(self.model)
        if not _is_finite(self.model):
            raise JobFailed("non_finite_weights", step=step)
        target = self.checkpoints / f"step-{step}"
        facts = {"step": step, "trainable_dtypes": sorted(set(trainable.values())), "same_run": self.same_run}
        with whole_folder(target, **facts) as folder:
            self._redirected = str(folder)
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._redirected = None
            _lift(folder / f"checkpoint-{step}", folder)
            # A pickle of settings that the spec holds anyway.
            (folder / PICKLED_ARGUMENTS).unlink(missing_ok=True)
        self.after_save(target)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """trl would write one beside the checkpoints at each save; the studio writes cards on export."""

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
