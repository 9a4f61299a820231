"""Vectors that scale what a layer passes on: IA3's beside keys, values and the MLP, or the model's own norms."""

from collections.abc import Iterator, Mapping
from typing import Any

from studio.errors import JobFailed
from studio.memory.adapters import IA3_INPUTS, IA3_OUTPUTS, NORMS_OF_HEADS


def prepare_ia3(model: Any, values: Mapping[str, Any]) -> Any:
    """The `IA3Config` that trl puts on the model: one learned factor for each output of keys and values, and for each
    input of the MLP's last layer (Liu et al. 2022).

    Raises:
        JobFailed: nothing_to_tune, where no layer bears one of the usual names.
    """
    from peft import IA3Config

    present = {path.rpartition(".")[2] for path, _ in model.named_modules()}
    inputs, outputs = sorted(IA3_INPUTS & present), sorted(IA3_OUTPUTS & present)
    if not inputs and not outputs:
        raise JobFailed("nothing_to_tune", names=", ".join(sorted(IA3_INPUTS | IA3_OUTPUTS)))
    return IA3Config(target_modules=inputs + outputs, feedforward_modules=inputs, task_type="CAUSAL_LM")


def prepare_norms(model: Any, values: Mapping[str, Any]) -> Any:
    """The `LNTuningConfig` that trl puts on the model: its norms are trained, each a copy beside the model's own.

    Raises:
        JobFailed: nothing_to_tune.
    """
    from peft import LNTuningConfig

    names = sorted({path.rpartition(".")[2] for path in _norms(model)})
    if not names:
        raise JobFailed("nothing_to_tune", names="norm, ln_1")
    return LNTuningConfig(target_modules=names, task_type="CAUSAL_LM")


def _norms(model: Any) -> Iterator[str]:
    for path, module in model.named_modules():
        if "Norm" in type(module).__name__ and not NORMS_OF_HEADS & set(path.split(".")):
            yield path
