"""What an attacker would put into a model's folder: each thing makes `mark` appear if anybody runs it."""

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

PICKLES = ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "optimizer.pt", "model.pkl", "model.ckpt")


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


def write_pickle(path: Path, mark: Path) -> None:
    """As torch.save writes it: a zip with `archive/data.pkl` in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(mark), protocol=2))
        archive.writestr("archive/version", "3")


def write_code(folder: Path, mark: Path, *, family: str | None = None) -> None:
    """Python files that leave the mark when they are imported, and a config and tokenizer that ask for them."""
    source = f"import os\nos.makedirs({str(mark)!r}, exist_ok=True)\n"
    for name in ("configuration_evil", "modeling_evil", "tokenization_evil"):
        (folder / f"{name}.py").write_text(source, "utf-8")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(source, "utf-8")
    auto_map = {
        "AutoConfig": "configuration_evil.EvilConfig",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
        "AutoTokenizer": ["tokenization_evil.EvilTokenizer", "tokenization_evil.EvilTokenizer"],
    }
    for name in ("config.json", "tokenizer_config.json"):
        change(folder / name, auto_map=auto_map)
    if family:
        change(folder / "config.json", model_type=family)


def change(path: Path, **values: Any) -> None:
    document = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(document | values), "utf-8")
