"""Learned tokens before each question: soft prompts, what p-tuning's encoder writes, or a prefix in keys and values."""

from collections.abc import Mapping
from typing import Any

from studio.errors import JobFailed


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


def check(model: Any) -> None:
    """Refuse a model that cannot have what is learned before a row, or passes over it.

    Raises:
        JobFailed: prompt_unheard.
    """
    import torch

    ids, was_training = torch.arange(8, 12, device=model.device)[None], model.training
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    model.eval()
    try:
        with torch.no_grad():
            heard = model(**given).logits[:, -1]
            with model.disable_adapter():
                is_heard = not torch.equal(heard, model(**given).logits[:, -1])
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError, NotImplementedError) as error:
        raise JobFailed("prompt_unheard", architecture=type(model.get_base_model()).__name__) from error
    finally:
        model.train(was_training)
    if not is_heard:
        raise JobFailed("prompt_unheard", architecture=type(model.get_base_model()).__name__)


def _common(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"num_virtual_tokens": values["num_virtual_tokens"], "task_type": "CAUSAL_LM"}
