"""What is known of a model by its config.json alone, for a question about its memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.memory_options import Asked
from studio.errors import RefusedInput
from studio.hardware import Machine
from studio.memory.activations import layers_of
from studio.memory.config_fields import has_experts
from studio.memory.estimate import Shapes
from studio.memory.inventory import Inventory, from_config
from studio.memory.layers import Mode
from studio.memory.survey import known, survey
from studio.memory.ways import mode_of
from studio.paths import Workspace


def is_known(config: Mapping[str, Any], place: Workspace) -> bool:
    """Whether its inventory is there without asking a process.

    Raises:
        RefusedInput: no config of a model.
    """
    return known(config, cache=_cache(place)) is not None


def at_hand(config: Mapping[str, Any], question: Asked, place: Workspace) -> Inventory | None:
    """What is known of a model without asking a process: what ships, what was asked before, or a Llama-like layout.

    Raises:
        RefusedInput: no config of a model.
    """
    found = known(config, cache=_cache(place))
    if found is None:
        try:
            found = from_config(config)
        except RefusedInput:
            return None
    return found if question.stack.has_fused_experts else found.before_5()


def wants_trace(model: Inventory, settled: Asked, machine: Machine) -> bool:
    """Whether no trace speaks of the layers with these settings, and one could be made."""
    if machine.gpu is None or mode_of(settled.values, stack=settled.stack) is None:
        return False
    return not layers_of(model, settled.values, stack=settled.stack, device="cuda").is_traced


def shapes_of(question: Asked) -> Shapes:
    """As long as the settings allow; of prompts, where the model writes the answers."""
    return Shapes(question.values.get("max_prompt_length") or question.values["max_length"])


def seen_as(
    config: Mapping[str, Any], question: Asked, place: Workspace, *, is_tried: bool = False
) -> tuple[Inventory, Asked]:
    """The inventory with what these settings need of it, traces included.

    Args:
        is_tried: a search is on its way, so it is traced with and without recomputing.

    Raises:
        RefusedInput: memory.unknown_layers.
    """
    question = _without_dropout_on_experts(config, question)
    if seen := known(config, cache=_cache(place)):
        _check_targets(question, seen)
        question = _attending(question, seen)
    model = inventory_of(config, question, place, modes=_modes(question, is_tried=is_tried))
    _check_targets(question, model)
    return model, _attending(question, model)


def look_ahead(config: Mapping[str, Any], questions: Sequence[Asked], place: Workspace) -> None:
    """Have one process find out what all these questions need.

    Raises:
        RefusedInput: no model can be made of the config.
    """
    asked = [_without_dropout_on_experts(config, each) for each in questions]
    targets = dict.fromkeys(tuple(each.targets) for each in asked if each.targets)
    modes = dict.fromkeys(mode for each in asked for mode in _modes(each, is_tried=True))
    survey(config, cache=_cache(place), targets=targets, modes=modes)


def _modes(question: Asked, *, is_tried: bool) -> list[Mode]:
    mode = mode_of(question.values, stack=question.stack)
    if mode is None or not is_tried:
        return [mode] if mode else []
    return [mode, replace(mode, gradient_checkpointing=not mode.gradient_checkpointing)]


def _without_dropout_on_experts(config: Mapping[str, Any], question: Asked) -> Asked:
    """peft allows none on experts that are one weight together."""
    if question.targets == ["all-linear"] and has_experts(config) and question.stack.has_fused_experts:
        return replace(question, values={**question.values, "lora_dropout": 0.0})
    return question


def _attending(question: Asked, model: Inventory) -> Asked:
    """With an attention kernel that the model has, unless one was named."""
    if "attn_implementation" in question.given or model.can_attend_with(question.values["attn_implementation"]):
        return question
    return replace(question, values={**question.values, "attn_implementation": "eager"})


def _check_targets(question: Asked, model: Inventory) -> None:
    unknown = [name for name in question.targets if name not in model.layer_names | {"all-linear"}]
    if unknown:
        there = ", ".join(sorted(model.layer_names))
        raise RefusedInput("memory.unknown_layers", names=", ".join(unknown), known=there)


def _cache(place: Workspace) -> Path:
    return place.cache / "surveys"


def inventory_of(config: Mapping[str, Any], question: Asked, place: Workspace, modes: Sequence[Mode] = ()) -> Inventory:
    targets = [tuple(question.targets)] if question.targets else []
    found = survey(config, cache=_cache(place), targets=targets, modes=modes)
    return found if question.stack.has_fused_experts else found.before_5()
