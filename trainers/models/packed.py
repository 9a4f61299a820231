"""GGUF files: models packed for answering, and how they become safetensors again, which can be trained.

    examine("model.Q4_1.gguf")   ->  Packed(family="llama", parameters=134515008, largest=28311552, ...)
    unpack("model.Q4_1.gguf", "models/mine", name="mine")

transformers reads the file and puts the weights out in bfloat16; what packing rounded away does not come back. The file
comes from the net, so what it says of itself is read in a child with limits first (`trainers.confined`), and its
weights must be those of the model that it describes.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from trainers import confined

CPU_SECONDS = 600
EXTRA_BYTES = 6 << 30
"""For what a file says of itself."""
REST_BYTES = 1 << 29
MAX_WORD = 200


@dataclass(frozen=True)
class Packed:
    """What a GGUF file says of itself, and what its weights bear out."""

    family: str
    parameters: int
    largest: int
    """Weights of the largest tensor."""
    has_tokenizer: bool
    license: str | None

    @property
    def unpacked_bytes(self) -> int:
        return 2 * self.parameters

    @property
    def needed_bytes(self) -> int:
        """Main memory while it is unpacked: all weights in two bytes, one tensor twice in four, and the rest.

        Measured with the starter model: 0.68 GiB, of 0.99 that this says.
        """
        return int(1.1 * self.unpacked_bytes) + 8 * self.largest + REST_BYTES


def examine(file: Path) -> Packed:
    """Read what the file says of itself, without its weights.

    Raises:
        JobFailed: unpack.unknown_family, unpack.broken, unpack.unbounded, unpack.other_weights.
    """
    import transformers.modeling_gguf_pytorch_utils  # noqa: F401 - so that the fork has it, and its memory is not counted

    try:
        found = confined.outcome(_look, str(file), cpu_seconds=CPU_SECONDS, extra_bytes=EXTRA_BYTES)
    except confined.Ended:
        raise JobFailed("unpack.unbounded", path=str(file), seconds=CPU_SECONDS, gib=EXTRA_BYTES >> 30) from None
    if "fault" in found:
        raise JobFailed(found["fault"], path=str(file), **found["values"])
    return Packed(**found)


def unpack(file: Path, folder: Path, *, name: str) -> None:
    """Write config, tokenizer and weights (bfloat16) to an empty folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _alone(file) as place:
        tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(place, gguf_file=file.name, dtype=torch.bfloat16)
    # The weights are dequantized on loading; only the mark is left, and it would forbid training.
    model.hf_quantizer = None
    for config in (model.config, getattr(model.config, "text_config", None)):
        if config is not None and hasattr(config, "quantization_config"):
            del config.quantization_config
    model.config.name_or_path = name
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _look(path: str) -> dict[str, Any]:
    """`Packed` as a mapping, or {"fault", "values"}; runs in the child."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        family = _text(reader, "general.architecture")
        sizes = [int(tensor.n_elements) for tensor in reader.tensors]
        if not family or not sizes:
            raise ValueError("no weights")
        described = _described(Path(path))
    except MemoryError:
        raise
    except Exception as error:
        # What a damaged file makes the readers raise is theirs to choose.
        if "is not supported" in str(error):
            return {"fault": "unpack.unknown_family", "values": {"family": family[:MAX_WORD]}}
        return {"fault": "unpack.broken", "values": {"error": str(error)[:MAX_WORD] or type(error).__name__}}
    if abs(sum(sizes) - described) > 0.02 * described:
        return {"fault": "unpack.other_weights", "values": {"expected": described, "found": sum(sizes)}}
    has_tokenizer = any(name.startswith("tokenizer.ggml.tokens") for name in reader.fields)
    told = _text(reader, "general.license")
    return asdict(Packed(family[:MAX_WORD], sum(sizes), max(sizes), has_tokenizer, told and told[:MAX_WORD]))


def _described(file: Path) -> int:
    """Weights of the model that the file's own words describe, built without memory for them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with _alone(file) as place:
        config = AutoConfig.from_pretrained(place, gguf_file=file.name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def _text(reader: Any, key: str) -> str | None:
    field = reader.get_field(key)
    value = field.contents() if field is not None else None
    return value if isinstance(value, str) else None


@contextmanager
def _alone(file: Path) -> Iterator[Path]:
    """A folder with this file and nothing beside it: transformers also looks for others."""
    with tempfile.TemporaryDirectory(prefix="luthier-gguf-") as folder:
        (Path(folder) / file.name).symlink_to(file.resolve())
        yield Path(folder)
