"""Number formats, row length, tuning and batch: what follows from the model's size, the data's lengths, the machine."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from studio.advisor.draft import Draft
from studio.advisor.facts import Facts
from studio.advisor.joined import num_pieces, piece_size
from studio.advisor.recipes import recipes, wanted_batch
from studio.hardware import Machine
from studio.memory.estimate import Shapes
from studio.memory.fit import Fit, fit
from studio.memory.inventory import Inventory
from studio.memory.knobs import later_tunings
from studio.memory.measured import Experience
from studio.params.joined import seen_by_row
from studio.params.methods import method_of
from studio.params.tunings import ADDS_TOKENS, keeps_model
from studio.rewards.judges import with_bytes

FLASH = "flash_attention_2"
LEAST_PADDING = 0.1
"""Share of a batch from which on leaving padding out shows. Ours."""
_FIT_REASONS = {
    "tuning": ("tuning_qlora", "B, E"),
    "optim": ("optim_8bit", "B"),
    "dtype": ("precision_short", "B"),
    "mixed_precision": ("precision_short", "B"),
    "max_length": ("length_cut_to_fit", "B"),
}
"""Why a setting was changed to fit; any other one says `fits_so`."""


def fill_precision(draft: Draft) -> None:
    gpu = draft.facts.machine.gpu
    if gpu is None:
        dtype = draft.facts.machine.cpu_dtype
        draft.fill("dtype", dtype, "precision_cpu" if dtype == "float32" else "precision_cpu_short", source="measured")
        draft.fill("mixed_precision", "no", "precision_cpu", source="ours")
    elif gpu.has_bf16:
        draft.fill("dtype", "bfloat16", "precision_bf16", source="B", gpu=gpu.name)
        draft.fill("mixed_precision", "bf16", "precision_bf16", source="B", gpu=gpu.name)
    else:
        draft.fill("dtype", "float16", "precision_fp16", source="B", gpu=gpu.name)
        draft.fill("mixed_precision", "fp16", "precision_fp16", source="B", gpu=gpu.name)


def fill_attention(draft: Draft) -> None:
    model, machine = draft.facts.inventory, draft.facts.machine
    is_short = draft["dtype"] != "float32" or draft["mixed_precision"] != "no"
    has_flash = machine.gpu is not None and machine.gpu.has_bf16 and machine.has_flash_attention
    if has_flash and is_short and (model is None or model.can_attend_with(FLASH)):
        draft.fill("attn_implementation", FLASH, "attention_flash", source="B", gpu=machine.gpu.name)
    if model and not model.can_attend_with(draft["attn_implementation"]):
        draft.fill("attn_implementation", "eager", "attention_eager", source="ours")


def fill_padding(draft: Draft) -> None:
    """Rows behind each other instead of padded, where that saves more than it costs.

    It saves the share of a batch that would be padding. With flash attention it costs nothing; without, attention is
    computed between the rows too and thrown away: a layer multiplies some 20 hidden_size numbers a token in its linear
    parts, and 4 for each token that it attends to.
    """
    model, lengths, values = draft.facts.inventory, draft.facts.lengths, draft.values
    if model is None or lengths is None or seen_by_row(values) or values["tuning"] in ADDS_TOKENS:
        return
    rows, longest = draft["per_device_train_batch_size"], min(lengths.p95, draft["max_length"])
    # In a batch of few rows the longest is not among the longest of all.
    padding = (1 - min(1.0, lengths.mean / longest)) * (1 - 1 / rows)
    is_free = draft["attn_implementation"] == FLASH
    is_worth = is_free or rows * lengths.mean <= 5 * padding * model.hidden_size
    if padding >= LEAST_PADDING and is_worth:
        draft.fill("padding_free", True, "rows_joined", source="measured", percent=round(100 * padding))


def fill_length(draft: Draft) -> None:
    lengths, limit = draft.given.lengths, recipes()["longest_row"]
    if lengths is None:
        return
    if method_of(draft.values).joins_rows and draft.given.rows:
        size = piece_size(draft.given)
        pieces = num_pieces(draft.given, size)
        draft.fill("max_length", size, "length_pieces", source="ours", pieces=pieces, size=size)
        return
    limit = min(limit, draft.facts.max_positions or limit)
    wanted = max(64, 64 * math.ceil(lengths.longest / 64))
    if wanted <= limit:
        draft.fill("max_length", wanted, "length_longest", source="B", longest=lengths.longest)
    else:
        draft.fill("max_length", limit, "length_limited", source="B", longest=lengths.longest, limit=limit)


def fill_tuning(draft: Draft) -> None:
    """LoRA first: compressed weights are less exact. Full training keeps exact weights, where they can be updated."""
    draft.fill("tuning", "lora", "tuning_lora", source="B, C, E")
    gpu = draft.facts.machine.gpu
    if keeps_model(draft["tuning"]) and gpu is not None:
        short = "bf16" if gpu.has_bf16 else "fp16"
        draft.fill("dtype", "float32", "precision_full", source="ours")
        draft.fill("mixed_precision", short, "precision_full", source="B")


def fill_what_fits(draft: Draft) -> None:
    """The quickest settings that fit, with the effective batch that the number of rows asks for."""
    facts = draft.facts
    wanted = _wanted_batch(draft)
    draft.fill("gradient_checkpointing", False, "checkpointing_off", source="B")
    batch = draft.chosen.get("per_device_train_batch_size", wanted)
    changes: dict[str, Any] = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": max(1, wanted // batch),
        "per_device_eval_batch_size": batch,
    }
    values = draft.values | changes | draft.chosen
    # As a run is kept that is compared with: without settings that have no effect.
    values = {name: value for name, value in values.items() if draft.table[name].applies_to(values)}
    if "tuning" not in draft.chosen:
        values |= _of_later_tunings(draft, values)
    if facts.inventory and facts.shapes and not draft.chosen.keys() >= SEARCHED:
        # A prefix cannot go through a layer that is computed again.
        settled = ("gradient_checkpointing",) if values["tuning"] == "prefix_tuning" else ()
        values = with_bytes(values, facts.judges, on_gpu=facts.machine.gpu is not None)
        found = _fitted(facts, _frozen(values), (*draft.chosen, *settled), wanted)
        changes |= found.values
    for name, value in changes.items():
        if name not in _BATCH:
            reason, source = _FIT_REASONS.get(name, ("fits_so", "ours"))
            if name == "gradient_checkpointing":
                reason, source = ("checkpointing_on" if value else "checkpointing_off"), "B"
            draft.fill(name, value, reason, source=source)
    _fill_batch(draft, changes, wanted)


def _of_later_tunings(draft: Draft, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a person chose for a tuning that the search may come to: 8 bits, should the model have to be compressed."""
    later = [{**values, "tuning": tuning} for tuning in later_tunings(values["tuning"])]
    chosen = {name: value for name, value in draft.chosen.items() if name not in values}
    return {name: value for name, value in chosen.items() if any(map(draft.table[name].applies_to, later))}


def _wanted_batch(draft: Draft) -> int:
    """Rows that count in one update; where answers are compared with each other, all of a question's belong to one."""
    wanted = wanted_batch(draft.facts, draft.values)
    together = draft["num_generations"] if method_of(draft.values).answers_itself else 1
    return together * max(1, wanted // together)


SEARCHED = frozenset(
    {
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "per_device_eval_batch_size",
        "gradient_checkpointing",
        "optim",
        "attn_implementation",
        "dtype",
        "mixed_precision",
        "tuning",
        "max_length",
    }
)
"""What the search for settings that fit may change: where all of them are chosen there is nothing to search."""
_BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size")


def _fill_batch(draft: Draft, changes: Mapping[str, Any], wanted: int) -> None:
    words = {"wanted": wanted, "rows": draft.rows}
    batch = changes["per_device_train_batch_size"]
    reason = "batch_whole" if batch >= wanted else "batch_fits"
    if "gradient_accumulation_steps" in draft.chosen:
        reason = "batch_beside"
    draft.fill("per_device_train_batch_size", batch, reason, source="A, B", **words)
    steps = changes["gradient_accumulation_steps"]
    answers = method_of(draft.values).answers_itself
    reason, source = ("preference.accumulation", "A, D") if answers else ("accumulation", "A, B, E")
    draft.fill("gradient_accumulation_steps", steps, reason, source=source, **words)
    draft.fill("per_device_eval_batch_size", changes["per_device_eval_batch_size"], "eval_batch", source="ours")


def _fitted(facts: Facts, items: tuple[tuple[str, Any], ...], chosen: tuple[str, ...], wanted: int) -> Fit:
    return _search(facts.inventory, facts.shapes, facts.machine, facts.experience, items, chosen, wanted)


# One look at a form asks the same question several times: once for each changed field.
@lru_cache(maxsize=128)
def _search(  # noqa: PLR0913 - what the answer depends on
    inventory: Inventory,
    shapes: Shapes,
    machine: Machine,
    experience: Experience,
    items: tuple[tuple[str, Any], ...],
    chosen: tuple[str, ...],
    wanted: int,
) -> Fit:
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in items}
    return fit(
        inventory,
        values,
        shapes=shapes,
        machine=machine,
        chosen=chosen,
        wanted_batch=wanted,
        experience=experience,
    )


def _frozen(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Hashable; what a reward says takes no memory."""
    plain = ((name, value) for name, value in values.items() if not isinstance(value, dict))
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in plain)
