"""What of a checkpoint leaves the studio, and which adapters can become part of their base model."""

import re

KEPT = re.compile(
    r"(adapter_model|model(-\d+-of-\d+)?)\.safetensors"
    r"|(adapter_config|config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json"
    r"|model\.safetensors\.index\.json|merges\.txt|chat_template\.jinja|tokenizer\.model|labels\.json"
)
"""Names of files that another program needs."""
MERGEABLE = frozenset({"LORA", "IA3", "LN_TUNING"})
"""Kinds of adapters, as peft calls them, that only change weights which are there."""
COMBINABLE = frozenset({"LORA"})
"""Kinds of adapters whose weights can be added up."""
