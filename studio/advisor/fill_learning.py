"""Adapter, rate, schedule, regularisation, epochs and intervals: what follows from model size, rows and intention."""

import math
from collections.abc import Mapping
from typing import Any

from studio.advisor.draft import Draft
from studio.advisor.facts import Facts
from studio.advisor.recipes import (
    at_end,
    measured_for,
    rate_end,
    recipes,
    row_band,
    shifted,
    size_band,
    variety_word,
    wanted_batch,
)
from studio.errors import RefusedInput
from studio.params.methods import method_of
from studio.params.schedules import PLATEAU
from studio.params.table import effective_batch_size
from studio.params.tunings import TUNINGS
from studio.rewards.judges import settled
from studio.rewards.recipe import parse, to_document

_INTENDED = {"quick": "low", "balanced": "middle", "careful": "high"}


def fill_adapter(draft: Draft) -> None:
    rules = recipes()["lora"]
    for name in ("lora_r", "lora_dropout"):
        draft.fill(name, rules[name], name, source="B" if name == "lora_r" else "B, A, C")
    draft.fill("lora_alpha", 2 * draft["lora_r"], "lora_alpha", source="B")
    measured, inventory = measured_for(draft.facts, draft["tuning"], draft["method"]), draft.facts.inventory
    standard = rules["lora_target_modules"]
    if measured and "lora_target_modules" in measured:
        draft.fill("lora_target_modules", measured["lora_target_modules"], "targets_all", source="measured")
    elif inventory is None or len(inventory.targets(standard)) == len(standard):
        draft.fill("lora_target_modules", standard, "targets_standard", source="B")
    else:
        draft.fill("lora_target_modules", ["all-linear"], "targets_no_such", source="ours")
    if inventory and inventory.has_fused_experts and draft["lora_target_modules"] == ["all-linear"]:
        draft.fill("lora_dropout", 0.0, "dropout_experts", source="ours")


def fill_rate(draft: Draft) -> None:
    """What was measured; else document B's band for the size; else document A's range, or what is common for LoRA."""
    rules, facts, tuning = recipes(), draft.facts, draft["tuning"]
    draft.fill("lr_scheduler_type", rules["lr_scheduler_type"], "schedule", source="A, D")
    draft.fill("warmup_ratio", rules["warmup_ratio"], "warmup", source="A, D")
    fixed, band = measured_for(facts, tuning, draft["method"]), size_band(facts)
    if fixed is None and method_of(draft.values).prefers:
        _fill_preference(draft)
        return
    fixed = fixed or rules["tuning_rates"].get(tuning)
    if fixed is None and band is None and TUNINGS[tuning].rates == "lora":
        fixed = rules["unnamed_sizes"]
    if fixed:
        _fill_fixed(draft, fixed)
    elif band:
        _fill_band(draft, band)
    else:
        low, high = rules["rates"][draft["method"]]
        words = {"low": low, "high": high, "rows": draft.rows}
        reason = _by_variety(draft, "rate_rows")
        draft.fill("learning_rate", at_end(low, high, rate_end(facts)), reason, source="A", **words)
    if draft["lr_scheduler_type"] == PLATEAU:
        draft.fill("warmup_ratio", 0.0, "warmup_plateau", source="ours")


def fill_rate_by_batch(draft: Draft) -> None:
    """Someone who sets another effective batch gets a rate that follows it, as `learning_rate_scaling` says.

    By its square root within a factor of two, or in proportion within four; it stays under the limit above which the
    preflight warns.
    """
    if not {"per_device_train_batch_size", "gradient_accumulation_steps"} & set(draft.chosen):
        return
    wanted = wanted_batch(draft.facts, draft.values)
    effective = effective_batch_size(draft.values)
    rule = draft["learning_rate_scaling"]
    if "learning_rate" in draft.chosen or rule == "none" or 2 / 3 < effective / wanted < 3 / 2:
        return
    base = draft["learning_rate"]
    factor = min(4.0, max(0.25, effective / wanted))
    scaled = float(f"{base * (factor if rule == 'linear' else math.sqrt(factor)):.2g}")
    rate = min(scaled, max(base, recipes()["rate_limits"][TUNINGS[draft["tuning"]].rates]))
    reason = "rate_batch_linear" if rule == "linear" else "rate_batch"
    draft.fill("learning_rate", rate, reason, source="C", base=base, wanted=wanted, effective=effective)


def fill_rate_by_optimizer(draft: Draft) -> None:
    """Someone who chooses an optimizer whose steps are larger than AdamW's gets a rate that is as much smaller."""
    rule = recipes()["optimizer_rates"].get(draft["optim"])
    if rule is None:
        return
    base = draft["learning_rate"]
    rate = float(f"{base * rule['factor']:.2g}")
    draft.fill("learning_rate", rate, "rate_optimizer", source=rule["source"], base=base, optim=draft["optim"])


def fill_by_rows(draft: Draft) -> None:
    band = row_band(draft.facts)
    draft.fill("weight_decay", band["weight_decay"], "weight_decay", source="A, C, D", rows=draft.rows)
    draft.fill("max_grad_norm", recipes()["max_grad_norm"], "clipping", source="A, D")


def fill_epochs(draft: Draft) -> None:
    facts = draft.facts
    own = recipes()["epochs"].get(draft["method"])
    if own:
        low, high = own
        epochs = at_end(low, high, _INTENDED[draft["intention"]])
        reason, source = f"epochs_{draft['method']}", "ours"
    elif method_of(draft.values).prefers:
        low, high = _preference_epochs(facts)
        epochs = at_end(low, high, shifted(_INTENDED[draft["intention"]], facts))
        reason, source = "preference.both" if low == high else "preference.epochs", "A"
    else:
        low, high = row_band(facts)["num_train_epochs"]
        epochs = at_end(low, high, shifted(_INTENDED[draft["intention"]], facts))
        is_both = 1000 < (facts.rows or 0) <= 2000
        reason, source = "epochs_both" if is_both else _by_variety(draft, "epochs"), "A"
    draft.fill("num_train_epochs", float(epochs), reason, source=source, low=low, high=high, rows=draft.rows)
    draft.fill("max_steps", -1, "steps_by_epochs", source="trl")
    _fill_more_epochs(draft)
    quick = recipes()["quick_steps"]
    if draft["intention"] == "quick" and facts.rows and draft.steps > quick:
        draft.fill("max_steps", quick, "steps_quick", source="ours")


def _fill_more_epochs(draft: Draft) -> None:
    """Where the epochs that suit few rows are fewer steps than were measured to teach them, there are more epochs."""
    measured = measured_for(draft.facts, draft["tuning"], draft["method"]) or {}
    if "least_steps" not in measured or not draft.facts.rows or draft["intention"] == "quick":
        return
    least, most = measured["least_steps"], measured["most_epochs"]
    usual = draft["num_train_epochs"]
    epochs = min(most, math.ceil(least * usual / draft.steps))
    if epochs > usual:
        words = {"usual": usual, "rows": draft.rows, "least": least}
        draft.fill("num_train_epochs", float(epochs), "epochs_few_rows", source="measured", **words)


def _preference_epochs(facts: Facts) -> tuple[float, float]:
    """Where document A's template for PPO and DPO and its rule for the number of rows both hold."""
    low, high = recipes()["preference_epochs"]
    least, most = row_band(facts)["num_train_epochs"]
    return max(low, min(least, high)), min(high, max(most, low))


def fill_intervals(draft: Draft) -> None:
    rules = recipes()
    draft.fill("early_stopping_patience", rules["patience"], "patience", source="B, C", count=rules["patience"])
    if not draft.facts.rows:
        return
    steps = draft.steps
    parts = rules["checkpoints"]
    save = max(1, steps // (parts // 2 if draft["intention"] == "quick" else parts))
    draft.fill("save_steps", save, "save_steps", source="D, ours", steps=steps)
    evaluate = max(1, draft["save_steps"] // 2) if draft["intention"] == "careful" else draft["save_steps"]
    draft.fill("eval_steps", min(evaluate, steps), "eval_steps", source="C, ours", steps=steps)
    every = max(1, math.ceil(steps / rules["curve_points"]))
    draft.fill("logging_steps", every, "logging_steps", source="ours", steps=steps)


def _fill_preference(draft: Draft) -> None:
    """Document A's rates for learning what is better, one order of magnitude below those of examples (D)."""
    rules, is_lora = recipes(), TUNINGS[draft["tuning"]].rates == "lora"
    factor = rules["preference_lora"] if is_lora else 1
    low, high = (factor * rate for rate in rules["rates"][draft["method"]])
    rate = float(f"{at_end(low, high, rate_end(draft.facts)):.2g}")
    reason = "rate_preference_lora" if is_lora else "rate_preference"
    draft.fill("learning_rate", rate, reason, source="A, D", low=f"{low:.0e}", high=f"{high:.0e}")
    band = size_band(draft.facts)
    if band and not method_of(draft.values).answers_itself:  # which document D wants to begin slowly and end softly
        _fill_schedule(draft, band)


def _fill_fixed(draft: Draft, rule: Mapping[str, Any]) -> None:
    """One rate; where the rule has them, a lower one for rows that are much alike, a higher one for very few steps."""
    short = rule.get("short")
    if short and draft.facts.rows and draft.steps < short["below_steps"]:
        words = {"usual": rule["learning_rate"], "steps": draft.steps}
        draft.fill("learning_rate", short["learning_rate"], short["reason"], source=rule["source"], **words)
        return
    is_uniform = "uniform_rate" in rule and variety_word(draft.facts) == "uniform"
    rate = rule["uniform_rate" if is_uniform else "learning_rate"]
    reason = "rate_lora_uniform" if is_uniform else rule["reason"]
    words = {"size": draft.size, "usual": rule["learning_rate"]}
    draft.fill("learning_rate", rate, reason, source=rule["source"], **words)


def _fill_band(draft: Draft, band: Mapping[str, Any]) -> None:
    low, high = band["learning_rate"]
    words = {"band": band["name"], "low": low, "high": high, "rows": draft.rows}
    # Document B does not name the tuning; common practice with LoRA is higher, and the sentence says so.
    reason = "rate_band_lora" if TUNINGS[draft["tuning"]].rates == "lora" else "rate_band"
    rate = at_end(low, high, rate_end(draft.facts))
    draft.fill("learning_rate", rate, _by_variety(draft, reason), source="B, A", **words)
    _fill_schedule(draft, band)


def _fill_schedule(draft: Draft, band: Mapping[str, Any]) -> None:
    for name in ("warmup_ratio", "lr_scheduler_type"):
        draft.fill(name, band[name], "schedule_band", source="B", band=band["name"])


def _by_variety(draft: Draft, reason: str) -> str:
    word = variety_word(draft.facts)
    return f"{reason}_{word}" if word else reason


def fill_reward(draft: Draft) -> None:
    """The reward that was tried last on these rows, if the models that it asks are still there."""
    if draft.given.reward is None:
        return
    try:
        known = settled(parse(draft.given.reward), draft.given.judges)
    except RefusedInput:
        return
    draft.fill("rewards", to_document(known), "reward_tried", source="ours")


def fill_kl(draft: Draft) -> None:
    """How closely a policy is held to what it was: not at all where it has not learned anything before (document D)."""
    if not method_of(draft.values).answers_itself or draft.values.get("kl_target"):
        return
    was = "tuned" if draft.given.was_tuned else "untouched"
    draft.fill("beta", recipes()["kl"][was], f"kl_{was}", source="D")
