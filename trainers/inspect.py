"""What a model is made of, and what a data set looks like to it: `python -m trainers.inspect <attempt folder>`.

No weights are read: the model is built on the meta device from its config. The memory calculator works on the
inventory, the form on the token lengths, and a person sees in `samples` what will be learned.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from studio.hardware import read_machine
from studio.protocol import DatasetRef
from trainers.attempt import Attempt, run_attempt

MAX_ROWS = 2000
NUM_SAMPLES = 3
PERCENTILES = (50, 90, 95, 99)
LIMITS = (512, 1024, 2048)
NUM_PROGRESS_ROWS = 250


def main(attempt: Attempt) -> dict[str, Any]:
    spec = attempt.spec
    attempt.phase("loading_libraries")
    from trainers.loading import load_tokenizer

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
    return figures


def inventory(path: str | Path, tokenizer: Any) -> dict[str, Any]:
    """The model's modules by kind, name pattern and shape, with the sizes that the memory arithmetic needs.

    Raises:
        JobFailed: model_unreadable: no causal language model that transformers knows.
    """
    from transformers import AutoConfig

    from trainers.variety import unknown_markers

    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        found = figures_of(config)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise JobFailed("model_unreadable", path=str(path), error=str(error).strip().splitlines()[0][:300]) from error
    template = {"has_chat_template": bool(tokenizer.chat_template), "unknown_markers": unknown_markers(tokenizer)}
    return found | template


def figures_of(config: Any) -> dict[str, Any]:
    """What of an inventory the config alone tells: the model is built on the meta device.

    Raises:
        ValueError, KeyError, ImportError: no causal language model that transformers knows.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        # The dtype that training will use is the form's choice; here the config's own is told.
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    text = config.get_text_config()
    return {
        "architecture": type(model).__name__,
        "parameters": sum(each.numel() for each in model.parameters()),
        "dtype": _dtype_name(config.dtype),
        "tied_embeddings": bool(getattr(text, "tie_word_embeddings", False)),
        "attention": _kernels(model),
        "max_positions": getattr(text, "max_position_embeddings", None),
        "num_heads": getattr(text, "num_attention_heads", None),
        "num_key_value_heads": getattr(text, "num_key_value_heads", None),
        **{
            name: getattr(text, name, None)
            for name in ("hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size")
        },
        "modules": modules(model),
    }


def _kernels(model: Any) -> list[str]:
    """Attention kernels of our table that transformers lets this model have; it refuses to load with another."""
    can = {"sdpa": model._supports_sdpa, "flash_attention_2": model._supports_flash_attn}
    return ["eager", *(name for name, holds in can.items() if holds)]


def traces(path: str | Path) -> list[dict[str, Any]]:
    """What one layer of the model keeps and needs in the usual ways of training on a GPU (`trainers.trace`).

    On a CPU the process itself makes up most, and nobody is short of memory for a layer.
    """
    from transformers import AutoConfig

    from trainers.trace import usual_profiles

    return usual_profiles(AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False))


def modules(model: Any) -> list[dict[str, Any]]:
    """Every module with weights of its own, those alike but for their number counted together.

    `model.layers.0.mlp.up_proj` and `model.layers.1.mlp.up_proj` -> one entry `model.layers.*.mlp.up_proj`, count 2.
    """
    alike: Counter[tuple] = Counter()
    for name, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            pattern = ".".join("*" if part.isdigit() else part for part in name.split("."))
            full = pattern if own == "weight" else f"{pattern}.{own}".lstrip(".")
            alike[(_kind(module), full, tuple(parameter.shape), _dtype_name(parameter.dtype))] += 1
    return [
        {"kind": kind, "name": name, "shape": list(shape), "dtype": dtype, "count": count}
        for (kind, name, shape, dtype), count in alike.items()
    ]


def inspect_rows(attempt: Attempt, dataset: DatasetRef, tokenizer: Any) -> tuple[dict[str, Any], list[list]]:
    """Token lengths of the rows to train on (MAX_ROWS of them, evenly spread) and the first of them as trained."""
    from trainers.data import TRAIN, Findings, Renderer, conversations, render_rows, segments

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
    tokens = {
        "rows": rows,
        "held_out": {side: count for side, count in dataset.splits.items() if side != TRAIN},
        "sampled_rows": expected,
        "is_sample": stride > 1,
        "lengths": _statistics(lengths),
        "answers": _statistics(answers),
        "share_above": {str(limit): sum(n > limit for n in lengths) / len(lengths) for limit in LIMITS},
        "left_out": {code: findings.named(code) for code in findings.rows},
    }
    return tokens, samples


def inspect_variety(dataset: DatasetRef) -> dict[str, float | None]:
    """How much the rows differ, told by a few hundred of them, evenly spread."""
    from trainers.data import conversations
    from trainers.variety import MOST_ROWS, variety_of

    stride = max(1, dataset.training_rows // MOST_ROWS)
    return variety_of(sample for _, sample in islice(conversations(dataset), 0, None, stride))


def _statistics(numbers: Iterable[int]) -> dict[str, float]:
    import numpy

    array = numpy.array(list(numbers))
    percentiles = {f"p{p}": int(numpy.percentile(array, p, method="higher")) for p in PERCENTILES}
    return {**percentiles, "max": int(array.max()), "mean": round(float(array.mean()), 2), "total": int(array.sum())}


_KINDS = defaultdict(lambda: "other", {"Linear": "Linear", "Embedding": "Embedding", "Conv1D": "Linear"})


def _kind(module: Any) -> str:
    name = type(module).__name__
    return "Norm" if "Norm" in name else _KINDS[name]


def _dtype_name(dtype: Any) -> str:
    return str(dtype or "float32").removeprefix("torch.")


if __name__ == "__main__":
    run_attempt(main)
