"""Read what a model folder is, and refuse what the studio does not open; no weights are loaded, no torch needed.

Accepted: config.json, a tokenizer, and weights in safetensors. Whether transformers carries the architecture is told by
the inspect job.
"""

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studio.errors import RefusedInput

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
MAX_HEADER_BYTES = 100 << 20
"""safetensors' own limit."""
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)


@dataclass(frozen=True)
class ModelFacts:
    """What a model folder says of itself."""

    architecture: str
    """First of the config's architectures, such as LlamaForCausalLM."""
    size_bytes: int
    """Of the weight files."""
    parameters: int
    """Numbers in the weight files; packed 4-bit ones count as their packs."""
    has_chat_template: bool
    license: str | None
    """As the README's front matter names it."""
    config: dict[str, Any]
    content_hash: str
    """sha256 over config, safetensors headers and file sizes: another model, another hash; quick at any size."""


def read_model_folder(path: str | Path) -> ModelFacts:
    """Facts of a local model folder.

    Raises:
        RefusedInput: model.not_a_folder, no_config, broken_config, only_pickled, no_weights, broken_weights,
            missing_weights, no_tokenizer.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise RefusedInput("model.not_a_folder", path=str(path))
    config = _config(folder)
    weights = _weights(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise RefusedInput("model.no_tokenizer", path=str(folder))
    headers = {file.name: _header(file) for file in weights}
    return ModelFacts(
        architecture=(config.get("architectures") or [config.get("model_type", "?")])[0],
        size_bytes=sum(file.stat().st_size for file in weights),
        parameters=sum(map(_count, headers.values())),
        has_chat_template=_has_chat_template(folder),
        license=_license(folder),
        config=config,
        content_hash=_hash(config, weights, headers),
    )


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise RefusedInput("model.no_config", path=str(folder))
    config = _json(folder / "config.json")
    if not isinstance(config, dict) or not (config.get("architectures") or config.get("model_type")):
        raise RefusedInput("model.broken_config", path=str(folder / "config.json"))
    return config


def _weights(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.glob("*.safetensors") if file.name != "adapter_model.safetensors")
    if not found:
        is_pickled = any(any(folder.glob(pattern)) for pattern in PICKLED)
        raise RefusedInput("model.only_pickled" if is_pickled else "model.no_weights", path=str(folder))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        listed = _json(index)
        names = set(listed["weight_map"].values()) if isinstance(listed, dict) and "weight_map" in listed else set()
        missing = sorted(name for name in names if not (folder / str(name)).is_file())
        if missing:
            raise RefusedInput("model.missing_weights", path=str(folder), file=missing[0], count=len(missing))
    return found


def _header(file: Path) -> bytes:
    """The JSON header of a safetensors file, after checking that the file is as long as it says."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"header of {length} bytes")
            header = opened.read(length)
        ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"]
        is_whole = file.stat().st_size == 8 + length + max(ends, default=0)
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise RefusedInput("model.broken_weights", path=str(file)) from error
    if not is_whole:
        raise RefusedInput("model.broken_weights", path=str(file))
    return header


def _count(header: bytes) -> int:
    return sum(math.prod(entry["shape"]) for name, entry in json.loads(header).items() if name != "__metadata__")


def _hash(config: dict[str, Any], weights: list[Path], headers: dict[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for file in weights:
        digest.update(f"\0{file.name}\0{file.stat().st_size}\0".encode() + headers[file.name])
    return digest.hexdigest()


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    config = folder / "tokenizer_config.json"
    settings = _json(config) if config.is_file() else {}
    return isinstance(settings, dict) and bool(settings.get("chat_template"))


def _license(folder: Path) -> str | None:
    """The licence a README names, or None: front matter that cannot be read is nobody's fault here."""
    try:
        found = _FRONT_MATTER.match((folder / "README.md").read_text("utf-8", errors="replace"))
        facts = yaml.load(found[1], getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if found else None
    except (FileNotFoundError, yaml.YAMLError):
        return None
    named = facts.get("license") if isinstance(facts, dict) else None
    return named if isinstance(named, str) else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, UnicodeDecodeError) as error:
        raise RefusedInput("model.broken_json", path=str(path)) from error
