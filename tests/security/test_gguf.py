"""GGUF files that want to crash, fill or mislead whoever reads them: a sentence, within limits, and nothing is left."""

import struct
from pathlib import Path

import pytest

from studio.db import jobs
from studio.db.engine import Writer
from studio.desk import Desk
from studio.errors import RefusedInput
from studio.messages import say
from studio.models.folder import packed_file
from tests.trainers.gguf_files import write_gguf
from tests.trainers.jobs import run_here, write_spec, write_tiny_model
from trainers import unpack
from trainers.models import packed


@pytest.fixture(scope="module")
def tiny(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny", starter)


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr(packed, "CPU_SECONDS", 8)
    monkeypatch.setattr(packed, "EXTRA_BYTES", 2 << 30)


def reason(file: Path, tmp_path: Path) -> str:
    folder = write_spec(tmp_path / "job", kind="unpack", values={"source": str(file), "name": "x"})
    result = run_here(unpack.main, folder)
    assert result.outcome == "failed"
    for language in ("en", "zh"):
        assert "{" not in say(f"errors.{result.reason}", language, **result.values)
    assert not (tmp_path / "job" / "output" / "model").exists()
    return result.reason.removeprefix("job.")


HEADERS = {
    "no more than the word": b"GGUF",
    "endless counts": b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, 1 << 63),
    "many keys that are not there": b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40),
    "an endless text": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62) + b"x" * 64,
    "another version": b"GGUF" + struct.pack("<IQQ", 99, 1, 1),
    "no weights": b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_cannot_be(what, tmp_path, limits):
    file = tmp_path / "model.gguf"
    file.write_bytes(HEADERS[what])
    assert reason(file, tmp_path) in ("unpack.broken", "unpack.unbounded")


def test_a_file_cut_short(tiny, tmp_path, limits):
    file = write_gguf(tmp_path / "model.gguf", tiny)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert reason(file, tmp_path) == "unpack.broken"


def test_words_about_a_model_without_end(tiny, tmp_path, limits):
    file = write_gguf(tmp_path / "model.gguf", tiny, block_count=2_000_000_000)
    assert reason(file, tmp_path) == "unpack.unbounded"


def test_words_about_another_model_than_the_weights_are(tiny, tmp_path, limits):
    file = write_gguf(tmp_path / "model.gguf", tiny, feed_forward_length=4096)
    assert reason(file, tmp_path) == "unpack.other_weights"


def test_a_family_that_nothing_here_unpacks(tiny, tmp_path, limits):
    file = write_gguf(tmp_path / "model.gguf", tiny, family="clip")
    assert reason(file, tmp_path) == "unpack.unknown_family"


def test_no_tokenizer(tiny, tmp_path, limits):
    assert reason(write_gguf(tmp_path / "model.gguf", tiny, tokenizer=False), tmp_path) == "unpack.no_tokenizer"


def test_what_lies_beside_the_file_is_not_read(tiny, tmp_path, limits):
    """transformers looks for a config, code and templates in the file's folder."""
    file = write_gguf(tmp_path / "model.gguf", tiny)
    for name in ("config.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        (tmp_path / name).write_text("{% not even this %}")
    folder = write_spec(tmp_path / "job", kind="unpack", values={"source": str(file), "name": "x"})
    assert run_here(unpack.main, folder).figures["parameters"] > 0


def test_which_file_is_meant(tmp_path, workspace):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    assert packed_file(tmp_path) == tmp_path / "a.gguf"
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    with pytest.raises(RefusedInput) as several:
        packed_file(tmp_path)
    assert several.value.code == "model.several_gguf"
    part = tmp_path / "c-00001-of-00003.gguf"
    part.write_bytes(b"GGUF")
    with pytest.raises(RefusedInput) as split:
        packed_file(part)
    assert split.value.code == "model.split_gguf"
    writer = Writer(workspace.registry)
    desk = Desk(workspace, writer)
    with pytest.raises(RefusedInput) as none:
        desk.unpack_model(str(workspace.root))
    assert none.value.code == "model.no_gguf"
    with writer.begin() as session:
        job = jobs.job(session, desk.unpack_model(str(tmp_path / "a.gguf")))
        assert (job.kind, job.values["name"], job.needs_device) == ("unpack", "a", False)
    writer.close()
