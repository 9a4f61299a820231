"""The settings that change how much memory a run takes, and which one shrinks each part of the peak.

8B, QLoRA, 4 rows of 2048 tokens  ->  weights: nothing, activations: per_device_train_batch_size, ...
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from studio.hardware import Machine
from studio.memory.estimate import Estimate, Shapes
from studio.memory.inventory import Inventory
from studio.memory.measured import Experience, estimate_here
from studio.memory.stack import Stack
from studio.params.table import METHODS, Parameter, parameters

Values = Mapping[str, Any]
ADAMW = ("adamw_torch_fused", "adamw_torch")
ADAMW_8BIT = "adamw_bnb_8bit"
SHORTEST_ROW = 128
"""Rows are never cut below this many tokens to make a run fit."""


@dataclass(frozen=True)
class Term:
    """One part of the peak."""

    name: str
    bytes: int
    knob: str | None
    """The setting that shrinks it at the least cost; None where none does."""


def largest_terms(  # noqa: PLR0913 - what an estimate is made of, all but three by name
    inventory: Inventory,
    values: Values,
    found: Estimate,
    *,
    shapes: Shapes,
    machine: Machine | None,
    stack: Stack | None = None,
    experience: Experience | None = None,
) -> tuple[Term, ...]:
    """The three largest parts of the peak, each with the first knob (the cheapest first) that takes a quarter off it.

    Args:
        found: the estimate of `values`.
    """
    leaner = {
        name: estimate_here(
            inventory, {**values, **change}, shapes=shapes, machine=machine, stack=stack, experience=experience
        )
        for name, change in _leaner(values, shapes, machine)
    }
    largest = sorted(found.terms.items(), key=lambda part: -part[1])[:3]
    return tuple(Term(name, size, _knob(name, size, found.peak_phase, leaner)) for name, size in largest)


def _knob(term: str, size: int, phase: str, leaner: Mapping[str, Estimate]) -> str | None:
    for name, smaller in leaner.items():
        if smaller.phases.get(phase, {}).get(term, 0) <= 0.75 * size:
            return name
    return None


def _leaner(values: Values, shapes: Shapes, machine: Machine | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each knob at a setting that takes less, those that cost the least in speed and quality first."""
    half = max(SHORTEST_ROW, row_tokens(values, shapes) // 2)
    smaller: list[tuple[str, Any]] = [
        ("value_model", False),
        ("optim", ADAMW_8BIT if values["optim"] in ADAMW else values["optim"]),
        ("attn_implementation", "sdpa" if values["attn_implementation"] == "eager" else values["attn_implementation"]),
        ("per_device_train_batch_size", 1),
        ("per_device_eval_batch_size", 1),
        ("gradient_checkpointing", True),
        ("dtype", "bfloat16" if could_be_bfloat16(values, machine) else values["dtype"]),
        *(("tuning", tuning) for tuning in later_tunings(values["tuning"])[-1:]),
        ("lora_r", max(1, values.get("lora_r", 1) // 2)),
        ("max_length", half),
    ]
    for name, value in smaller:
        if name in values and values[name] != value and (name != "max_length" or half < values[name]):
            yield name, tuned(values, value) if name == "tuning" else {name: value}


@cache
def _table(method: str) -> Mapping[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters(method)}


def table_of(values: Values) -> Mapping[str, Parameter]:
    """Of its method; one that the form does not have yet is known by the settings that all share."""
    method = values.get("method", "sft")
    return _table(method if method in METHODS else "sft")


def could_be_bfloat16(values: Values, machine: Machine | None) -> bool:
    """Weights of four bytes could have two, on a GPU that computes in bfloat16."""
    gpu = machine.gpu if machine else None
    return values["dtype"] == "float32" and gpu is not None and gpu.has_bf16


def later_tunings(tuning: str) -> tuple[str, ...]:
    order = ("full", "lora", "qlora")
    return order[order.index(tuning) + 1 :] if tuning in order else ()


def tuned(values: Values, tuning: str) -> dict[str, Any]:
    """With another tuning, and the table's defaults for what only that one has."""
    changed = {**values, "tuning": tuning}
    for name, parameter in table_of(values).items():
        if name not in changed and not parameter.required and parameter.applies_to(changed):
            changed[name] = parameter.default
    return changed


def row_tokens(values: Values, shapes: Shapes) -> int:
    longest = values.get("max_length", shapes.longest_row)
    return longest if values.get("packing") else min(shapes.longest_row, longest)
