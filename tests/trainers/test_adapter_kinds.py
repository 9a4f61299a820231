"""Kinds of LoRA: each is what its name says, goes on bit for bit, answers again from its files, and shares a base."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.protocol import CheckpointRef, DatasetRef
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import sft
from trainers.checkpoints.manifest import digest_of
from trainers.models.generation import Models, Place

# peft uses a name that this transformers announces to rename.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

WEIGHTS = "adapter_model.safetensors"
KINDS = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}
RANK, ALPHA = 4, 8


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    pairs = [{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(12)]
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", pairs)


@pytest.fixture(scope="module")
def trained(tiny: Path, rows: DatasetRef, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> the folder of its last checkpoint: four steps, saved every two."""
    return {kind: run(tmp_path_factory.mktemp(kind), tiny, rows, kind) for kind in KINDS}


def run(job: Path, model: Path, rows: DatasetRef, kind: str, *, attempt: int = 1, **fields: Any) -> Path:
    values = SFT | KINDS[kind] | {"lora_r": RANK, "lora_alpha": ALPHA, "max_steps": 4, "save_steps": 2}
    folder = write_spec(job, attempt=attempt, values=values, dataset=rows, model=model_ref(model), **fields)
    assert run_here(sft.main, folder).outcome == "succeeded"
    return Path(events_of(folder, "checkpoint")[-1].data["path"])


def scaling(model: Any) -> set[float]:
    layers = [each for each in model.modules() if hasattr(each, "lora_magnitude_vector")]
    return {value for layer in layers for value in layer.scaling.values()}


def place(model: Path, checkpoint: Path) -> Place:
    return Place(str(model), str(checkpoint), digest=digest_of(checkpoint))


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_says_what_it_is(trained: dict[str, Path], kind: str) -> None:
    told = json.loads((trained[kind] / "adapter_config.json").read_text())
    assert (told["use_rslora"], told["use_dora"]) == (kind == "rslora", kind == "dora")


def test_rslora_divides_alpha_by_the_root_of_the_rank(tiny: Path, trained: dict[str, Path]) -> None:
    expected = {"lora": ALPHA / RANK, "rslora": ALPHA / math.sqrt(RANK), "dora": ALPHA / RANK}
    for kind, factor in expected.items():
        with Models("cpu").ready(place(tiny, trained[kind])) as (model, _):
            assert scaling(model) == {factor}, kind


def test_dora_trains_a_size_for_each_output(trained: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    names = {kind: {name.split(".")[-1] for name in load_file(trained[kind] / WEIGHTS)} for kind in ("lora", "dora")}
    assert names["dora"] - names["lora"] == {"lora_magnitude_vector"}


@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_a_run_goes_on_bit_for_bit(
    tmp_path: Path, tiny: Path, rows: DatasetRef, trained: dict[str, Path], kind: str
) -> None:
    middle = trained[kind].with_name("step-2")
    found = [CheckpointRef(step=2, path=str(middle), digest=digest_of(middle))]
    resumed = run(tmp_path, tiny, rows, kind, attempt=2, resume_from=found)
    assert (resumed / WEIGHTS).read_bytes() == (trained[kind] / WEIGHTS).read_bytes()


def test_all_kinds_answer_in_turn_on_one_base(tiny: Path, trained: dict[str, Path]) -> None:
    """Each as if it were alone."""

    def scores(models: Models, where: Place) -> torch.Tensor:
        with models.ready(where) as (model, _), torch.inference_mode():
            return model(input_ids=torch.arange(3, 19)[None]).logits

    together, places = Models("cpu"), {kind: place(tiny, trained[kind]) for kind in KINDS} | {"base": Place(str(tiny))}
    alone = {kind: scores(Models("cpu"), where) for kind, where in places.items()}
    for kind in (*places, *reversed(places)):
        assert torch.equal(scores(together, places[kind]), alone[kind]), kind
    assert len(together) == 1
    assert len({tuple(answer.flatten().tolist()) for answer in alone.values()}) == len(places)
