"""Chosen layers are trained, usually the top ones; the rest of the model stays as it is.

{"freeze_trainable_layers": 2, "freeze_trainable_modules": ["mlp", "lm_head"]}
    -> the MLPs of the two top layers, and the output layer
"""

from collections.abc import Mapping
from typing import Any

from studio.errors import JobFailed
from studio.params.layer_names import is_named, is_trained


def prepare(model: Any, values: Mapping[str, Any]) -> None:
    """Freeze every weight that is not to be trained.

    Raises:
        JobFailed: unknown_layers, for a name that no weight has.
    """
    names = values["freeze_trainable_modules"]
    first = model.config.get_text_config().num_hidden_layers - values["freeze_trainable_layers"]
    # A weight that two modules share has two names; one of them is enough.
    weights = dict(model.named_parameters(remove_duplicate=False))
    unknown = [name for name in names if not any(is_named(path, name) for path in weights)]
    if unknown:
        raise JobFailed("unknown_layers", names=", ".join(unknown))
    model.requires_grad_(False)
    for path, weight in weights.items():
        if is_trained(path, names, first):
            weight.requires_grad_(True)
