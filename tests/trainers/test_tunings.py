"""Ways of tuning: each trains what the calculator counts, changes the model, goes on bit for bit, and answers again."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.memory.adapters import trained as counted
from studio.memory.inventory import from_figures
from studio.memory.stack import installed_stack
from studio.params.tunings import TUNINGS, is_compressed, keeps_model
from studio.protocol import CheckpointRef, DatasetRef
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import sft
from trainers.generation import Models, Place
from trainers.inspect import figures_of
from trainers.manifest import digest_of, read_manifest
from trainers.model_config import read_config

# peft and trl use names that this transformers announces to rename.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    # peft's own layer-norm tuning says it of the norms.
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),
]

WAYS: dict[str, dict[str, Any]] = {
    "top layer": {"tuning": "freeze", "freeze_trainable_layers": 1, "freeze_trainable_modules": ["all"]},
    "named": {
        "tuning": "freeze",
        "freeze_trainable_layers": 1,
        "freeze_trainable_modules": ["mlp", "layers.0.self_attn"],
    },
    "4 bits": {"tuning": "qlora"},
    "8 bits": {"tuning": "qlora", "load_in_8bit": True},
    "pissa": {"tuning": "lora", "init_lora_weights": "pissa", "lora_dropout": 0.0},
    "lora+": {"tuning": "lora", "loraplus_lr_ratio": 16.0},
    "ia3": {"tuning": "ia3"},
    "norms": {"tuning": "ln_tuning"},
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    pairs = [{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(12)]
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", pairs)


@pytest.fixture(scope="module")
def trained(tiny: Path, rows: DatasetRef, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Way -> the folder of its last checkpoint: four steps, saved every two."""
    return {way: run(tmp_path_factory.mktemp("job"), tiny, rows, way) for way in WAYS}


def values_of(way: str) -> dict[str, Any]:
    own = WAYS[way]
    lora = {name for name in SFT if name.startswith("lora_") and own["tuning"] not in ("lora", "qlora")}
    return {name: value for name, value in SFT.items() if name not in lora} | own | {"max_steps": 4, "save_steps": 2}


def run(job: Path, model: Path, rows: DatasetRef, way: str, *, attempt: int = 1, **fields: Any) -> Path:
    folder = write_spec(job, attempt=attempt, values=values_of(way), dataset=rows, model=model_ref(model), **fields)
    result = run_here(sft.main, folder)
    assert result.outcome == "succeeded", result
    return Path(events_of(folder, "checkpoint")[-1].data["path"])


def place(model: Path, checkpoint: Path, way: str) -> Place:
    values, digest = values_of(way), digest_of(checkpoint)
    if keeps_model(values["tuning"]):
        return Place(str(checkpoint), digest=digest)
    is_int8 = bool(values.get("load_in_8bit"))
    squeezed = is_compressed(values["tuning"])
    return Place(str(model), str(checkpoint), squeezed and not is_int8, digest=digest, load_in_8bit=is_int8)


def scores(models: Models, where: Place) -> torch.Tensor:
    with models.ready(where) as (model, _), torch.inference_mode():
        return model(input_ids=torch.arange(3, 19)[None]).logits


def weights(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}


def test_every_way_of_the_table_is_tried() -> None:
    assert {each["tuning"] for each in WAYS.values()} | {"full", "lora"} == set(TUNINGS)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_trained_is_what_the_calculator_counts(tiny: Path, trained: dict[str, Path], way: str) -> None:
    model = from_figures(figures_of(read_config(tiny)))
    told = read_manifest(trained[way])["trained_parameters"]
    assert counted(model, values_of(way), installed_stack()).parameters == told


@pytest.mark.parametrize("way", WAYS)
def test_a_run_goes_on_bit_for_bit(
    tmp_path: Path, tiny: Path, rows: DatasetRef, trained: dict[str, Path], way: str
) -> None:
    middle = trained[way].with_name("step-2")
    found = [CheckpointRef(step=2, path=str(middle), digest=digest_of(middle))]
    resumed = run(tmp_path, tiny, rows, way, attempt=2, resume_from=found)
    assert weights(resumed) == weights(trained[way]) != weights(middle)


def test_all_answer_in_turn_each_as_if_it_were_alone(tiny: Path, trained: dict[str, Path]) -> None:
    together = Models("cpu")
    places = {way: place(tiny, trained[way], way) for way in WAYS} | {"base": Place(str(tiny))}
    alone = {way: scores(Models("cpu"), where) for way, where in places.items()}
    for way in (*places, *reversed(places)):
        assert torch.equal(scores(together, places[way]), alone[way]), way
    assert len({tuple(answer.flatten().tolist()) for answer in alone.values()}) == len(places)
