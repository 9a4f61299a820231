"""Checks before a run: what is wrong or doubtful, and what mends it. Rules are `templates/advice/preflight/*.yaml`."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import yaml

from studio.advisor.facts import Facts
from studio.advisor.forecast import Forecast
from studio.advisor.prefill import recipes, validation_rows
from studio.messages import say
from studio.params.trl_names import is_easy_to_hard
from studio.paths import TEMPLATES

SEVERITIES = ("error", "warning", "info")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_COMPARISONS = MappingProxyType(
    {"above": operator.gt, "below": operator.lt, "at_least": operator.ge, "at_most": operator.le}
)


@dataclass(frozen=True)
class Rule:
    code: str
    severity: str
    when: Mapping[str, Mapping[str, Any]]
    mend: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Finding:
    """One thing to know before Train is pressed; its words are `errors.preflight.<code>` or `advice.<code>`."""

    code: str
    severity: str
    """error stops the run, warning may be overridden, info only tells."""
    values: Mapping[str, Any]
    mend: tuple[str, ...] = ()
    """Fields that, set back to what is recommended, mend it."""

    def message(self, language: str) -> str:
        area = "errors.preflight" if self.severity == "error" else "advice"
        return say(f"{area}.{self.code}", language, **self.values)


def preflight(facts: Facts, values: Mapping[str, Any], plan: Forecast) -> list[Finding]:
    """What the rules find, errors first."""
    known = measures(facts, values, plan)
    found = [
        Finding(rule.code, rule.severity, known, rule.mend)
        for rule in rules()
        if all(_holds(known, name, limits) for name, limits in rule.when.items())
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def measures(facts: Facts, values: Mapping[str, Any], plan: Forecast) -> dict[str, Any]:
    """The numbers that rules speak of and that fill their sentences; None is unknown, and no rule holds on it."""
    rows = facts.rows
    return {
        "rows": rows,
        "open_problems": facts.open_problems,
        "validation_rows": validation_rows(values, rows, facts.validation_rows) if rows is not None else None,
        "steps": plan.steps,
        "max_positions": facts.max_positions,
        **{name: values[name] for name in ("max_length", "save_steps", "eval_steps", "learning_rate", "seed")},
        **_length_measures(facts, values),
        **_memory_measures(facts, plan),
        **_disk_measures(facts, plan),
        **_support_measures(facts, values),
        "rate_limit": recipes()["rate_limits"][values["tuning"]],
        "missing_template": int(not facts.has_chat_template),
        "missing_difficulty": int(is_easy_to_hard(values) and not facts.has_difficulty),
    }


@cache
def rules() -> tuple[Rule, ...]:
    found = []
    for path in sorted((TEMPLATES / "advice" / "preflight").glob("*.yaml")):
        row = yaml.load(path.read_text("utf-8"), _Loader)
        found.append(Rule(path.stem, row["severity"], row["when"], tuple(row.get("mend", ())), row["source"]))
    return tuple(found)


def _holds(known: Mapping[str, Any], name: str, limits: Mapping[str, Any]) -> bool:
    value = known[name]
    for comparison, limit in limits.items():
        bound = known[limit] if isinstance(limit, str) else limit
        if value is None or bound is None or not _COMPARISONS[comparison](value, bound):
            return False
    return True


def _length_measures(facts: Facts, values: Mapping[str, Any]) -> dict[str, Any]:
    if facts.lengths is None:
        return {"share_cut": None, "percent_cut": None, "longest": None}
    share = 0.0 if values["packing"] else facts.lengths.share_cut(values["max_length"])
    return {"share_cut": share, "percent_cut": round(share * 100), "longest": facts.lengths.longest}


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
    gpu = facts.machine.gpu
    uses_bf16 = values["dtype"] == "bfloat16" or values["mixed_precision"] == "bf16"
    is_short = values["dtype"] != "float32" or values["mixed_precision"] != "no"
    return {
        "unsupported_bf16": int(gpu is not None and not gpu.has_bf16 and uses_bf16),
        "short_on_cpu": int(gpu is None and is_short),
        "four_bit_on_cpu": int(gpu is None and values["tuning"] == "qlora"),
        "flash_on_cpu": int(gpu is None and values["attn_implementation"] == "flash_attention_2"),
    }


def gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
