"""A tiny random Llama with the starter's tokenizer: for tests in which the weights do not matter."""

from pathlib import Path

import pytest

from tests.trainers.jobs import write_tiny_model


@pytest.fixture(scope="session")
def tiny(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny", starter)


@pytest.fixture(scope="session")
def tokenizer(starter: Path) -> object:
    from trainers.loading import load_tokenizer

    return load_tokenizer(starter)
