"""Loading tokenizers and models: safetensors only, no code from the model's folder unless an administrator allowed it
(`trainers.models.model_config`), the dtype always spelled out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import JobFailed
from trainers.models.model_config import is_code_allowed, read_config

if TYPE_CHECKING:
    from trainers.models.heads import Head


def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer of a model folder, with a padding token.

    Raises:
        JobFailed: tokenizer_unreadable, brought.code, or no_end_token (a model without one could never learn to
            stop).
    """
    from transformers import AutoTokenizer

    try:
        # transformers would read the config.json by itself, with every key of it, to choose the tokenizer's class.
        config = read_config(path) if (Path(path) / "config.json").exists() else None
        tokenizer = AutoTokenizer.from_pretrained(path, config=config, **_local_only(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise JobFailed("tokenizer_unreadable", path=str(path), error=_first_line(error)) from error
    if tokenizer.eos_token is None:
        raise JobFailed("no_end_token", path=str(path))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(  # noqa: PLR0913 - what a model is loaded with
    path: str | Path,
    *,
    dtype: str,
    device: str,
    attn_implementation: str = "sdpa",
    quantization=None,
    head: "Head | None" = None,
    pad_token_id: int | None = None,
) -> Any:
    """A causal language model on its device, every weight of it read from the folder; or one with a head of labels.

    Args:
        dtype: Name of a torch dtype. `usual_dtype` says which one a device computes fastest with.
        device: `cpu`, or `cuda:<n>` among those that the process sees.
        quantization: A `BitsAndBytesConfig`, or None.
        head: Of labels, in place of the vocabulary; where the folder has none it begins with random numbers.
        pad_token_id: With a head: the token that batches are filled up with.

    Raises:
        JobFailed: model_unreadable or model_incomplete.
    """
    import torch
    from transformers import AutoModelForCausalLM

    refuse_adapter(path)
    try:
        config = read_config(path)
        model, info = (head.model_class if head else AutoModelForCausalLM).from_pretrained(
            path,
            config=head.settle(config, pad_token_id) if head else config,
            dtype=getattr(torch, dtype),
            attn_implementation=attn_implementation,
            quantization_config=quantization,
            device_map={"": device},
            use_safetensors=True,
            output_loading_info=True,
            **_local_only(path),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise JobFailed("model_unreadable", path=str(path), error=_first_line(error)) from error
    # transformers fills missing weights with random numbers and goes on; that is never what a person wants.
    missing = [key for key in info["missing_keys"] if not (head and key.split(".")[0] in head.layers)]
    faults = sorted(missing) + sorted(str(key) for key in info["mismatched_keys"])
    if faults:
        raise JobFailed("model_incomplete", path=str(path), count=len(faults), first=faults[0])
    _keep_as_squeezed(model)
    return model


def _keep_as_squeezed(model: Any) -> None:
    """Keep bitsandbytes from packing 4-bit weights anew for AVX-512 on their first pass outside of training.

    What it packs has scales rounded to bfloat16 and passes no gradient on to the layers below: a run that validates
    would learn less from then on, and end otherwise when it is resumed.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def refuse_adapter(path: str | Path) -> None:
    """transformers would put an adapter that lies in a model's folder on the model unasked, pickled ones too.

    Raises:
        JobFailed: brought.adapter.
    """
    if (Path(path) / "adapter_config.json").exists():
        raise JobFailed("brought.adapter", path=str(path))


def own_device(device: str) -> str:
    """The leased device as this process sees it: `run_attempt` hid every other one."""
    return "cuda:0" if device.startswith("cuda") else "cpu"


def usual_dtype(device: str) -> str:
    """The dtype a device computes fastest with.

    float32 on a CPU: on one without bf16 instructions a training step of the starter model took 1.7 s in float32 and
    5.5 s in bfloat16.
    """
    import torch

    if not device.startswith("cuda"):
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def squeezed(compute_dtype: str, *, in_4bit: bool, in_8bit: bool) -> Any:
    """A `BitsAndBytesConfig`: NF4 with double quantisation as in the QLoRA paper, or LLM.int8(); None for neither."""
    import torch
    from transformers import BitsAndBytesConfig

    if in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    if not in_4bit:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, compute_dtype),
    )


def _local_only(path: str | Path) -> dict[str, bool]:
    return {"local_files_only": True, "trust_remote_code": is_code_allowed(path)}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
