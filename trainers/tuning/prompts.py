"""Learned tokens before each question: soft prompts, what p-tuning's encoder writes, or a prefix in keys and values."""

from collections.abc import Mapping
from typing import Any


def prepare_prompt(model: Any, values: Mapping[str, Any]) -> Any:
    """Prompt tuning (Lester et al. 2021): embeddings that begin as those of words drawn at random."""
    from peft import PromptTuningConfig

    return PromptTuningConfig(prompt_tuning_init="SAMPLE_VOCAB", **_common(values))


def prepare_p_tuning(model: Any, values: Mapping[str, Any]) -> Any:
    """P-tuning (Liu et al. 2021): a small network writes the embeddings, and only these are needed afterwards."""
    from peft import PromptEncoderConfig

    return PromptEncoderConfig(encoder_hidden_size=values["encoder_hidden_size"], **_common(values))


def prepare_prefix(model: Any, values: Mapping[str, Any]) -> Any:
    """Prefix tuning (Li and Liang 2021): keys and values that every layer sees before those of the row."""
    from peft import PrefixTuningConfig

    projected = bool(values.get("prefix_projection"))
    inner = {"encoder_hidden_size": model.config.get_text_config().hidden_size} if projected else {}
    return PrefixTuningConfig(prefix_projection=projected, **inner, **_common(values))


def _common(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"num_virtual_tokens": values["num_virtual_tokens"], "task_type": "CAUSAL_LM"}
