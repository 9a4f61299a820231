"""What a checkpoint needs beyond what peft saves, so that a run goes on from it as if nothing had happened.

peft saves what an adapter answers with. Some of them train more than that: p-tuning an encoder that writes its prompt,
PiSSA matrices that only make sense beside the base model that they were cut out of. Their trained weights stand in a
file of their own, beside those that answer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.params.tunings import ADDS_TOKENS
from trainers.tuning import beginnings, bottleneck, prompts, two_rates

TRAINED = "trained_weights.safetensors"


class KeepsTuning:
    """For a trl trainer: begins, saves and goes on as its way of tuning needs it."""

    values: Mapping[str, Any]
    """The run's. Set before training."""
    beginning: Any = None
    """What the adapter began with, where its checkpoints are to be converted (`beginnings`)."""

    def begin_tuning(self) -> None:
        """Note what the adapter begins with: to be called once it is on the model, before it changes."""
        if self.values["tuning"] in ADDS_TOKENS:
            prompts.check(self.model)
        self.beginning = beginnings.begin(self.model, self.values)

    def create_optimizer(self, *given: Any) -> Any:
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*given)
        if is_new:
            two_rates.split(optimizer, self.model, self.values.get("loraplus_lr_ratio", 1.0))
        return optimizer

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if self.values["tuning"] == "bottleneck":  # the library would save the whole model
            bottleneck.save(self.model, Path(output_dir))
            self.processing_class.save_pretrained(output_dir)
            return
        super()._save(output_dir, state_dict)
        if not _saves_all(self.values):
            _write(Path(output_dir) / TRAINED, self.model, self.beginning)
        if self.beginning is not None:
            self.beginning.convert(Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.values["tuning"] == "bottleneck":
            bottleneck.load(self.model, Path(resume_from_checkpoint))
            return
        kept = Path(resume_from_checkpoint) / TRAINED
        if not kept.exists():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        found = _read(kept)
        if self.beginning is not None:
            self.beginning.put_back(
                {name: found.pop(name) for name in list(found) if name.startswith(beginnings.PREFIX)}
            )
        own = _trained(self.model)
        for name, weight in found.items():
            own[name].data.copy_(weight)


def _saves_all(values: Mapping[str, Any]) -> bool:
    """Whether what answers is all that is trained."""
    return not (
        values["tuning"] == "p_tuning"
        or values.get("prefix_projection")
        or values.get("init_lora_weights") == beginnings.PISSA
    )


def _trained(model: Any) -> dict[str, Any]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _write(path: Path, model: Any, beginning: Any) -> None:
    from safetensors.torch import save_file

    weights = {name: weight.detach().contiguous() for name, weight in _trained(model).items()}
    save_file(weights | (beginning.weights if beginning is not None else {}), path)


def _read(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(path)
