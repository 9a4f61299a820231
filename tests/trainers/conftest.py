"""A tiny random Llama with the first of the starter's tokens: for tests in which the weights do not matter."""

import gc
from pathlib import Path

import pytest

from tests.trainers.jobs import write_tiny_model


@pytest.fixture(scope="session")
def tiny(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from trl import SFTTrainer  # noqa: F401

    gc.freeze()  # each run collects what it leaves, which takes long among all that the libraries hold
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny", starter)


@pytest.fixture(scope="session")
def tokenizer(tiny: Path) -> object:
    from trainers.models.loading import load_tokenizer

    return load_tokenizer(tiny)
