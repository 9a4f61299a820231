"""A stage of a pipeline begins with what another way of learning has taught, and learns something else."""

import json
import math
from pathlib import Path

import pytest
from safetensors.torch import load_file

from studio.protocol import CheckpointRef
from tests.trainers.jobs import SFT, events_of, model_ref, result_of, run_here, write_dataset, write_spec
from tests.trainers.test_preference import BASE, PAIRS, THUMBS
from tests.trainers.test_preference import METHODS as PREFERENCES
from tests.trainers.test_pretrain import PRETRAIN, TEXTS
from tests.trainers.test_rewarded import METHODS as REWARDED
from tests.trainers.test_rewarded import VALUES
from trainers import pretrain, sft
from trainers.checkpoints.manifest import digest_of
from trainers.models.generation import Models, Place
from trainers.training.reference import REFERENCE

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.filterwarnings("ignore::UserWarning")]

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


def begun(folder: Path, tiny: Path, tuning: str) -> CheckpointRef:
    """What examples have taught."""
    rows = write_dataset(folder / "rows", [{"prompt": f"Wood {n}?", "completion": "Oak."} for n in range(8)])
    values = SFT | {"tuning": tuning, "learning_rate": 1e-2, "max_steps": 4}
    first = write_spec(folder / "sft", values=values, dataset=rows, model=model_ref(tiny))
    assert run_here(sft.main, first).outcome == "succeeded", result_of(first)
    told = events_of(first, "checkpoint")[-1].data
    return CheckpointRef(**{name: told[name] for name in ("step", "path", "digest")})


HELD = [("dpo", "lora"), ("dpo", "full"), ("kto", "lora"), ("grpo", "lora"), ("grpo", "full"), ("ppo", "lora")]


@pytest.mark.parametrize(
    ("method", "tuning"), [pytest.param(*each, marks=() if each == HELD[0] else pytest.mark.slow) for each in HELD]
)
def test_a_run_is_held_to_the_weights_that_it_began_with_and_goes_on_bit_for_bit(
    tmp_path: Path, tiny: Path, method: str, tuning: str
) -> None:
    module, own = (PREFERENCES | REWARDED)[method]
    rows = write_dataset(tmp_path / "judged", THUMBS if method == "kto" else PAIRS)
    shared = VALUES if method in REWARDED else BASE
    values = shared | own | {"method": method, "tuning": tuning, "beta": 0.1, "max_steps": 4, "save_steps": 2}
    values |= {"learning_rate": 1e-3, "lora_dropout": 0.0} | (
        {"precompute_ref_log_probs": tuning == "lora"} if method == "dpo" else {}
    )
    made = {"values": values, "dataset": rows, "model": model_ref(tiny), "weights_from": begun(tmp_path, tiny, tuning)}
    folder = write_spec(tmp_path / "1", **made)
    assert run_here(module.main, folder).outcome == "succeeded", result_of(folder)
    told = next(event.data["values"] for event in events_of(folder, "metric") if "loss" in event.data["values"])
    if method in REWARDED:
        assert told["kl"] == pytest.approx(0, abs=1e-6), "before its first step it is its own reference"
    else:
        assert told["loss"] == pytest.approx({"dpo": math.log(2), "kto": 0.5}[method], abs=1e-5)
    last = Path(events_of(folder, "checkpoint")[-1].data["path"])
    assert (last / REFERENCE).is_dir() == (tuning == "lora")
    adapter = {"adapter_path": str(last)} if tuning == "lora" else {}
    place = Place(str(tiny) if adapter else str(last), digest=digest_of(last), **adapter)
    with Models("cpu").ready(place) as (model, _):
        assert len(getattr(model, "peft_config", {})) == bool(adapter), "who asks it needs no reference"
    middle = last.with_name("step-2")
    found = [CheckpointRef(step=2, path=str(middle), digest=digest_of(middle))]
    again = write_spec(tmp_path / "2", **made, attempt=2, resume_from=found)
    assert run_here(module.main, again).outcome == "succeeded", result_of(again)
    resumed = Path(events_of(again, "checkpoint")[-1].data["path"])
    assert (resumed / LEARNED[tuning]).read_bytes() == (last / LEARNED[tuning]).read_bytes()


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
