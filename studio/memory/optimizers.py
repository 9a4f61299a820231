"""What an optimizer keeps between two steps, by `optimizers` of coefficients.yaml."""

from collections.abc import Mapping
from typing import Any

from studio.memory.adapters import Trained
from studio.memory.inventory import Inventory
from studio.memory.stack import coefficients


def state_bytes(inventory: Inventory, values: Mapping[str, Any], trained: Trained) -> float:
    """Bytes of the states of all that is trained."""
    rules = coefficients()["optimizers"][values["optim"]]
    each = rules.get("state_bytes", rules.get("state_copies", 0) * trained.bytes_each)
    ends = 0 if trained.is_adapter else _end_parameters(inventory)
    return trained.parameters * each + ends * rules.get("ends_copies", 0) * trained.bytes_each


def _end_parameters(inventory: Inventory) -> int:
    """Weights of the embedding, and of the head where it is not tied to it."""
    return sum(m.parameters for m in inventory.modules if m.kind == "Embedding" or m.last_name == "lm_head")
