"""A stage of a pipeline begins with what another way of learning has taught, and learns something else."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from studio.protocol import CheckpointRef
from tests.trainers.jobs import SFT, events_of, model_ref, result_of, run_here, write_dataset, write_spec
from tests.trainers.test_pretrain import PRETRAIN, TEXTS
from trainers import pretrain, sft

LEARNED = {"full": "model.safetensors", "lora": "adapter_model.safetensors"}


@pytest.mark.parametrize("tuning", LEARNED)
def test_examples_begin_with_the_weights_that_texts_left(tmp_path: Path, tiny: Path, tuning: str) -> None:
    texts = write_dataset(tmp_path / "texts", [{"text": text} for text in TEXTS])
    first = write_spec(tmp_path / "1", values=PRETRAIN | {"tuning": tuning}, dataset=texts, model=model_ref(tiny))
    assert run_here(pretrain.main, first).outcome == "succeeded", result_of(first)
    told = events_of(first, "checkpoint")[-1].data
    saved = CheckpointRef(**{name: told[name] for name in ("step", "path", "digest")})
    asked = write_dataset(tmp_path / "asked", [{"prompt": f"Wood {n}?", "completion": "Oak."} for n in range(8)])
    values = SFT | {"tuning": tuning, "learning_rate": 1e-12, "max_steps": 1, "save_steps": 1}
    second = write_spec(tmp_path / "2", values=values, dataset=asked, model=model_ref(tiny), weights_from=saved)
    assert run_here(sft.main, second).outcome == "succeeded", result_of(second)
    before = load_file(Path(saved.path) / LEARNED[tuning])
    after = load_file(tmp_path / "2" / "checkpoints" / "step-1" / LEARNED[tuning])
    assert before.keys() == after.keys() and all(before[name].allclose(after[name], atol=1e-6) for name in before)


def test_other_weights_are_refused_by_name(tmp_path: Path, tiny: Path) -> None:
    rows = write_dataset(tmp_path / "v1", [{"prompt": f"Wood {n}?", "completion": "Oak."} for n in range(8)])
    first = write_spec(tmp_path / "1", values=SFT, dataset=rows, model=model_ref(tiny))
    assert run_here(sft.main, first).outcome == "succeeded"
    told = events_of(first, "checkpoint")[-1].data
    saved = CheckpointRef(**{name: told[name] for name in ("step", "path", "digest")})
    second = write_spec(
        tmp_path / "2",
        values=SFT | {"lora_r": 8, "max_length": 64},
        dataset=rows,
        model=model_ref(tiny),
        weights_from=saved,
    )
    refused = run_here(sft.main, second)
    assert (refused.reason, json.loads(json.dumps(refused.values))["names"]) == ("job.resumed_otherwise", "lora_r")
