"""What a model takes while it writes answers: its cache of keys and values, and the scores of one position.

`generate` of transformers, whose cache grows a layer at a time, first its keys and then its values, each by a copy.
"""

from collections.abc import Mapping
from typing import Any

from studio.memory.activations import Layers
from studio.memory.inventory import Inventory
from studio.memory.methods import Batch
from studio.memory.ways import DTYPE_BYTES

SCORES_BYTES = 24
"""A word of the vocabulary for each row, six times float32: the model's own scores, their copy, what each of two
processors makes of them, probabilities, and what is drawn from them (real answers of grpo, tests/trainers)."""


def generation(inventory: Inventory, values: Mapping[str, Any], batch: Batch, layers: Layers) -> dict[str, float]:
    """The larger one of reading the prompts and of writing the last token, by part."""
    scores = SCORES_BYTES * batch.rows * inventory.vocab_size
    reading = {
        "kv_cache": cache_bytes(inventory, values, batch.rows, batch.prompt_tokens),
        "layer": layers.no_grad(batch.rows, batch.prompt_tokens),
        "scores": scores,
    }
    whole = cache_bytes(inventory, values, batch.rows, batch.row_tokens)
    writing = {
        "kv_cache": whole * (1 + 1 / (2 * inventory.num_hidden_layers)),
        "layer": layers.no_grad(batch.rows, 1),
        "scores": scores,
    }
    return max(reading, writing, key=lambda parts: sum(parts.values()))


def cache_bytes(inventory: Inventory, values: Mapping[str, Any], rows: int, tokens: int) -> float:
    """Keys and values of every layer."""
    each = 2 * inventory.key_width * DTYPE_BYTES[values["dtype"]]
    return float(each * inventory.num_hidden_layers * rows * tokens)
