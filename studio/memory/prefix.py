"""What a prefix takes beside a layer's own activations: the cache that brings it to the keys and values of each row.

    in_cache(inventory, {"tuning": "prefix_tuning", "num_virtual_tokens": 20, ...}, batch)  ->  bytes of all layers

Where several heads of queries share one of keys, a kernel keeps the repeated ones, and the cache stands beside them
until the pass is over; otherwise both are the same tensors.
"""

from collections.abc import Mapping
from typing import Any

from studio.memory.adapters import prefix_tokens
from studio.memory.generation import cache_bytes
from studio.memory.inventory import Inventory
from studio.memory.methods import Batch


def in_cache(inventory: Inventory, values: Mapping[str, Any], batch: Batch) -> float:
    tokens = prefix_tokens(values)
    if not tokens or values["attn_implementation"] == "flash_attention_2" or not inventory.shares_keys:
        return 0.0
    return cache_bytes(inventory, values, batch.rows, batch.row_tokens + tokens)
