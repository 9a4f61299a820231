"""What a form is filled in with, and why: `prefill(facts, chosen)`.

In this order: what was measured for that size and tuning, the documents' rule, trl's default. Rules are data
(`templates/advice/recipes.yaml`); `fill_memory` and `fill_learning` apply them to a model, its data and a machine. A
value that a person chose is never touched, and what depends on it follows it.
"""

from collections.abc import Mapping
from typing import Any

from studio.advisor.draft import Draft, Filled
from studio.advisor.facts import Facts
from studio.advisor.fill_learning import (
    fill_adapter,
    fill_by_rows,
    fill_epochs,
    fill_intervals,
    fill_kl,
    fill_rate,
    fill_rate_by_batch,
    fill_rate_by_optimizer,
    fill_reward,
)
from studio.advisor.fill_memory import (
    fill_attention,
    fill_length,
    fill_padding,
    fill_precision,
    fill_tuning,
    fill_what_fits,
)

NOT_FILLED = ("run_name", "goal")
"""Words that only a person can say."""
_FILLS = (
    fill_reward,
    fill_kl,
    fill_precision,
    fill_attention,
    fill_length,
    fill_tuning,
    fill_adapter,
    fill_what_fits,
    fill_padding,
    fill_epochs,
    fill_rate,
    fill_rate_by_batch,
    fill_rate_by_optimizer,
    fill_by_rows,
    fill_intervals,
)


def prefill(facts: Facts, chosen: Mapping[str, Any]) -> dict[str, Filled]:
    """Every parameter that is not in `chosen`, filled in.

    Args:
        chosen: checked values that a person set; names of the parameter table.
    """
    draft = Draft(facts, dict(chosen))
    for name, parameter in draft.table.items():
        if not parameter.required and name not in NOT_FILLED:
            draft.fill(name, parameter.default, "default", source=parameter.source)
    for fill in _FILLS:
        fill(draft)
    return {name: filled for name, filled in draft.filled.items() if draft.applies(name)}
