"""GGUF files become models that can be trained."""

from pathlib import Path

import pytest

from studio.errors import JobFailed
from studio.models.folder import read_model_folder
from tests.trainers.gguf_files import write_gguf
from tests.trainers.jobs import run_here, write_spec, write_tiny_model
from trainers import unpack
from trainers.checkpoints.manifest import damaged_files
from trainers.models import packed


@pytest.fixture(scope="module")
def tiny(starter, tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny", starter)


@pytest.fixture(scope="module")
def file(tiny, tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("packed") / "tiny-F32.gguf", tiny)


def unpacked(file, tmp_path):
    folder = write_spec(tmp_path / "job", kind="unpack", values={"source": str(file), "name": "mine"})
    return run_here(unpack.main, folder)


def test_an_unpacked_model_says_what_the_packed_one_said(tiny, file, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = Path(unpacked(file, tmp_path).figures["folder"])
    assert damaged_files(made) == []
    facts = read_model_folder(made)
    assert (facts.architecture, facts.license, facts.has_chat_template) == ("LlamaForCausalLM", "apache-2.0", True)
    models = [AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32) for place in (tiny, made)]
    tokens = [AutoTokenizer.from_pretrained(place)("The capital of Peru")["input_ids"] for place in (tiny, made)]
    assert tokens[0] == tokens[1]
    with torch.inference_mode():
        before, after = (model(input_ids=torch.tensor([tokens[0]])).logits for model in models)
    assert (before - after).abs().max() < 0.02 * before.abs().max()
    assert models[1].config.to_dict().get("quantization_config") is None


@pytest.mark.parametrize("lack", ["memory", "disk"])
def test_a_model_too_large_for_this_machine_is_said_before_anything_is_written(lack, tmp_path, monkeypatch):
    big = packed.Packed("llama", parameters=10**15, largest=10**9, has_tokenizer=True, license=None)
    if lack == "disk":
        monkeypatch.setattr(packed.Packed, "needed_bytes", 0)
    with pytest.raises(JobFailed) as caught:
        unpack._check_room(big, tmp_path / "job" / "output")
    assert caught.value.reason == f"unpack.no_{lack}"
    assert "{" not in caught.value.message("zh")


def test_a_licence_that_is_more_than_a_word_stays_out_of_the_card():
    assert "license" not in unpack.card("x.gguf", "mit\n---\n# not mine")
    assert "license: apache-2.0" in unpack.card("x.gguf", "apache-2.0")
