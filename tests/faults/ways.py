"""The ways of training that the trials are done with: each is one line here.

    "lora": Way(tuning="lora")          joins the series, the slow tests and the page

A way's method must be resumable as `trainers.training.recipe` has it; its rows are what the method learns from. What a
way does not say of its settings stands in `tests.faults.studio.VALUES`, else in the parameter table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def _said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


PAIRS = tuple({"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(24))
PREFERENCES = tuple(
    {
        "prompt": _said("user", f"What is {i} plus {i}?"),
        "chosen": _said("assistant", f"It is {2 * i}."),
        "rejected": _said("assistant", "Who knows?"),
    }
    for i in range(24)
)
THUMBS = tuple(
    {"prompt": row["prompt"], "completion": row["chosen" if place % 2 else "rejected"], "label": bool(place % 2)}
    for place, row in enumerate(PREFERENCES)
)
TEXTS = tuple({"text": f"{i} plus {i} is {2 * i}, and {i} times {i} is {i * i}. " * 3} for i in range(24))
LABELLED = tuple({"prompt": f"Is {i} even?", "completion": "no" if i % 2 else "yes"} for i in range(24))
REWARDS = [{"name": "length", "min": 5, "max": 60, "weight": 1.0}]
WRITES = {"num_generations": 2, "max_completion_length": 8, "rewards": REWARDS}


@dataclass(frozen=True, kw_only=True)
class Way:
    tuning: str = "lora"
    method: str = "sft"
    values: Mapping[str, Any] = field(default_factory=dict)
    """Settings of its own."""
    rows: Sequence[Mapping[str, Any]] = PAIRS
    model: str = "tiny"
    """tiny, chatty (the same with a chat template), or starter: real weights, seconds a step."""


WAYS = {
    "full": Way(tuning="full"),
    "lora": Way(),
    "qlora": Way(tuning="qlora"),
    "freeze": Way(tuning="freeze"),
    "ia3": Way(tuning="ia3"),
    "ln_tuning": Way(tuning="ln_tuning"),
    "prompt_tuning": Way(tuning="prompt_tuning"),
    "p_tuning": Way(tuning="p_tuning"),
    "prefix_tuning": Way(tuning="prefix_tuning"),
    "bottleneck": Way(tuning="bottleneck"),
    "pretrain": Way(method="pretrain", rows=TEXTS),
    "classify": Way(method="classify", rows=LABELLED),
    "reward": Way(method="reward", rows=PREFERENCES, model="chatty"),
    "dpo": Way(method="dpo", rows=PREFERENCES, model="chatty"),
    "orpo": Way(method="orpo", rows=PREFERENCES, model="chatty"),
    "cpo": Way(method="cpo", rows=PREFERENCES, model="chatty"),
    "kto": Way(method="kto", rows=THUMBS, model="chatty"),
    "grpo": Way(method="grpo", rows=PAIRS, model="chatty", values=WRITES),
    "rloo": Way(method="rloo", rows=PAIRS, model="chatty", values=WRITES),
    "ppo": Way(method="ppo", rows=PAIRS, model="chatty", values=WRITES),
    "ppo, own critic": Way(method="ppo", rows=PAIRS, model="chatty", values=WRITES | {"value_model": True}),
    "starter full": Way(tuning="full", model="starter"),
    "starter lora": Way(model="starter"),
    "starter qlora": Way(tuning="qlora", model="starter"),
}
FIRST = ("full", "lora", "qlora")
"""Those that the default series and the slow tests take; others are named with `--ways`, `all` is every tiny one."""
TINY = [name for name, way in WAYS.items() if way.model != "starter"]
