"""A model folder's config.json, with only what transformers' own code for this kind of model knows.

    read_config("models/some-model")      ->  LlamaConfig(...), without auto_map, extra_files, attn_implementation ...

transformers takes every key of a config.json for an attribute of the config, its own inner ones too: they name files to
load (pickles among them), kernels to fetch, code to run. Here a key stays if it is a field of the config's class, or a
word that stands in the sources of this kind of model (older names of fields do), and is none of `NEVER`.

Code that a model brings runs in one case only: the administrator named the folder's hash in `allowed-code.yaml` beside
the registry (`docs/security.md`); no page and no command writes that file.
"""

import hashlib
import inspect
import json
import os
import re
import tempfile
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from studio.errors import JobFailed
from studio.paths import workspace

ALLOWED_CODE = "allowed-code.yaml"
MAX_BYTES = 8 << 20
NEVER = frozenset(
    {
        "auto_map",
        "attn_implementation",
        "experts_implementation",
        "extra_files",
        "extra_config_files",
        "name_or_path",
        "transformers_weights",
        "use_kernels",
    }
)
"""Keys that name code, kernels or files; the studio says itself what is loaded and how attention is computed."""
CODE_SUFFIXES = (".py", ".json", ".jinja", ".model", ".txt")
"""What of a folder with code its hash covers: all that decides what runs."""
_OTHERS_WRITE = 0o022
_WORD = re.compile(r"[A-Za-z_]\w*")
_SHARED = ("configuration_utils.py", "modeling_rope_utils.py")


def read_config(path: str | Path) -> Any:
    """The config of a model folder, as transformers reads it once what is not known is left out.

    Raises:
        JobFailed: model_unreadable (no whole config.json), or brought.code.
        ValueError, KeyError: transformers knows no such kind of model.
    """
    from transformers import AutoConfig

    if is_code_allowed(path):
        return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=True)
    document = cleaned(_document(Path(path)))
    with tempfile.TemporaryDirectory(prefix="luthier-config-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(document), "utf-8")
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    config._name_or_path = str(path)  # peft writes it into an adapter
    return config


def cleaned(document: dict[str, Any]) -> dict[str, Any]:
    """A config without the keys that nothing knows; those of its parts (a text model's, a vision model's) likewise.

    Raises:
        JobFailed: brought.code: transformers has no such kind of model, but the folder brings code for it.
    """
    from transformers import CONFIG_MAPPING

    family = document.get("model_type")
    if family not in CONFIG_MAPPING:
        if document.get("auto_map"):
            raise JobFailed("brought.code", family=str(family)[:80])
        return {key: value for key, value in document.items() if key not in NEVER and not key.startswith("_")}
    return _cleaned(document, CONFIG_MAPPING[family])


def is_code_allowed(path: str | Path) -> bool:
    """Whether the administrator allowed the code of this very folder."""
    file = workspace().root / ALLOWED_CODE
    try:
        if os.name == "posix" and file.stat().st_mode & _OTHERS_WRITE:
            return False
        allowed = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(allowed, list) and code_hash(path) in allowed


def code_hash(path: str | Path) -> str:
    """sha256 over names and contents of everything in a model folder that decides what runs."""
    digest = hashlib.sha256()
    for file in sorted(each for each in Path(path).rglob("*") if each.suffix in CODE_SUFFIXES and each.is_file()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(path).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()


def _document(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.name} has more than {MAX_BYTES >> 20} MiB")
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict):
            raise ValueError(f"{path.name} holds no object")
    except (OSError, ValueError, RecursionError) as error:
        raise JobFailed("model_unreadable", path=str(folder), error=str(error)[:300]) from error
    return document


def _cleaned(document: dict[str, Any], kind: type) -> dict[str, Any]:
    parts = getattr(kind, "sub_configs", {})
    return {
        key: _part(value, parts[key]) if key in parts and isinstance(value, dict) else value
        for key, value in document.items()
        if _is_known(key, kind)
    }


def _part(document: dict[str, Any], kind: type) -> dict[str, Any]:
    from transformers import CONFIG_MAPPING

    named = document.get("model_type")
    if named in CONFIG_MAPPING:
        kind = CONFIG_MAPPING[named]
    return _cleaned(document, kind)


def _is_known(key: str, kind: type) -> bool:
    if key.startswith("_") or key in NEVER:
        return False
    if key in _fields(kind) or key == "model_type":
        return True
    held = inspect.getattr_static(kind, key, None)
    return key in _words(kind) and (held is None or isinstance(held, property))


@cache
def _fields(kind: type) -> frozenset[str]:
    return frozenset({each.name for each in fields(kind)} | set(kind.attribute_map))


@cache
def _words(kind: type) -> frozenset[str]:
    """Every word in the sources of a kind of model, and in what all kinds share."""
    import transformers

    own = Path(inspect.getfile(kind)).parent
    shared = Path(os.path.dirname(transformers.__file__))
    sources = [*own.glob("*.py"), *(shared / name for name in _SHARED)]
    return frozenset(word for path in sources for word in _WORD.findall(path.read_text("utf-8")))
