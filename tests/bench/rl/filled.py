"""The learning rate that the form fills in today for the bench's runs: those with another one were trials.

filled_rate("ppo")   ->  0.000014
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from studio.advisor.complete import complete
from studio.advisor.facts import Facts
from studio.memory.survey import followed_of
from studio.params.methods import METHODS
from tests.bench.recipes.settings import MACHINE
from tests.bench.rl import preferences, tasks
from tests.bench.rl.results import PEER
from tests.bench.rl.runs import BATCH
from tests.starter import whole_starter


def is_filled(line: Mapping[str, Any]) -> bool:
    """Whether a run had the rate of the form, and nothing else changed. trl's PPO is given what ours is filled with."""
    method = "ppo" if line["method"] == PEER else line["method"]
    is_as_filled = abs(line["learning_rate"] / filled_rate(method) - 1) < 0.01
    return is_as_filled and not line["changes"].keys() - {"learning_rate"}


@cache
def filled_rate(method: str) -> float:
    """As `runs.Bench.settings` and `preferences.Bench.train` come to it, without a look at the rows."""
    has_reward = METHODS[method].answers_itself
    rows, batch = (tasks.TRAIN, BATCH) if has_reward else (preferences.TRAIN, preferences.BATCH)
    config = json.loads((whole_starter().starter_model / "config.json").read_text("utf-8"))
    facts = Facts(machine=MACHINE, inventory=followed_of(config), rows=rows)
    named = {"model_name_or_path": "starter", "dataset": "task", "method": method, "validation_split": 0.0}
    named |= {"per_device_train_batch_size": batch, "gradient_accumulation_steps": 1}
    rewards = {"rewards": [{"name": "json"}]} if has_reward else {}
    return complete(named | rewards, facts)[0]["learning_rate"]
