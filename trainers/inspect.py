"""What a model is made of, and what a data set looks like to it: `python -m trainers.inspect <attempt folder>`.

No weights are read: the model is built on the meta device from its config. The memory calculator works on the
inventory, the form on the token lengths, and a person sees in `samples` what will be learned.
"""

import copy
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from studio.hardware import read_machine
from studio.protocol import DatasetRef
from trainers.attempt import Attempt, run_attempt

MAX_ROWS = 2000
NUM_LONGEST = 32
NUM_SAMPLES = 3
PERCENTILES = (50, 90, 95, 99)
LIMITS = (512, 1024, 2048)
NUM_PROGRESS_ROWS = 250


def main(attempt: Attempt) -> dict[str, Any]:
    spec = attempt.spec
    attempt.phase("loading_libraries")
    from trainers.models.loading import load_tokenizer

    tokenizer = load_tokenizer(spec.model.path)
    attempt.phase("inspecting_model")
    found = inventory(spec.model.path, tokenizer)
    if read_machine().gpu:
        attempt.phase("tracing_model")
        found["profiles"] = traces(spec.model.path)
    figures = {"inventory": found, "tokens": None, "samples": []}
    if spec.dataset is not None:
        attempt.phase("inspecting_data")
        tokens, samples = inspect_rows(attempt, spec.dataset, tokenizer)
        figures |= {"tokens": tokens, "samples": samples, "variety": inspect_variety(spec.dataset)}
        figures["labels"] = inspect_labels(spec.dataset)
    return figures


def inventory(path: str | Path, tokenizer: Any) -> dict[str, Any]:
    """The model's modules by kind, name pattern and shape, with the sizes that the memory arithmetic needs.

    Raises:
        JobFailed: model_unreadable: no causal language model that transformers knows.
    """
    from trainers.models.model_config import read_config
    from trainers.rows.variety import unknown_markers

    try:
        found = figures_of(read_config(path))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise JobFailed("model_unreadable", path=str(path), error=str(error).strip().splitlines()[0][:300]) from error
    template = {"has_chat_template": bool(tokenizer.chat_template), "unknown_markers": unknown_markers(tokenizer)}
    return found | template


def figures_of(config: Any) -> dict[str, Any]:
    """What of an inventory the config alone tells: the model is built on the meta device.

    Raises:
        ValueError, KeyError, ImportError: no causal language model that transformers knows.
    """
    return figures_of_model(build(config))


def build(config: Any) -> Any:
    """The model without weights: a causal language model, or one that also sees.

    Raises:
        ValueError, KeyError, ImportError: transformers knows neither.
    """
    import torch
    from transformers import AutoModelForCausalLM

    # A config of another origin is one whose code the administrator allowed (`trainers.models.model_config`).
    is_allowed = not type(config).__module__.startswith("transformers.")
    # The dtype that training will use is the form's choice; here the config's own is told.
    with torch.device("meta"):
        try:
            return AutoModelForCausalLM.from_config(config, trust_remote_code=is_allowed)
        except ValueError:
            from transformers import AutoModelForImageTextToText

            return AutoModelForImageTextToText.from_config(config, trust_remote_code=False)


def figures_of_model(model: Any) -> dict[str, Any]:
    config = model.config
    text = config.get_text_config()
    return {
        "architecture": type(model).__name__,
        "parameters": sum(each.numel() for each in model.parameters()),
        "dtype": _dtype_name(config.dtype),
        "tied_embeddings": bool(getattr(text, "tie_word_embeddings", False)),
        "attention": _kernels(model),
        # A state in place of keys and values: there is nowhere that a prefix could stand.
        "is_stateful": bool(getattr(model, "_is_stateful", False)),
        "max_positions": getattr(text, "max_position_embeddings", None),
        "num_heads": getattr(text, "num_attention_heads", None),
        "num_key_value_heads": getattr(text, "num_key_value_heads", None),
        **{
            name: getattr(text, name, None)
            for name in ("hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size")
        },
        **_experts(text),
        "modules": modules(model),
    }


def _experts(text: Any) -> dict[str, Any]:
    """How many experts a layer has, how many a token goes through, how wide one is, and if a loss balances them."""
    names = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    experts = next((n for n in (getattr(text, name, None) for name in names) if isinstance(n, int)), None)
    width = getattr(text, "moe_intermediate_size", None)
    return {
        "num_experts": experts,
        "num_experts_per_token": getattr(text, "num_experts_per_tok", None),
        "expert_size": width if isinstance(width, int) else None,
        # By the same two fields trl decides it.
        "balances_experts": hasattr(text, "output_router_logits") and bool(getattr(text, "router_aux_loss_coef", 0)),
    }


def _kernels(model: Any) -> list[str]:
    """Attention kernels of our table that transformers lets this model have; it refuses to load with another."""
    can = {"sdpa": model._supports_sdpa, "flash_attention_2": model._supports_flash_attn}
    return ["eager", *(name for name, holds in can.items() if holds)]


def traces(path: str | Path) -> list[dict[str, Any]]:
    """What one layer of the model keeps and needs in the usual ways of training on a GPU (`trainers.tracing.trace`).

    On a CPU the process itself makes up most, and nobody is short of memory for a layer.
    """
    from trainers.models.model_config import read_config
    from trainers.tracing.trace import usual_profiles

    return usual_profiles(read_config(path))


def modules(model: Any) -> list[dict[str, Any]]:
    """Every module with weights of its own, those alike but for their number counted together.

    `model.layers.0.mlp.up_proj` and `model.layers.1.mlp.up_proj` -> one entry `model.layers.*.mlp.up_proj`, count 2.
    `is_quantised` holds where bitsandbytes would squeeze the weight; `was` names the linear layers that transformers
    before 5 had for each expert in place of one weight of them all.
    """
    kept_whole, was = _kept_whole(model), _unfused(model)
    alike: Counter[tuple] = Counter()
    seen: set[int] = set()
    for name, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            full = _pattern(name) if own == "weight" else f"{_pattern(name)}.{own}".lstrip(".")
            is_quantised = own == "weight" and _is_squeezed(module) and not kept_whole(name)
            alike[(_kind(module), full, tuple(parameter.shape), _dtype_name(parameter.dtype), is_quantised)] += 1
    return [
        {"kind": kind, "name": name, "shape": list(shape), "dtype": dtype, "count": count, "is_quantised": is_quantised}
        | ({"was": was[name]} if name in was else {})
        for (kind, name, shape, dtype, is_quantised), count in alike.items()
    ]


def _pattern(name: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def _is_squeezed(module: Any) -> bool:
    """Whether transformers puts one of bitsandbytes' layers in this one's place (integrations/bitsandbytes.py)."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D) or type(module) is Linear


def _kept_whole(model: Any) -> Any:
    """By transformers' own rule, names of the modules that quantisation leaves alone: heads and what is tied."""
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    keys = get_keys_to_not_convert(model)
    return lambda name: not should_convert_module(name, keys)


def _unfused(model: Any) -> dict[str, list[str]]:
    """By transformers' own conversion of older checkpoints: `...experts.gate_up_proj` -> `["gate_proj", "up_proj"]`."""
    from transformers.conversion_mapping import extract_weight_conversions_for_model

    was = {}
    for conversion in extract_weight_conversions_for_model(model) or []:
        steps = [type(step).__name__ for step in getattr(conversion, "operations", None) or []]
        if steps not in (["MergeModulelist"], ["MergeModulelist", "Concatenate"]):
            continue
        names = [source.removesuffix(".weight").rpartition(".")[2] for source in conversion.source_patterns]
        for target in conversion.target_patterns:
            fused = (name for name, _ in model.named_parameters() if name.endswith("." + target.lstrip(".")))
            was |= {_pattern(name): names for name in fused}
    return was


def adapters_of(model: Any, targets: Iterable[list[str]]) -> list[dict[str, Any]]:
    """How many weights LoRA adds for each rank, as peft itself puts it on these modules of the model.

        {"targets": ["all-linear"], "weights_per_rank": 2_621_440}, or {"targets", "error"} where peft refuses

    The model is cut down meanwhile: one layer of each sort tells for all of them.
    """
    times: dict[str, int] = {}
    _drop_repeats(model, "", times)
    found = []
    for names in targets:
        try:
            found.append({"targets": names, "weights_per_rank": _weights_per_rank(copy.deepcopy(model), names, times)})
        except ValueError as error:
            found.append({"targets": names, "error": str(error).strip().splitlines()[0][:300]})
    return found


def _weights_per_rank(model: Any, names: list[str], times: dict[str, int]) -> int:
    from peft import LoraConfig, get_peft_model

    rank, prefix = 4, "base_model.model."
    targets = "all-linear" if names == ["all-linear"] else list(names)
    adapted = get_peft_model(model, LoraConfig(r=rank, target_modules=targets), autocast_adapter_dtype=False)
    trained = {n.removeprefix(prefix): w.numel() for n, w in adapted.named_parameters() if w.requires_grad}
    return (
        sum(
            size * math.prod(count for place, count in times.items() if name.startswith(place + "."))
            for name, size in trained.items()
        )
        // rank
    )


def _drop_repeats(module: Any, path: str, times: dict[str, int]) -> None:
    """Keep one of each sort in every list of modules, and note how many it stands for: `{"model.layers.0": 32}`."""
    from torch.nn import ModuleList

    for name, child in list(module.named_children()):
        place = f"{path}.{name}".lstrip(".")
        if isinstance(child, ModuleList):
            alike: dict[tuple, list[Any]] = {}
            for each in child:
                alike.setdefault(_build_of(each), []).append(each)
            child = ModuleList([group[0] for group in alike.values()])
            setattr(module, name, child)
            times |= {f"{place}.{number}": len(group) for number, group in enumerate(alike.values())}
        _drop_repeats(child, place, times)


def _build_of(module: Any) -> tuple:
    sizes = ((name, tuple(weight.shape)) for name, weight in module.named_parameters())
    return (tuple((name, type(each).__name__) for name, each in module.named_modules()), tuple(sizes))


def inspect_rows(attempt: Attempt, dataset: DatasetRef, tokenizer: Any) -> tuple[dict[str, Any], list[list]]:
    """Token lengths of the rows to train on (MAX_ROWS of them, evenly spread) and the first of them as trained.

    The longest row decides the memory, so where not all are read, those with the most text are read besides.
    """
    from trainers.rows.data import TRAIN, Findings, Renderer, conversations, render_rows, segments

    rows, findings = dataset.training_rows, Findings()
    stride = max(1, rows // MAX_ROWS)
    chosen = islice(conversations(dataset), 0, None, stride)
    expected = -(-rows // stride)
    lengths, answers, samples = [], [], []
    for rendered in render_rows(chosen, Renderer(tokenizer), max_length=None, findings=findings):
        lengths.append(len(rendered.input_ids))
        answers.append(rendered.answer_tokens)
        if len(samples) < NUM_SAMPLES:
            samples.append(segments(rendered, tokenizer))
        if len(lengths) % NUM_PROGRESS_ROWS == 0:
            attempt.events.write("progress", done=len(lengths), total=expected, unit="rows", seconds_left=None)
    if not lengths:
        raise JobFailed("no_usable_rows", dataset=dataset.name, max_length="–")
    told = _statistics(lengths)
    if stride > 1:
        shows_tools = "tool" in str(tokenizer.chat_template)
        longest = nlargest(
            NUM_LONGEST,
            conversations(dataset),
            key=lambda numbered: numbered[1].num_bytes + shows_tools * numbered[1].num_tool_bytes,
        )
        found = render_rows(longest, Renderer(tokenizer), max_length=None, findings=Findings())
        told["max"] = max([told["max"], *(len(rendered.input_ids) for rendered in found)])
    tokens = {
        "rows": rows,
        "held_out": {side: count for side, count in dataset.splits.items() if side != TRAIN},
        "sampled_rows": expected,
        "is_sample": stride > 1,
        "lengths": told,
        "answers": _statistics(answers),
        "share_above": {str(limit): sum(n > limit for n in lengths) / len(lengths) for limit in LIMITS},
        "left_out": {code: findings.named(code) for code in findings.rows},
    }
    return tokens, samples


def inspect_variety(dataset: DatasetRef) -> dict[str, float | None]:
    """How much the rows differ, told by a few hundred of them, evenly spread."""
    from trainers.rows.data import conversations
    from trainers.rows.variety import MOST_ROWS, variety_of

    stride = max(1, dataset.training_rows // MOST_ROWS)
    return variety_of(sample for _, sample in islice(conversations(dataset), 0, None, stride))


def inspect_labels(dataset: DatasetRef) -> dict[str, int] | None:
    """How many labels the rows have for a classification, by where they stand; None for rows without a place for one.

    {"answers": 4, "categories": 0, "tags": 0, "smallest": 12}    `smallest`: rows with the rarest label
    """
    from studio.params.methods import METHODS
    from trainers.rows.data import TRAIN
    from trainers.rows.labelled_rows import count_labels, labelled_rows

    if dataset.format not in METHODS["classify"].formats:
        return None
    found = {source: count_labels(labelled_rows(dataset, split=TRAIN), source) for source in ("answer", "category")}
    sizes = (found["answer"] if found["answer"].source else found["category"]).sizes
    return {
        "answers": len(found["answer"].sizes),
        "categories": len(found["category"].sizes),
        "tags": len(found["answer"].tags),
        "smallest": min(sizes.values(), default=0),
    }


def _statistics(numbers: Iterable[int]) -> dict[str, float]:
    import numpy

    array = numpy.array(list(numbers))
    percentiles = {f"p{p}": int(numpy.percentile(array, p, method="higher")) for p in PERCENTILES}
    return {
        **percentiles,
        "min": int(array.min()),
        "max": int(array.max()),
        "mean": round(float(array.mean()), 2),
        "total": int(array.sum()),
    }


_KINDS = defaultdict(lambda: "other", {"Linear": "Linear", "Embedding": "Embedding", "Conv1D": "Linear"})


def _kind(module: Any) -> str:
    name = type(module).__name__
    return "Norm" if "Norm" in name else _KINDS[name]


def _dtype_name(dtype: Any) -> str:
    return str(dtype or "float32").removeprefix("torch.")


if __name__ == "__main__":
    run_attempt(main)
