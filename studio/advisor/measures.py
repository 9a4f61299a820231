"""The numbers that preflight rules speak of, and that fill their sentences. None is unknown: no rule holds on it."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from studio.advisor.counting import validation_rows
from studio.advisor.facts import Facts
from studio.advisor.forecast import Forecast
from studio.advisor.joined import as_learned
from studio.advisor.prefill import prefill
from studio.advisor.recipes import recipes, variety_word, wanted_batch
from studio.advisor.tuning_measures import tuning_measures
from studio.params.curriculum import follows_difficulty, is_control
from studio.params.methods import METHODS
from studio.params.table import effective_batch_size
from studio.params.tunings import TUNINGS, is_compressed
from studio.paths import TEMPLATES
from studio.rewards.recipe import ROW, digest, needs, parse
from studio.rewards.report import GREEN
from studio.workshop.versions.layout import MESSAGES, PROMPT, PROMPT_COMPLETION, TEXT

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INSTRUCT = re.compile(r"(?:^|[-_ ./])(?:instruct|chat|it|sft|dpo|rlhf|assistant)(?:$|[-_ ./0-9])", re.IGNORECASE)
"""Names under which models are published that were taught to talk: SmolLM2-135M-Instruct, gemma-2-2b-it."""
SERVED_BYTES = {"cpu": 4.0, "cuda": 2.0, "four_bit": 0.6, "eight_bit": 1.1}
"""Bytes a weight while answering: `trainers.models.generation` takes float32 on a CPU and 2-byte weights on a GPU, and
NF4 with its scales for what QLoRA trained. A tenth on top holds the cache of the answers."""


def measures(facts: Facts, values: Mapping[str, Any], plan: Forecast) -> dict[str, Any]:
    sources, facts = facts.rows, as_learned(facts, values)
    rows = facts.rows
    return {
        "rows": sources if not facts.is_joined else None,
        **_method_measures(facts, values, sources),
        "open_problems": facts.open_problems,
        "validation_rows": validation_rows(values, rows, facts.validation_rows) if rows is not None else None,
        "steps": plan.steps,
        "max_positions": facts.max_positions,
        **{name: values[name] for name in ("max_length", "save_steps", "eval_steps", "validation_split", "seed")},
        "patience": values["early_stopping_patience"],
        "missing_difficulty": int(follows_difficulty(values) and not is_control(values) and not facts.has_difficulty),
        "is_full": int(values["tuning"] == "full"),
        "baseline_correct": facts.baseline_correct,
        "baseline_suffices": int(facts.baseline_suffices),
        "baseline_percent": None if facts.baseline_correct is None else round(100 * facts.baseline_correct),
        **_reward_measures(facts, values),
        **_goal_measures(values),
        **_data_measures(facts, values),
        **_template_measures(facts),
        **_rate_measures(facts, values),
        **_batch_measures(facts, values),
        **_length_measures(facts, values),
        **_memory_measures(facts, plan),
        **_disk_measures(facts, plan),
        **_support_measures(facts, values),
        **_serving_measures(facts, values),
        **tuning_measures(facts.inventory, values),
    }


def is_vague(goal: str) -> bool:
    """Whether a goal names too little to be judged later: "a better model", "提升效果"."""
    rules = _goals()
    text = goal.casefold()
    for phrase in sorted(rules["phrases"], key=len, reverse=True):
        text = text.replace(phrase, " ")
    words = [word for word in re.findall(r"[a-z\u00c0-\u04ff0-9']+", text) if word not in rules["words"]]
    return len(words) + len(re.findall(r"[\u3400-\u9fff]", text)) / 2 < rules["least_words"]


@cache
def _goals() -> Mapping[str, Any]:
    return yaml.load((TEMPLATES / "advice" / "goals.yaml").read_text("utf-8"), _Loader)


def _method_measures(facts: Facts, values: Mapping[str, Any], sources: int | None) -> dict[str, Any]:
    """What the format of the rows means to the method."""
    method = METHODS[values["method"]]
    unfit = bool(facts.format) and facts.format not in method.formats
    joined = facts.rows if facts.is_joined else None
    return {
        "format": facts.format,
        **{f"unfit_for_{name}": int(unfit and name == method.name) for name in METHODS},
        "text_by_examples": int(method.name == "sft" and facts.format == TEXT),
        "examples_as_text": int(method.joins_rows and facts.format in (MESSAGES, PROMPT_COMPLETION)),
        "pieces": joined,
        "num_texts": sources,
        **_label_measures(facts, values),
    }


def _label_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, Any]:
    """Whether there are labels to learn, and whether so few of them that saying them is the better way."""
    if values["method"] != "classify" or facts.labels is None:
        return {"missing_labels": None, "missing_tags": None, "better_said": None, "num_labels": None}
    if values["task_type"] == "TOKEN_CLS":
        tags = facts.labels["tags"]
        return {"missing_labels": 0, "missing_tags": int(tags < 2), "better_said": 0, "num_labels": tags}
    by_source = {"answer": facts.labels["answers"], "category": facts.labels["categories"]}
    count = by_source.get(values["label_source"], max(by_source.values()))
    rules, is_small = recipes()["labels_said"], (facts.rows or 0) < recipes()["labels_said"]["rows_below"]
    is_said = is_small and 2 <= count <= rules["labels"] and bool(_INSTRUCT.search(facts.model_name))
    return {"missing_labels": int(count < 2), "missing_tags": 0, "better_said": int(is_said), "num_labels": count}


def _reward_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the run's very reward was tried with this model on these rows, and came out green.

    And whether it compares with answers that the rows do not have.
    """
    if not values.get("rewards"):
        return {"untried_reward": 0, "reward_not_green": 0, "reward_without_answers": 0, "reward_rules": ""}
    reward = parse(values["rewards"])
    verdict = facts.tried_rewards.get(digest(reward))
    compares = [key for key, wanted in needs(reward).items() if "reference" in wanted]
    is_without = facts.format == PROMPT and compares and (reward.missing == ROW or len(compares) == len(reward.rules))
    return {
        "untried_reward": int(verdict is None),
        "reward_not_green": int(verdict not in (None, GREEN)),
        "reward_without_answers": int(bool(is_without)),
        "reward_rules": ", ".join(compares),
    }


def _goal_measures(values: Mapping[str, Any]) -> dict[str, int]:
    goal = values["goal"].strip()
    return {"empty_goal": int(not goal), "vague_goal": int(bool(goal) and is_vague(goal))}


def _data_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, Any]:
    data = facts.data
    return {
        "duplicates": data.duplicates,
        "unclean": data.unclean,
        "leaks": data.leaks,
        "never_looked_at": int(facts.rows is not None and not data.was_looked_at),
        "never_checked": int(data.is_split and not data.was_checked),
        "by_chance": int(data.categories > 1 and not data.is_split and values["validation_split"] > 0),
        "categories": data.categories,
        "weights_without_classes": int(values.get("class_weights", "none") != "none" and data.categories < 2),
        "uniform": int(variety_word(facts) == "uniform"),
        "alike_percent": None if facts.variety is None else round(100 * (1 - facts.variety)),
        "json_answers": facts.json_answers,
        "json_percent": None if facts.json_answers is None else round(100 * facts.json_answers),
        "missing_schema": int(not data.has_schema),
    }


def _template_measures(facts: Facts) -> dict[str, Any]:
    is_instruct = bool(_INSTRUCT.search(facts.model_name))
    return {
        "missing_template": int(not facts.has_chat_template and not is_instruct),
        "rows_refused": facts.rows_refused,
        "lost_template": int(not facts.has_chat_template and is_instruct),
        "unknown_markers": len(facts.unknown_markers),
        "markers": ", ".join(facts.unknown_markers[:3]),
        "model": facts.model_name,
    }


def _rate_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, Any]:
    rate, usual = values["learning_rate"], recipes()["usual_rates"]
    others = {name: value for name, value in values.items() if name != "learning_rate"}
    recommended = prefill(facts, others)["learning_rate"].value
    is_far = rate * usual["far"] <= recommended
    prefers = METHODS[values["method"]].prefers
    own = usual["preference" if prefers else TUNINGS[values["tuning"]].rates]

    def copied(kind: str) -> int:
        low, high = usual[kind]
        return int(is_far and low <= rate <= high and not own[0] <= rate <= own[1])

    of_preference = copied("preference")
    limit = recipes()["rate_limits"][TUNINGS[values["tuning"]].rates] / (10 if prefers else 1)
    return {
        "learning_rate": rate,
        "recommended_rate": recommended,
        "rate_limit": max(limit, recommended),
        "rate_of_preference": of_preference,
        "rate_of_full": copied("full") if not of_preference else 0,
        "no_warmup": int(values["warmup_ratio"] == 0 and values["lr_scheduler_type"] != "constant"),
        "no_decay": int(values["lr_scheduler_type"] == "constant"),
    }


def _batch_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, int]:
    """Beyond four times what the number of rows asks for, either way, and never beyond what any document names."""
    wanted = wanted_batch(facts, values)
    limits = recipes()["batch_limits"]
    return {
        "effective_batch": effective_batch_size(values),
        "batch_wanted": wanted,
        "batch_limit": max(limits["large"], limits["far"] * wanted),
        "batch_least": min(limits["small"], wanted, facts.rows or wanted),
    }


def _length_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, Any]:
    if facts.lengths is None:
        return {"share_cut": None, "percent_cut": None, "longest": None, "shortest": None, "all_cut": None}
    shortest = facts.lengths.shortest
    is_all = shortest is not None and values["max_length"] < shortest and not facts.is_joined and facts.format != TEXT
    share = 0.0 if values.get("packing") else facts.lengths.share_cut(values["max_length"])
    return {"share_cut": share, "percent_cut": round(share * 100), "longest": facts.lengths.longest} | {
        "shortest": shortest,
        "all_cut": int(is_all and not values.get("packing")),
    }


def _memory_measures(facts: Facts, plan: Forecast) -> dict[str, Any]:
    memory = plan.memory
    if memory is None:
        return {"memory_over": None, "memory_tight": None, "memory_busy": None, "needed": "–", "available": "–"}
    gpu = facts.machine.gpu
    busy = gpu is not None and memory.verdict != "too_large" and memory.device_bytes[0] > gpu.free_bytes
    return {
        "memory_over": int(memory.verdict == "too_large"),
        "memory_tight": int(memory.verdict == "tight"),
        "memory_busy": int(busy),
        "needed": gib(memory.allocated_bytes),
        "available": gib(memory.available_bytes or 0),
        "free": gib(gpu.free_bytes if gpu else facts.machine.ram_free_bytes),
    }


def _disk_measures(facts: Facts, plan: Forecast) -> dict[str, Any]:
    needed, free = plan.disk_bytes, facts.disk_free_bytes
    if needed is None or free is None:
        return {"disk_over": None, "disk_needed": "–", "disk_free": "–"}
    # 1 GiB stays free, as everywhere in the studio.
    return {"disk_over": max(0, needed + (1 << 30) - free), "disk_needed": gib(needed), "disk_free": gib(free)}


def _support_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, int]:
    gpu, model = facts.machine.gpu, facts.inventory
    on_experts = values.get("lora_target_modules") == ["all-linear"] and values.get("lora_dropout", 0) > 0
    uses_bf16 = values["dtype"] == "bfloat16" or values["mixed_precision"] == "bf16"
    is_short = values["dtype"] != "float32" or values["mixed_precision"] != "no"
    return {
        "unsupported_bf16": int(gpu is not None and not gpu.has_bf16 and uses_bf16),
        "short_unused": int(gpu is not None and gpu.has_bf16 and not is_short),
        "short_on_cpu": int(gpu is None and is_short),
        "four_bit_on_cpu": int(gpu is None and is_compressed(values["tuning"])),
        "unsupported_attention": int(model is not None and not model.can_attend_with(values["attn_implementation"])),
        "dropout_on_experts": int(model is not None and model.has_fused_experts and on_experts),
        "flash_missing": int(
            gpu is not None
            and values["attn_implementation"] == "flash_attention_2"
            and not facts.machine.has_flash_attention
        ),
        "flash_on_cpu": int(gpu is None and values["attn_implementation"] == "flash_attention_2"),
    }


def _serving_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, Any]:
    """Whether answering with the result needs more memory than the machine has at all."""
    if facts.inventory is None:
        return {"serving_over": None, "serving_needed": "–", "serving_there": "–"}
    gpu = facts.machine.gpu
    there = gpu.total_bytes if gpu else facts.machine.ram_bytes
    squeezed = "eight_bit" if values.get("load_in_8bit") else "four_bit"
    kind = squeezed if is_compressed(values["tuning"]) else "cuda" if gpu else "cpu"
    needed = 1.1 * facts.inventory.parameters * SERVED_BYTES[kind]
    return {"serving_over": int(needed > there), "serving_needed": gib(needed), "serving_there": gib(there)}


def gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
