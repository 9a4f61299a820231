"""What a form is filled in with, and why: `prefill(facts, chosen)`.

In this order: what was measured for that size and tuning, the documents' rule, trl's default. Rules are data
(`templates/advice/recipes.yaml`); this module applies them to a model, its data and a machine. A value that a person
chose is never touched, and what depends on it follows it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from studio.advisor.facts import Facts
from studio.memory.estimate import Estimate, batch_that_fits, estimate
from studio.params.table import parameters
from studio.paths import TEMPLATES

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Filled:
    """A value that was filled in; its words are `reasons.<reason>`."""

    value: Any
    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@cache
def recipes() -> Mapping[str, Any]:
    return yaml.load((TEMPLATES / "advice" / "recipes.yaml").read_text("utf-8"), _Loader)


def prefill(facts: Facts, chosen: Mapping[str, Any]) -> dict[str, Filled]:
    """Every parameter that is not in `chosen`, filled in.

    Args:
        chosen: checked values that a person set; names of the parameter table.
    """
    draft = _Draft(facts, dict(chosen))
    for fill in (
        _fill_defaults,
        _fill_precision,
        _fill_length,
        _fill_tuning,
        _fill_adapter,
        _fill_rate,
        _fill_by_rows,
        _fill_memory,
        _fill_epochs,
        _fill_intervals,
    ):
        fill(draft)
    return {name: filled for name, filled in draft.filled.items() if draft.applies(name)}


def steps_of(values: Mapping[str, Any], rows: int, own_validation: int = 0) -> int:
    """Optimizer steps of a run as transformers counts them: the last, smaller batch of an epoch is a step too."""
    if values["max_steps"] > 0:
        return values["max_steps"]
    batches = math.ceil(training_rows(values, rows, own_validation) / values["per_device_train_batch_size"])
    per_epoch = max(1, math.ceil(batches / values["gradient_accumulation_steps"]))
    return max(1, math.ceil(per_epoch * values["num_train_epochs"]))


def training_rows(values: Mapping[str, Any], rows: int, own_validation: int = 0) -> int:
    """Rows that are left after the held-out ones are set aside (`trainers.data.held_out` counts the same)."""
    return rows if own_validation else rows - validation_rows(values, rows)


def validation_rows(values: Mapping[str, Any], rows: int, own_validation: int = 0) -> int:
    """Rows that a run validates with: those of the data set's own split if any, else a share of `rows`."""
    if values["validation_split"] == 0:
        return 0
    if own_validation or rows < 2:
        return own_validation
    return min(max(1, round(rows * values["validation_split"])), rows - 1)


class _Draft:
    """The values so far: chosen ones stand, filled ones may be filled again by a later rule."""

    def __init__(self, facts: Facts, chosen: dict[str, Any]) -> None:
        self.facts = facts
        self.chosen = chosen
        self.filled: dict[str, Filled] = {}
        self.table = {parameter.name: parameter for parameter in parameters(chosen.get("method", "sft"))}

    def fill(self, name: str, value: Any, reason: str, *, source: str = "", **values: Any) -> None:
        if name not in self.chosen:
            self.filled[name] = Filled(value, reason, values, source)

    def __getitem__(self, name: str) -> Any:
        return self.chosen[name] if name in self.chosen else self.filled[name].value

    @property
    def values(self) -> dict[str, Any]:
        return {name: filled.value for name, filled in self.filled.items()} | self.chosen

    @property
    def steps(self) -> int:
        return steps_of(self.values, self.facts.rows, self.facts.validation_rows)

    def applies(self, name: str) -> bool:
        return self.table[name].applies_to(self.values)

    def estimate(self, **changes: Any) -> Estimate | None:
        """Memory with these changes; None while the model or the data is unknown."""
        facts = self.facts
        if facts.inventory is None or facts.shapes is None:
            return None
        return estimate(facts.inventory, {**self.values, **changes}, shapes=facts.shapes, machine=facts.machine)

    def fits(self, **changes: Any) -> bool:
        found = self.estimate(**changes)
        return found is None or found.verdict == "fits"


def _fill_defaults(draft: _Draft) -> None:
    for name, parameter in draft.table.items():
        if not parameter.required and name != "run_name":
            draft.fill(name, parameter.default, "default", source=parameter.source)
    draft.fill("max_grad_norm", recipes()["max_grad_norm"], "clipping", source="A")


def _fill_precision(draft: _Draft) -> None:
    gpu = draft.facts.machine.gpu
    if gpu is None:
        draft.fill("dtype", "float32", "precision_cpu", source="ours")
        draft.fill("mixed_precision", "no", "precision_cpu", source="ours")
    elif gpu.has_bf16:
        draft.fill("dtype", "bfloat16", "precision_bf16", source="B", gpu=gpu.name)
        draft.fill("mixed_precision", "bf16", "precision_bf16", source="B", gpu=gpu.name)
    else:
        draft.fill("dtype", "float16", "precision_fp16", source="B", gpu=gpu.name)
        draft.fill("mixed_precision", "fp16", "precision_fp16", source="B", gpu=gpu.name)


def _fill_length(draft: _Draft) -> None:
    lengths, limit = draft.facts.lengths, recipes()["longest_row"]
    if lengths is None:
        return
    limit = min(limit, draft.facts.max_positions or limit)
    wanted = max(64, 64 * math.ceil(lengths.longest / 64))
    if wanted <= limit:
        draft.fill("max_length", wanted, "length_longest", source="B", longest=lengths.longest)
    else:
        draft.fill("max_length", limit, "length_limited", source="B", longest=lengths.longest, limit=limit)


def _fill_tuning(draft: _Draft) -> None:
    """LoRA; with a GPU too small for it, QLoRA. (Compressed weights are less exact, so LoRA goes first.)"""
    smallest = {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1, "gradient_checkpointing": True}
    draft.fill("tuning", "lora", "tuning_lora", source="B, C, E")
    if not draft.fits(**smallest) and draft.fits(**smallest, tuning="qlora"):
        draft.fill("tuning", "qlora", "tuning_qlora", source="B, E")
    if draft["tuning"] == "full" and draft.facts.machine.gpu is not None:
        _fill_full_precision(draft, smallest)


def _fill_full_precision(draft: _Draft, smallest: dict[str, Any]) -> None:
    """Full training: exact weights where they fit, as small steps get lost in 2-byte ones; else 2-byte weights."""
    gpu = draft.facts.machine.gpu
    short = "bf16" if gpu.has_bf16 else "fp16"
    exact = {"dtype": "float32", "mixed_precision": short}
    if not gpu.has_bf16 or draft.fits(**smallest, **exact):
        draft.fill("dtype", "float32", "precision_full", source="ours")
        draft.fill("mixed_precision", short, "precision_full", source="B")
    if not draft.fits(**smallest):
        draft.fill("optim", "adamw_bnb_8bit", "optim_8bit", source="B")


def _fill_adapter(draft: _Draft) -> None:
    rules = recipes()["lora"]
    for name in ("lora_r", "lora_dropout"):
        draft.fill(name, rules[name], name, source="B")
    draft.fill("lora_alpha", 2 * draft["lora_r"], "lora_alpha", source="B")
    measured = _measured(draft)
    inventory = draft.facts.inventory
    if measured:
        draft.fill("lora_target_modules", measured["lora_target_modules"], "targets_all", source="ours, measured")
    elif inventory is None or len(inventory.targets(rules["lora_target_modules"])) == len(rules["lora_target_modules"]):
        draft.fill("lora_target_modules", rules["lora_target_modules"], "targets_standard", source="B")
    else:
        draft.fill("lora_target_modules", ["all-linear"], "targets_no_such", source="ours")


def _fill_rate(draft: _Draft) -> None:
    band, rows = _size_band(draft), _row_band(draft)
    draft.fill("warmup_ratio", recipes()["warmup_ratio"], "warmup", source="A, D")
    draft.fill("lr_scheduler_type", recipes()["lr_scheduler_type"], "schedule", source="A, D")
    if measured := _measured(draft):
        rate = measured["learning_rate"]
        draft.fill("learning_rate", rate, measured["reason"], source=measured["source"], size=_size(draft))
    elif band:
        _fill_band(draft, band, rows)
    elif draft["tuning"] in (default := recipes()["unnamed_sizes"])["tuning"]:
        rate = default["learning_rate"]
        draft.fill("learning_rate", rate, default["reason"], source=default["source"], size=_size(draft))
    else:
        low, high = recipes()["sft_rate"]
        rate = _end(low, high, rows["rate_end"])
        draft.fill("learning_rate", rate, "rate_rows", source="A", low=low, high=high, rows=_rows(draft))


def _fill_band(draft: _Draft, band: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    low, high = band["learning_rate"]
    words = {"band": band["name"], "low": low, "high": high, "rows": _rows(draft)}
    draft.fill("learning_rate", _end(low, high, rows["rate_end"]), "rate_band", source="B, A", **words)
    for name in ("warmup_ratio", "lr_scheduler_type"):
        draft.fill(name, band[name], "schedule_band", source="B", band=band["name"])


def _fill_by_rows(draft: _Draft) -> None:
    band = _row_band(draft)
    draft.fill("weight_decay", band["weight_decay"], "weight_decay", source="A", rows=_rows(draft))


def _fill_memory(draft: _Draft) -> None:
    """Largest device batch that fits; accumulation keeps the effective one; recomputing only where it is needed."""
    wanted = min(_row_band(draft)["effective_batch_size"], max(1, draft.facts.rows or 8))
    facts = draft.facts
    draft.fill("gradient_checkpointing", False, "checkpointing_off", source="B")
    batch = draft.chosen.get("per_device_train_batch_size", wanted)
    same = {"per_device_train_batch_size": batch, "per_device_eval_batch_size": batch}
    if not draft.fits(**same):
        draft.fill("gradient_checkpointing", True, "checkpointing_on", source="B")
        if facts.inventory and facts.shapes:
            batch, _ = batch_that_fits(
                facts.inventory, draft.values, shapes=facts.shapes, machine=facts.machine, largest=wanted
            )
    words = {"wanted": wanted, "rows": _rows(draft)}
    reason = "batch_whole" if batch >= wanted else "batch_fits"
    draft.fill("per_device_train_batch_size", batch, reason, source="A", **words)
    batch = draft["per_device_train_batch_size"]
    draft.fill("gradient_accumulation_steps", max(1, wanted // batch), "accumulation", source="B, E", **words)
    draft.fill("per_device_eval_batch_size", batch, "eval_batch", source="ours")


def _fill_epochs(draft: _Draft) -> None:
    low, high = _row_band(draft)["num_train_epochs"]
    epochs = _end(low, high, {"quick": "low", "balanced": "middle", "careful": "high"}[draft["intention"]])
    reason = "epochs_both" if 1000 < (draft.facts.rows or 0) <= 2000 else "epochs"
    draft.fill("num_train_epochs", float(epochs), reason, source="A", low=low, high=high, rows=_rows(draft))
    draft.fill("max_steps", -1, "steps_by_epochs", source="trl")
    quick = recipes()["quick_steps"]
    if draft["intention"] == "quick" and draft.facts.rows and draft.steps > quick:
        draft.fill("max_steps", quick, "steps_quick", source="ours")


def _fill_intervals(draft: _Draft) -> None:
    if not draft.facts.rows:
        return
    steps = draft.steps
    parts = recipes()["checkpoints"]
    save = max(1, steps // (parts // 2 if draft["intention"] == "quick" else parts))
    draft.fill("save_steps", save, "save_steps", source="D, ours", steps=steps)
    evaluate = max(1, draft["save_steps"] // 2) if draft["intention"] == "careful" else draft["save_steps"]
    draft.fill("eval_steps", min(evaluate, steps), "eval_steps", source="C, ours", steps=steps)
    every = max(1, math.ceil(steps / recipes()["curve_points"]))
    draft.fill("logging_steps", every, "logging_steps", source="ours", steps=steps)


def _measured(draft: _Draft) -> Mapping[str, Any] | None:
    size = draft.facts.inventory.parameters if draft.facts.inventory else None
    return next((m for m in recipes()["measured"] if _covers(m, size) and draft["tuning"] in m["tuning"]), None)


def _size_band(draft: _Draft) -> Mapping[str, Any] | None:
    size = draft.facts.inventory.parameters if draft.facts.inventory else None
    return next((band for band in recipes()["size_bands"] if _covers(band, size)), None)


def _covers(rule: Mapping[str, Any], size: int | None) -> bool:
    return size is not None and rule["parameters"]["from"] <= size < rule["parameters"]["to"]


def _row_band(draft: _Draft) -> Mapping[str, Any]:
    rows = draft.facts.rows or 0
    return next(band for band in recipes()["row_bands"] if rows < band["below"])


def _end(low: float, high: float, end: str) -> float:
    return {"low": low, "middle": (low + high) / 2, "high": high}[end]


def _rows(draft: _Draft) -> str:
    return f"{draft.facts.rows or 0:,}"


def _size(draft: _Draft) -> str:
    if draft.facts.inventory is None:
        return "–"
    size = draft.facts.inventory.parameters
    return f"{size / 1e9:.1f}B" if size >= 1e9 else f"{size / 1e6:.0f}M"
