"""A GGUF file is added on the command line and trained, as a person would."""

import pytest

from studio.paths import workspace
from tests.e2e.luthier import luthier, luthier_here
from tests.e2e.server import end_everything
from tests.trainers.gguf_files import write_gguf
from tests.trainers.jobs import write_tiny_model


@pytest.mark.slow
def test_a_packed_model_is_unpacked_and_trained(starter, tmp_path):
    file = write_gguf(tmp_path / "tiny-F32.gguf", write_tiny_model(tmp_path / "tiny", starter))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"prompt": "What is {n}?", "completion": "It is {n}."}}\n' for n in range(30)))
    place = workspace(tmp_path / "luthier").make()
    try:
        added = luthier(place, "models", "add", file, "--name", "packed", "--json")
        assert added.code == 0, added.err
        known = luthier_here(place, "models", "list", "--json").document
        assert [(model["name"], model["source"], model["license"]) for model in known] == [
            ("packed", "gguf", "apache-2.0")
        ]
        assert luthier(place, "data", "import", rows, "--name", "rows", "--json").code == 0
        spec = tmp_path / "spec.yaml"
        spec.write_text("model_name_or_path: packed\ndataset: rows\nmax_steps: 2\n")
        trained = luthier(place, "train", spec, "--wait", "--json")
        assert trained.code == 0, trained.err + trained.out
        assert trained.document["state"] == "succeeded"
        again = luthier(place, "models", "add", tmp_path / "rows.jsonl")
        assert again.code == 2
    finally:
        end_everything(place)
