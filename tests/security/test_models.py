"""Model folders and checkpoints that want to run something: pickles, code, configs, links, adapters."""

import json
import pickle
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from studio.db.engine import Writer
from studio.desk import Desk
from studio.errors import JobFailed, RefusedInput
from studio.models import folder as folders
from studio.models.folder import read_model_folder
from studio.protocol import CheckpointRef
from tests.security.evil import PICKLES, change, write_code, write_pickle
from tests.trainers.jobs import write_spec, write_tiny_model
from trainers.checkpoints.manifest import digest_of, whole_folder
from trainers.models import model_config


@pytest.fixture(scope="module")
def tiny(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny", starter)


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "model")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture(autouse=True)
def own_workspace(workspace: Any) -> None:
    """`allowed-code.yaml` is looked for there."""


def load(path: Path) -> Any:
    from trainers.models.loading import load_model, load_tokenizer

    load_tokenizer(path)
    return load_model(path, dtype="float32", device="cpu")


@contextmanager
def failing(reason: str) -> Iterator[None]:
    with pytest.raises(JobFailed) as caught:
        yield
    assert caught.value.reason == reason
    assert "{" not in caught.value.message("en") and "{" not in caught.value.message("zh")


def refusal(path: Path) -> str:
    with pytest.raises(RefusedInput) as caught:
        read_model_folder(path)
    assert "{" not in caught.value.message("en") and "{" not in caught.value.message("zh")
    return caught.value.code


# -- GGUF --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["a file", "a file of another name", "a folder of them", "beside a config"])
def test_a_gguf_file_is_refused_in_words_and_not_parsed(tmp_path, place, workspace):
    """What follows the first four bytes would crash a reader: a count of 2**63 entries."""
    folder = tmp_path / "model"
    folder.mkdir()
    file = folder / ("model.bin.part" if place == "a file of another name" else "model.gguf")
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, 1 << 63))
    if place == "beside a config":
        (folder / "config.json").write_text('{"model_type": "llama"}')
    offered = file if place.startswith("a file") else folder
    assert refusal(offered) == "model.is_gguf"
    writer = Writer(workspace.registry)
    with pytest.raises(RefusedInput) as caught:
        Desk(workspace, writer).add_model(str(offered))
    writer.close()
    assert caught.value.code == "model.is_gguf"


# -- pickles -----------------------------------------------------------------------------------------------------------


def test_the_trap_works(tmp_path, mark):
    import torch

    write_pickle(tmp_path / "x.bin", mark)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.bin", weights_only=True)
    assert not mark.exists()
    with pytest.raises(Exception):  # noqa: B017 - what comes back is no tensor, but it has run
        torch.load(tmp_path / "x.bin", weights_only=False)
        raise ValueError
    assert mark.exists()


@pytest.mark.parametrize("name", PICKLES)
def test_a_folder_with_pickled_weights_alone_is_refused(model, mark, name):
    (model / "model.safetensors").unlink()
    write_pickle(model / name, mark)
    assert refusal(model) in ("model.only_pickled", "model.no_weights")
    with pytest.raises(JobFailed):
        load(model)
    assert not mark.exists()


def test_pickles_beside_safetensors_are_not_opened(model, mark, monkeypatch):
    import torch

    for name in PICKLES:
        write_pickle(model / name, mark)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    assert load(model).num_parameters() == load_plain(model)
    assert not mark.exists()


def load_plain(path: Path) -> int:
    return read_model_folder(path).parameters


@pytest.mark.parametrize("name", ["adapter_model.bin", "../outside.safetensors", "/etc/passwd", "pytorch_model.bin"])
def test_a_config_names_no_file_to_load(model, mark, monkeypatch, name):
    import torch

    write_pickle(model / "adapter_model.bin", mark)
    change(model / "config.json", transformers_weights=name, extra_files=[name], extra_config_files=[name])
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    assert load(model).num_parameters() == load_plain(model)


def test_an_adapter_in_a_models_folder_is_not_put_on_it(model, mark, monkeypatch):
    import torch

    write_pickle(model / "adapter_model.bin", mark)
    change(model / "adapter_config.json", peft_type="LORA", r=4, target_modules=["q_proj"], megatron_core="antigravity")
    assert refusal(model) == "model.is_adapter"
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with failing("brought.adapter"):
        load(model)
    assert not mark.exists()


# -- code --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [None, "evil"])
def test_code_in_a_models_folder_never_runs(model, mark, family, tmp_path, monkeypatch):
    from transformers import dynamic_module_utils

    from trainers.inspect import inventory
    from trainers.models.loading import load_tokenizer

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    write_code(model, mark, family=family)
    if family is None:  # transformers knows the kind of model: its own code is used
        assert load(model).num_parameters() == load_plain(model)
        inventory(model, load_tokenizer(model))
    else:
        for use in (load, lambda path: inventory(path, load_tokenizer(path))):
            with pytest.raises(JobFailed) as caught:
                use(model)
            assert caught.value.reason in ("brought.code", "tokenizer_unreadable")
    assert not mark.exists()


def test_the_administrators_file_allows_one_folder_by_its_hash(model, mark, tmp_path, monkeypatch, workspace):
    """The other way round: with its hash in the file the same code does run, so the attack above is a real one."""
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    write_code(model, mark, family="evil")
    allowed = workspace.root / "allowed-code.yaml"
    allowed.write_text(json.dumps(["0" * 64]), "utf-8")
    with failing("brought.code"):
        model_config.read_config(model)
    allowed.write_text(json.dumps([model_config.code_hash(model)]), "utf-8")
    allowed.chmod(0o666)
    with failing("brought.code"):
        model_config.read_config(model)  # whoever may write the file is no administrator
    assert not mark.exists()
    allowed.chmod(0o600)
    with pytest.raises(AttributeError):
        model_config.read_config(model)  # the module ran, and holds no class
    assert mark.exists()
    mark.rmdir()
    (model / "modeling_evil.py").write_text("# other code", "utf-8")
    with failing("brought.code"):
        model_config.read_config(model)
    assert not mark.exists()


ASKED = {
    "auto_map": {"AutoConfig": "evil.Evil"},
    "attn_implementation": "evil/kernel",
    "_attn_implementation": "evil/kernel",
    "_attn_implementation_internal": "evil/kernel",
    "experts_implementation": "evil/kernel",
    "_auto_class": "AutoConfig",
    "base_model_tp_plan": {"x": "y"},
    "to_dict": "x",
    "_name_or_path": "/etc",
    "name_or_path": "/etc",
    "transformers_weights": "x.bin",
    "a_key_that_nobody_knows": "rm -rf /",
    "custom_pipelines": {"x": {"impl": "evil.Evil"}},
}


def test_keys_of_a_config_that_nothing_knows_are_left_out(model):
    change(model / "config.json", **ASKED)
    config = model_config.read_config(model)
    assert config._name_or_path == str(model) and config.hidden_size == 64 and callable(config.to_dict)
    assert config._attn_implementation in (None, "sdpa", "eager")
    held = vars(config)
    assert not [name for name, value in ASKED.items() if held.get(name) == value]
    assert "evil" not in json.dumps(held, default=str)
    load(model)


def families(every: bool) -> list[str]:
    known = ["llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3", "gpt2", "gpt_neox", "granite", "olmo2"]
    if not every:
        return known
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as mapping

    return sorted(set(mapping) - set(known))


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_kind_of_model_loses_what_it_knows(every):
    """What transformers itself writes of a config comes back the same, of every kind of language model."""
    from transformers import CONFIG_MAPPING

    lost, tried = {}, 0
    for family in families(every):
        try:
            document = CONFIG_MAPPING[family]().to_dict()
        except Exception:  # some kinds have no config of their own defaults
            continue
        kept = model_config.cleaned(document)
        tried += 1
        gone = {key for key in document.keys() - kept.keys() if not key.startswith("_")} - model_config.NEVER
        if gone:
            lost[family] = sorted(gone)
    assert lost == {} and tried > (100 if every else 8)


# -- links, sizes, lies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "README.md", "sub/x.json"])
def test_a_link_that_leads_out_of_the_folder_is_refused(model, tmp_path, name):
    (model / "sub").mkdir()
    target = tmp_path / "elsewhere"
    target.write_bytes((model / name).read_bytes() if (model / name).exists() else b"{}")
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(target)
    assert refusal(model) == "model.link_outside"


def test_the_hub_caches_own_links_are_followed(model, tmp_path):
    cache = tmp_path / "models--owner--name"
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copyfile(path, blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    assert read_model_folder(snapshot).parameters == load_plain(model)
    (snapshot / "README.md").symlink_to("/etc/passwd")
    assert refusal(snapshot) == "model.link_outside"


@pytest.mark.parametrize("place", ["../../x.safetensors", "/etc/passwd", "sub/x.safetensors"])
def test_an_index_names_no_file_elsewhere(model, place):
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": place}}), "utf-8")
    assert refusal(model) == "model.link_outside"


def header(path: Path, entries: object) -> None:
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize(
    "entries",
    [
        {"w": {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 0]}},
        {"w": {"dtype": "F32", "shape": ["a"], "data_offsets": [0, 0]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 10**18]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": "ab"}},
        {"w": [1]},
        [],
    ],
)
def test_a_header_that_lies_is_refused(model, entries):
    header(model / "model.safetensors", entries)
    assert refusal(model) == "model.broken_weights"


def test_what_is_too_large_or_too_deep_is_not_read(model, monkeypatch):
    whole = (model / "config.json").read_text("utf-8")
    for text in ("[" * 100_000, '{"a":' * 100_000):
        (model / "config.json").write_text(text, "utf-8")
        assert refusal(model) == "model.broken_json"
    (model / "config.json").write_text(whole, "utf-8")
    monkeypatch.setattr(folders, "MAX_CONFIG_BYTES", 100)
    assert refusal(model) == "model.broken_json"
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    monkeypatch.setattr(folders, "MAX_CONFIG_BYTES", 1 << 20)
    assert refusal(model) == "model.broken_weights"


def test_a_readme_costs_nothing(model):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text in (
        f"---\n{bomb}\n---\n",
        "---\n" + "[" * 50_000 + "\n---\n",
        "---\nlicense: !!python/name:os.system\n---\n",
    ):
        (model / "README.md").write_text(text, "utf-8")
        assert read_model_folder(model).license is None


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(model: Path, tmp_path: Path) -> Path:
    with whole_folder(tmp_path / "checkpoints" / "step-1", step=1) as folder:
        for path in model.iterdir():
            shutil.copyfile(path, folder / path.name)
    return tmp_path / "checkpoints" / "step-1"


def asked(path: Path, digest: str) -> str | None:
    """The reason why a full checkpoint does not answer; None if it does."""
    from trainers.models.generation import Models, Place

    try:
        with Models("cpu").ready(Place(str(path), digest=digest)):
            return None
    except JobFailed as refused:
        return refused.reason


def test_only_a_checkpoint_that_the_registry_knows_answers(checkpoint, mark):
    known = digest_of(checkpoint)
    assert asked(checkpoint, known) is None
    with whole_folder(checkpoint.with_name("foreign"), step=1) as folder:
        for path in checkpoint.iterdir():
            shutil.copyfile(path, folder / path.name)
        write_code(folder, mark)
    shutil.rmtree(checkpoint)
    checkpoint.with_name("foreign").rename(checkpoint)
    assert asked(checkpoint, known) == "answer_checkpoint_damaged", "whole in itself, but not what was saved"
    (checkpoint / "manifest.json").unlink()
    assert asked(checkpoint, known) == "answer_checkpoint_damaged"
    assert not mark.exists()


@pytest.mark.parametrize("name", [*PICKLES, "modeling_evil.py", "adapter_config.json", "sub/pytorch_model.bin"])
def test_what_was_put_beside_a_checkpoint_keeps_it_from_being_used(checkpoint, mark, name, tmp_path):
    from trainers.attempt import Attempt
    from trainers.checkpoints.resuming import newest_whole

    known = digest_of(checkpoint)
    (checkpoint / name).parent.mkdir(exist_ok=True)
    write_pickle(checkpoint / name, mark)
    assert asked(checkpoint, known) == "answer_checkpoint_damaged"
    saved = CheckpointRef(step=1, path=str(checkpoint), digest=known)
    folder = write_spec(tmp_path / "job", device="cpu", resume_from=[saved])
    from studio.protocol import read_spec

    assert newest_whole(Attempt(folder, read_spec(folder))) is None
    assert not mark.exists()
    assert not checkpoint.exists(), "set aside, not deleted"
    assert list(checkpoint.parent.glob("damaged-*"))


def test_a_file_manager_harms_no_checkpoint(checkpoint):
    known = digest_of(checkpoint)
    for name in (".DS_Store", "Thumbs.db", "notes.md"):
        (checkpoint / name).write_bytes(b"x")
    assert asked(checkpoint, known) is None
