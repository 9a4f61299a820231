"""How the base model's weights are squeezed while they are loaded."""

from collections.abc import Mapping
from typing import Any

from studio.params.tunings import is_compressed
from trainers.models.loading import squeezed


def config(values: Mapping[str, Any]) -> Any:
    """A `BitsAndBytesConfig`, or None where they are left as they are."""
    if not is_compressed(values["tuning"]):
        return None
    # Specs older than `load_in_8bit` do not name it.
    in_8bit = bool(values.get("load_in_8bit"))
    return squeezed(values["dtype"], in_4bit=not in_8bit, in_8bit=in_8bit)
