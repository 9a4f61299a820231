"""Why a prediction is less sure than usual: short codes, each with words in the locale files and a share in the bands.

    notes_of(run)  ->  ("method_without_gpu_rows", "experts_by_formula")

A code stands for what nobody has measured or traced; coefficients.yaml (`notes`) says by how much it widens a band.
"""

from collections.abc import Iterator

from studio.memory.adapters import is_int8
from studio.memory.parts import Run
from studio.memory.stack import coefficients
from studio.memory.ways import ON_LAYERS, TRAINS_OWN_WEIGHTS

MEASURED_METHODS = frozenset({"sft", "pretrain"})
"""Their memory was measured on GPUs, with many models; grpo's with one family on old libraries."""


def notes_of(run: Run) -> tuple[str, ...]:
    about = (_about_the_stack, _about_the_method, _about_the_model, _about_the_tuning)
    return tuple(dict.fromkeys(note for tell in about for note in tell(run)))


def uncertainty(notes: tuple[str, ...]) -> float:
    """By how much of the peak all notes together widen a band on either side."""
    widths = coefficients()["notes"]
    return sum(widths[note] ** 2 for note in notes) ** 0.5


def _about_the_stack(run: Run) -> Iterator[str]:
    if run.stack.uncovered:
        yield "stack_not_covered"


def _about_the_method(run: Run) -> Iterator[str]:
    if run.method.name not in MEASURED_METHODS:
        yield "method_without_gpu_rows"
    if run.method.has_critic:
        yield "critic_by_formula"
    if run.values.get("use_vllm"):
        yield "vllm_not_counted"
    if run.values.get("reward_model"):
        yield "reward_model_assumed"
    if run.values.get("asked_models_bytes"):
        yield "asked_models_by_weights"


def _about_the_model(run: Run) -> Iterator[str]:
    if run.inventory.is_assumed:
        yield "unknown_family"
    if run.inventory.num_experts > 1 and not run.layers.is_traced:
        yield "joined_experts_by_formula" if run.inventory.has_fused_experts else "experts_by_formula"
    elif not run.layers.is_traced and not run.inventory.is_followed:
        yield "layers_by_formula"
    if run.inventory.has_other_towers:
        yield "tower_not_counted"
    if run.method.generates and not run.inventory.tells_key_width:
        yield "cache_assumed"


def _about_the_tuning(run: Run) -> Iterator[str]:
    is_usual = run.values["tuning"] in ON_LAYERS | TRAINS_OWN_WEIGHTS and not run.values.get("use_dora")
    if not (is_usual or run.layers.has_beside):
        yield "tuning_never_seen" if run.values["tuning"] == "bottleneck" else "tuning_by_formula"
    if is_int8(run.values):
        yield "int8_by_formula"
