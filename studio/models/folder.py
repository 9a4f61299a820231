"""Read what a model folder is, and refuse what the studio does not open; no weights are loaded, no torch needed.

Accepted: config.json, a tokenizer, and weights in safetensors; a GGUF file becomes that (`trainers.unpack`). Whether
transformers carries the architecture is told by the inspect job. The server itself reads here what strangers wrote, so
everything has a largest size and a known kind.
"""

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import RefusedInput

_GGUF = b"GGUF"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
MAX_HEADER_BYTES = 32 << 20
"""Of a weight file; 60,000 tensors take some 8 MiB. safetensors' own limit is 100 MB, which is 1 GB once it is read."""
MAX_JSON_BYTES = 64 << 20
MAX_CONFIG_BYTES = 8 << 20
MAX_README_BYTES = 256 << 10
MAX_WORD = 200
"""Characters of what a model says of itself in a word: its architecture, its licence."""
_BITS_A_BYTE = 8
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_LICENSE = re.compile(r"^license:[ \t]*[\"']?([^\s\"'\[{!&*#][^\"'\r\n#]*?)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)
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
        RefusedInput: model.is_gguf, not_a_folder, is_adapter, link_outside, no_config, broken_config, only_pickled,
            no_weights, broken_weights, missing_weights, no_tokenizer.
    """
    folder = Path(path)
    _refuse_gguf(folder)
    if not folder.is_dir():
        raise RefusedInput("model.not_a_folder", path=str(path))
    if (folder / "adapter_config.json").exists():
        raise RefusedInput("model.is_adapter", path=str(folder))
    config = _config(folder)
    _refuse_links(folder)
    weights = _weights(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise RefusedInput("model.no_tokenizer", path=str(folder))
    headers = {file.name: _header(file) for file in weights}
    return ModelFacts(
        architecture=_architecture(config),
        size_bytes=sum(file.stat().st_size for file in weights),
        parameters=sum(map(_count, headers.values())),
        has_chat_template=_has_chat_template(folder),
        license=_license(folder),
        config=config,
        content_hash=_hash(config, weights, headers),
    )


def packed_file(path: str | Path) -> Path | None:
    """The GGUF file that this is, or that a folder holds in place of weights; four bytes are looked at, no more.

    Raises:
        RefusedInput: model.several_gguf, model.split_gguf.
    """
    found = _gguf_files(Path(path))
    if not found:
        return None
    if _PART.search(found[0].name):
        raise RefusedInput("model.split_gguf", path=str(found[0]))
    if len(found) > 1:
        raise RefusedInput("model.several_gguf", path=str(path), count=len(found), first=found[0].name)
    return found[0]


def _gguf_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".gguf" or _starts_so(path) else []
    return [] if any(path.glob("*.safetensors")) else sorted(path.glob("*.gguf"))


def _starts_so(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_GGUF)) == _GGUF


def _refuse_gguf(path: Path) -> None:
    found = _gguf_files(path)
    if found:
        raise RefusedInput("model.is_gguf", path=str(found[0]))


def _refuse_links(folder: Path) -> None:
    """Files lie in the folder itself; a hub cache's folder (`snapshots/<revision>`) links to `blobs` beside it."""
    allowed = [folder.resolve()]
    if folder.parent.name == "snapshots":
        allowed.append(folder.parent.parent.resolve() / "blobs")
    for path in folder.rglob("*"):
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
            raise RefusedInput("model.link_outside", path=str(folder), file=path.relative_to(folder).as_posix())


def _architecture(config: dict[str, Any]) -> str:
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else config.get("model_type", "?")
    return str(first)[:MAX_WORD]


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise RefusedInput("model.no_config", path=str(folder))
    config = _json(folder / "config.json", most=MAX_CONFIG_BYTES)
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
        listed = listed.get("weight_map") if isinstance(listed, dict) else None
        names = set(map(str, listed.values())) if isinstance(listed, dict) else set()
        outside = sorted(name for name in names if Path(name).name != name)
        if outside:
            raise RefusedInput("model.link_outside", path=str(folder), file=outside[0][:MAX_WORD])
        missing = sorted(name for name in names if not (folder / name).is_file())
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
        size = file.stat().st_size
        is_whole = size == 8 + length + max(ends, default=0) and _count(header) <= size * _BITS_A_BYTE
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
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
    """The licence a README names, or None: front matter that cannot be read is nobody's fault here.

    One line is looked for; a YAML parser can be made to crash the process by what is nested deep enough.
    """
    try:
        with (folder / "README.md").open("rb") as file:
            matter = _FRONT_MATTER.match(file.read(MAX_README_BYTES).decode("utf-8", "replace"))
    except OSError:
        return None
    named = _LICENSE.search(matter[1]) if matter else None
    return named[1][:MAX_WORD] if named else None


def _json(path: Path, *, most: int = MAX_JSON_BYTES) -> Any:
    try:
        if path.stat().st_size > most:
            raise ValueError(f"more than {most >> 20} MiB")
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RefusedInput("model.broken_json", path=str(path)) from error
