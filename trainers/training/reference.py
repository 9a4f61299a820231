"""What a run that begins with another one's weights is held to: those weights, not the base model below them.

    SFT, then DPO of its adapter    the reference is the model after SFT, and DPO's first loss is log 2

With an adapter they stand as a second one, `ref`, which trl asks in place of the base model, and which is saved and
loaded with every checkpoint. Where the model itself is trained, a copy is read from where the run began.
"""

import copy
from pathlib import Path
from typing import Any

from trainers.attempt import Attempt

REFERENCE = "ref"
"""trl's name for it, and peft's for its folder in a checkpoint."""


def begun_with(attempt: Attempt, resume_from: Path | None) -> Path | None:
    """The folder of the weights that a run began with; None where it began with the base model."""
    if resume_from is not None and (resume_from / REFERENCE).is_dir():
        return resume_from / REFERENCE
    begun = attempt.spec.weights_from
    return Path(begun.path) if begun is not None and Path(begun.path).is_dir() else None


def with_adapter(model: Any, adapter: Any, source: Path | None) -> dict[str, Any]:
    """What trl's trainer is given: a model that bears the adapter already, of which trl keeps a copy as the reference,
    or the base model and the adapter that trl puts on it."""
    if adapter is None or source is None:
        return {"model": model, "peft_config": adapter}
    from peft import get_peft_model

    held = get_peft_model(model, adapter)
    held.load_adapter(str(source), "default", is_trainable=True)
    return {"model": held, "peft_config": None}


def copied(attempt: Attempt, model: Any, source: Path | None) -> Any:
    """A model of its own as the reference, where the weights themselves are trained."""
    found = copy.deepcopy(model).eval().requires_grad_(False)
    _put(attempt, found, source)
    return found


def hold_to_start(attempt: Attempt, trainer: Any, source: Path | None) -> None:
    """Once the trainer has the weights that it begins with: its reference has them too.

    What it began with may bear a reference of the stage before, which then was loaded with it; and where trl is handed
    no reference, it reads the base model.
    """
    if source is None:
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if REFERENCE in getattr(model, "peft_config", {}):
        if source.name != REFERENCE:
            for name, weight in model.named_parameters():
                if f".{REFERENCE}." in name:
                    weight.data.copy_(model.get_parameter(name.replace(f".{REFERENCE}.", ".default.")).data)
    elif getattr(trainer, "ref_model", None) is not None:
        _put(attempt, trainer.ref_model, source)


def _put(attempt: Attempt, model: Any, source: Path | None) -> None:
    if source is None:
        return
    from trainers.models.loading import load_model

    values = attempt.spec.values
    begun = load_model(
        str(source),
        dtype=values["dtype"],
        attn_implementation=values["attn_implementation"],
        quantization=None,
        device=str(model.device),
    )
    model.load_state_dict(begun.state_dict())
