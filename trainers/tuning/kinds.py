"""What of a model is trained, by the name of the tuning: each is a module of this package with one function.

    prepare(model, values)  ->  the adapter that trl puts on the model, or None where its own weights are trained

It refuses what this model cannot be tuned with (`JobFailed`), and freezes what is not to be trained.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from trainers.tuning import bottleneck, freeze, lora, prompts, vectors, whole

KINDS: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = MappingProxyType(
    {
        "full": whole.prepare,
        "freeze": freeze.prepare,
        "lora": lora.prepare,
        "qlora": lora.prepare,
        "bottleneck": bottleneck.prepare,
        "ia3": vectors.prepare_ia3,
        "ln_tuning": vectors.prepare_norms,
        "prompt_tuning": prompts.prepare_prompt,
        "p_tuning": prompts.prepare_p_tuning,
        "prefix_tuning": prompts.prepare_prefix,
    }
)


def prepare(model: Any, values: Mapping[str, Any]) -> Any:
    """The adapter for a model that was just loaded, or None."""
    return KINDS[values["tuning"]](model, values)
