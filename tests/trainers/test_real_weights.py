"""Every way of supervised training on the starter model's own weights: what it learns is there when it is asked.

Four steps over the same eight rows. By default the starter's first layers, for the ways that differ most; all ways on
the whole model are slow.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

import pytest

from studio.params.tunings import TUNINGS, keeps_model
from studio.protocol import CheckpointRef, DatasetRef
from tests.trainers.jobs import SFT, model_ref, run_here, saved_by, write_dataset, write_spec
from tests.trainers.resumed import metric_of
from tests.trainers.test_classify import CLASSIFY
from tests.trainers.test_pretrain import PRETRAIN, TEXTS
from trainers import classify, pretrain, sft
from trainers.models.generation import Models, Place, Sampling
from trainers.models.scoring import answer_losses
from trainers.rows.data import Findings, conversations

# peft and trl use names that this transformers announces to rename; peft says it of the norms it tunes itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]

ROWS = 8
BASE = SFT | {"max_steps": 4, "save_steps": 4, "per_device_train_batch_size": ROWS, "lr_scheduler_type": "constant"}
BASE |= {"lora_dropout": 0.0}
WOODS = ("spruce", "maple", "ebony", "willow", "pear", "box", "plum", "yew")
DATA: dict[str, list[dict[str, Any]]] = {
    "sums": [{"prompt": f"What is {n} plus {n}?", "completion": f"It comes to {2 * n}, I say."} for n in range(ROWS)],
    "woods": [{"prompt": f"Is {wood} heavy?", "completion": f"Ask a luthier about {wood}."} for wood in WOODS],
    "texts": [{"text": text} for text in TEXTS[:ROWS]],
    "labels": [
        {"prompt": f"{ask} {n}?", "completion": label}
        for n in range(ROWS // 2)
        for label, ask in (("delivery", "Where is parcel"), ("refund", "May I send back order"))
    ],
    "tags": [{"text": f"Ann saw {wood}", "extra": json.dumps({"tags": ["PER", "O", "WOOD"]})} for wood in WOODS],
}


@dataclass(frozen=True)
class Way:
    values: dict[str, Any]
    module: ModuleType = sft
    rows: str = "sums"
    old_rows: str | None = None
    """A new task on what was learned of these with LoRA."""
    base: dict[str, Any] = field(default_factory=lambda: BASE)


def tuned(tuning: str, **values: Any) -> Way:
    return Way({"tuning": tuning} | values)


def labelled(**values: Any) -> Way:
    kept = {name: value for name, value in BASE.items() if name in CLASSIFY}
    kept |= {name: value for name, value in CLASSIFY.items() if name not in SFT} | {"method": "classify"}
    return Way(
        {"validation_split": 0.0} | values, classify, "labels" if "task_type" not in values else "tags", base=kept
    )


TEXT_BASE = {name: value for name, value in BASE.items() if name in PRETRAIN} | {
    "method": "pretrain",
    "max_length": 256,
}
REPLAYED = {"continual": "replay", "replay_ratio": 0.5, "per_device_train_batch_size": 2 * ROWS}
"""Half of a batch is old, so that every batch holds the same rows."""
WAYS = {
    "lora": tuned("lora"),
    "full": tuned("full", learning_rate=2e-5),
    "top layers": tuned("freeze", freeze_trainable_layers=1, freeze_trainable_modules=["all"], learning_rate=1e-4),
    "4 bits": tuned("qlora"),
    "bottleneck": tuned("bottleneck", bottleneck_size=8),
    "ia3": tuned("ia3", learning_rate=1e-2),
    "norms": tuned("ln_tuning", learning_rate=1e-3),
    "prompt": tuned("prompt_tuning", num_virtual_tokens=4, learning_rate=1e-2),
    "p-tuning": tuned("p_tuning", num_virtual_tokens=4, encoder_hidden_size=16, learning_rate=1e-2),
    "prefix": tuned("prefix_tuning", num_virtual_tokens=4, prefix_projection=False, learning_rate=1e-2),
    "texts": Way({"tuning": "lora"}, pretrain, "texts", base=TEXT_BASE),
    "texts, full": Way({"tuning": "full", "learning_rate": 2e-5}, pretrain, "texts", base=TEXT_BASE),
    "labels": labelled(learning_rate=1e-3),
    "labels, full": labelled(tuning="full", learning_rate=2e-5),
    "labels of words": labelled(task_type="TOKEN_CLS", learning_rate=1e-3),
    "replay": Way(REPLAYED, rows="woods", old_rows="sums"),
    "ewc": Way({"continual": "ewc", "ewc_lambda": 1.0}, rows="woods", old_rows="sums"),
}
QUICK = ("norms", "texts")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], DatasetRef]:
    return cache(lambda name: write_dataset(tmp_path_factory.mktemp("data") / name, DATA[name]))


Run = Callable[[str, Path], Path]


@pytest.fixture(scope="module")
def run(data: Callable[[str], DatasetRef], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Way and model -> the attempt's folder of a run that succeeded."""

    def ran(name: str, model: Path) -> Path:
        way = WAYS[name]
        lora = {
            each for each in SFT if each.startswith("lora_") and way.values.get("tuning") not in (None, "lora", "qlora")
        }
        values = {each: value for each, value in way.base.items() if each not in lora} | way.values
        fields: dict[str, Any] = {"dataset": data(way.rows), "model": model_ref(model)}
        if way.old_rows:
            values["old_dataset"] = way.old_rows
            fields |= {"old_dataset": data(way.old_rows), "weights_from": learned("lora", model)}
        folder = write_spec(tmp_path_factory.mktemp("job") / "1", values=values, **fields)
        result = run_here(way.module.main, folder)
        assert result.outcome == "succeeded", result
        return folder

    def learned(name: str, model: Path) -> CheckpointRef:
        return saved_by(once(name, model))[-1]

    once = cache(ran)
    return once


def test_every_way_of_tuning_is_tried() -> None:
    assert {way.values.get("tuning", "lora") for way in WAYS.values()} == set(TUNINGS)


@pytest.mark.parametrize("name", QUICK)
def test_four_steps_teach_the_first_layers(run: Run, data: Any, small_starter: Path, name: str) -> None:
    check(run(name, small_starter), WAYS[name], small_starter, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_four_steps_teach_the_whole_model(run: Run, data: Any, starter: Path, name: str) -> None:
    check(run(name, starter), WAYS[name], starter, data)


def check(folder: Path, way: Way, model: Path, data: Callable[[str], DatasetRef]) -> None:
    losses = metric_of(folder, "loss")
    assert sorted(losses) == [1, 2, 3, 4] and losses[4] < losses[1], losses
    if way.old_rows:
        assert sorted(metric_of(folder, "eval_old_loss"))[0] == 0, "what the old task came to before the first step"
    values, saved = way.base | way.values, saved_by(folder)[-1]
    keeps = keeps_model(values["tuning"])
    adapter = {} if keeps else {"adapter_path": saved.path, "load_in_4bit": values["tuning"] == "qlora"}
    place = Place(saved.path if keeps else str(model), digest=saved.digest, **adapter)
    row, models = DATA[way.rows][0], Models("cpu")
    asked = [{"role": "user", "content": row.get("prompt") or row["text"]}]
    to_end = {"on_text": lambda *_: None, "cancelled": threading.Event()}
    answer = models.answer(place, asked, Sampling(max_new_tokens=4), **to_end)
    if way.module is classify:
        label = "Ann/PER saw/O spruce/WOOD" if "task_type" in way.values else row["completion"]
        assert answer.text.startswith(label)
        return
    assert answer.tokens
    before, after = (loss_of(models, where, data(way.rows)) for where in (Place(str(model)), place))
    assert after < before, "as it is served it has learned"


def loss_of(models: Models, place: Place, rows: DatasetRef) -> float:
    with models.ready(place) as (model, renderer):
        told = answer_losses(model, renderer, conversations(rows), max_length=None, findings=Findings())
        return fmean(each.loss for each in told)
