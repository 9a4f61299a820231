"""What a way of tuning meets in a model: names that it lacks, ranks beyond its layers, nothing to train at all."""

from collections.abc import Mapping
from typing import Any

from studio.memory.adapters import trained
from studio.memory.inventory import Inventory
from studio.memory.stack import installed_stack
from studio.params.layer_names import is_named

MOST_NAMES = 12


def tuning_measures(model: Inventory | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Everything is unknown where nobody looked at the model."""
    if model is None:
        names = ("missing_layers", "rank_over", "layers_over", "nothing_trained", "prefix_nowhere")
        return dict.fromkeys(names)
    missing = missing_layers(model, values)
    ranks = [min(module.shape[-2:]) for module in model.targets(values.get("lora_target_modules", []))]
    is_lora = "lora_target_modules" in values
    return {
        **{name: values.get(name) for name in ("tuning", "lora_r", "lora_dropout", "freeze_trainable_layers")},
        "targets": ", ".join(values.get("lora_target_modules", [])),
        "names_field": "lora_target_modules" if is_lora else "freeze_trainable_modules",
        "names_all": "all-linear" if is_lora else "all",
        "missing_layers": len(missing),
        "missing_names": ", ".join(missing),
        "known_names": ", ".join(sorted(model.layer_names)[:MOST_NAMES]),
        "largest_rank": min(ranks, default=None),
        "rank_over": int(bool(ranks) and values.get("lora_r", 0) > min(ranks)),
        "num_layers": model.num_hidden_layers,
        "layers_over": int(values.get("freeze_trainable_layers", 0) > model.num_hidden_layers),
        "prefix_nowhere": int(values["tuning"] == "prefix_tuning" and model.is_stateful),
        "nothing_trained": int(not missing and not trained(model, values, installed_stack()).parameters),
    }


def missing_layers(model: Inventory, values: Mapping[str, Any]) -> list[str]:
    """Names among the values that no layer of the model has."""
    targets = values.get("lora_target_modules", [])
    if targets and targets != ["all-linear"]:
        return [name for name in targets if name.rpartition(".")[2] not in model.layer_names]
    paths = [
        module.name.replace(".*.", f".{layer}.", 1)
        for module in model.modules
        for layer in range(model.num_hidden_layers if ".*." in module.name else 1)
    ]
    tied = [] if model.has_head else ["lm_head"]
    names = values.get("freeze_trainable_modules", [])
    return [name for name in names if name not in tied and not any(is_named(path, name) for path in paths)]
