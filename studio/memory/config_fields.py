"""Which fields of a config.json decide sizes, and which numbers no model has.

sizes({"model_type": "llama", "hidden_size": 2048, "rope_theta": 5e5}, defaults)  ->  {"hidden_size": 2048, ...}
"""

from collections.abc import Mapping
from typing import Any

from studio.errors import RefusedInput

WITHOUT_WEIGHT = frozenset(
    {
        "_name_or_path",
        "architectures",
        "attn_implementation",
        "auto_map",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "initializer_range",
        "layer_norm_eps",
        "layer_norm_epsilon",
        "max_position_embeddings",
        "output_router_logits",
        "pad_token_id",
        "pretraining_tp",
        "quantization_config",
        "rms_norm_eps",
        "rope_local_base_freq",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "torch_dtype",
        "transformers_version",
        "use_cache",
        "_attn_implementation",
    }
)
"""Fields that change no size of a model with rotary positions."""
DERIVED = frozenset(
    {
        "_sliding_window_pattern",
        "attention_multiplier",
        "cache_implementation",
        "chunk_size_feed_forward",
        "classifier_dropout",
        "embedding_multiplier",
        "id2label",
        "is_decoder",
        "is_encoder_decoder",
        "label2id",
        "layer_types",
        "logits_scaling",
        "max_window_layers",
        "n_ctx",
        "no_rope_layer_interval",
        "no_rope_layers",
        "norm_topk_prob",
        "original_max_position_embeddings",
        "output_attentions",
        "output_hidden_states",
        "partial_rotary_factor",
        "problem_type",
        "query_pre_attn_scalar",
        "residual_multiplier",
        "return_dict",
        "rotary_emb_base",
        "rotary_pct",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "sliding_window_pattern",
        "task_specific_params",
        "use_mrope",
    }
)
"""Fields that the shipped families take from others, or that change no size of theirs."""
LEARNS_POSITIONS = frozenset({"opt", "gpt_neo", "bloom", "xglm", "biogpt"})
"""Families in which `max_position_embeddings` is the size of a weight."""
_BOUNDS = {
    "hidden_size": 1_000_000,
    "n_embd": 1_000_000,
    "intermediate_size": 4_000_000,
    "moe_intermediate_size": 4_000_000,
    "vocab_size": 10_000_000,
    "num_hidden_layers": 1000,
    "n_layer": 1000,
    "num_attention_heads": 10_000,
    "n_head": 10_000,
    "num_key_value_heads": 10_000,
    "head_dim": 100_000,
    "num_local_experts": 10_000,
    "num_experts": 10_000,
    "n_routed_experts": 10_000,
    "num_experts_per_tok": 10_000,
}
"""No model is larger; beyond, a typing error is likelier."""
_MAY_BE_ZERO = frozenset({"num_local_experts", "num_experts", "n_routed_experts", "num_experts_per_tok"})


def check_dimensions(config: Mapping[str, Any]) -> None:
    """
    Raises:
        RefusedInput: memory.no_family, or memory.odd_dimension: a number that no model has.
    """
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        raise RefusedInput("memory.no_family")
    inner = [part for part in config.values() if isinstance(part, Mapping)]
    for part in (config, *inner):
        for name, limit in _BOUNDS.items():
            value = part.get(name)
            if value is not None and not _is_dimension(value, limit, least=0 if name in _MAY_BE_ZERO else 1):
                raise RefusedInput("memory.odd_dimension", name=name, value=value)


def _is_dimension(value: Any, limit: int, *, least: int) -> bool:
    if isinstance(value, list):  # some families have a number for each layer
        return bool(value) and all(_is_dimension(each, limit, least=least) for each in value)
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= limit


def has_experts(config: Mapping[str, Any]) -> bool:
    """Whether its layers are a mixture of experts, as its own fields say."""
    parts = (config, *(part for part in config.values() if isinstance(part, Mapping)))
    return any(part.get(name) for part in parts for name in _MAY_BE_ZERO)


def significant(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config decides sizes."""
    without = WITHOUT_WEIGHT
    if config.get("model_type") in LEARNS_POSITIONS:
        without = without - {"max_position_embeddings"}
    return {
        name: significant(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in without and value is not None
    }


def sizes(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """All fields that decide sizes, with the family's defaults: equal for configs of one and the same shape."""
    told = {name: value for name, value in significant({**defaults, **config}).items() if name not in DERIVED}
    told = {name: value for name, value in told.items() if not name.startswith("summary_")}
    if "num_experts" in told:
        told["num_local_experts"] = told.pop("num_experts")
    heads = told.get("num_attention_heads")
    if heads:
        told.setdefault("num_key_value_heads", heads)
        told.setdefault("head_dim", told.get("hidden_size", 0) // heads)
    if not told.get("use_sliding_window", True):
        told.pop("sliding_window", None)
    return told
