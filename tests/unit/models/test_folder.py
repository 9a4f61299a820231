"""What a model folder must hold, and each way in which it may not."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.errors import RefusedInput
from studio.models.folder import read_model_folder


def write_weights(path: Path, shape: tuple[int, int] = (4, 8), *, missing_bytes: int = 0) -> None:
    size = shape[0] * shape[1] * 2
    header = json.dumps({"w": {"dtype": "BF16", "shape": shape, "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * (size - missing_bytes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    (path / "tokenizer.json").write_text("{}")
    (path / "README.md").write_text("---\nlicense: apache-2.0\n---\nA model.\n")
    write_weights(path / "model.safetensors")
    return path


def test_facts_of_a_whole_folder(folder: Path) -> None:
    facts = read_model_folder(folder)
    assert (facts.architecture, facts.parameters, facts.license) == ("LlamaForCausalLM", 32, "apache-2.0")
    assert facts.size_bytes == (folder / "model.safetensors").stat().st_size
    assert not facts.has_chat_template
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert read_model_folder(folder).has_chat_template


def test_the_hash_follows_config_and_weights_only(folder: Path) -> None:
    before = read_model_folder(folder).content_hash
    (folder / "README.md").write_text("other words")
    assert read_model_folder(folder).content_hash == before
    write_weights(folder / "model.safetensors", (8, 8))
    assert read_model_folder(folder).content_hash != before


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def shard_missing(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


FAULTS: dict[str, Callable[[Path], object]] = {
    "no_config": lambda folder: (folder / "config.json").unlink(),
    "broken_json": lambda folder: (folder / "config.json").write_text("{"),
    "broken_config": lambda folder: (folder / "config.json").write_text("{}"),
    "no_weights": lambda folder: (folder / "model.safetensors").unlink(),
    "only_pickled": pickled,
    "missing_weights": shard_missing,
    "broken_weights": lambda folder: write_weights(folder / "model.safetensors", missing_bytes=1),
    "no_tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
}


@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_has_its_sentence(folder: Path, code: str) -> None:
    FAULTS[code](folder)
    with pytest.raises(RefusedInput) as caught:
        read_model_folder(folder)
    assert caught.value.code == f"model.{code}"
    assert str(folder) in caught.value.message("en") and str(folder) in caught.value.message("zh")


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]"])
def test_damaged_headers_are_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(RefusedInput) as caught:
        read_model_folder(folder)
    assert caught.value.code == "model.broken_weights"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(RefusedInput) as caught:
        read_model_folder(tmp_path / "x")
    assert caught.value.code == "model.not_a_folder"
