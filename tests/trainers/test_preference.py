"""Learning which answers are better: rows as tokens, every method with real weights, going on bit for bit."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.params.table import parameters
from studio.protocol import CheckpointRef, DatasetRef, read_spec
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import cpo, dpo, kto, orpo
from trainers.attempt import Attempt
from trainers.checkpoints.manifest import digest_of
from trainers.models.loading import load_tokenizer
from trainers.rows import pair_rows

# peft uses a name that this transformers announces to rename; trl says that ORPO and CPO are experimental.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

LEFT_OUT = ("packing", "lora_dropout")
BASE = {name: value for name, value in SFT.items() if name not in LEFT_OUT} | {"beta": 0.1, "max_steps": 4}
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dpo": (dpo, {"loss_type": "sigmoid", "precompute_ref_log_probs": False}),
    "orpo": (orpo, {}),
    "cpo": (cpo, {"loss_type": "simpo", "cpo_alpha": 0.0, "simpo_gamma": 0.5}),
    "kto": (kto, {"loss_type": "kto", "desirable_weight": 1.0, "undesirable_weight": 1.0}),
}


def choices_of(method: str, name: str) -> list[str]:
    return [choice.value for each in parameters(method) if each.name == name for choice in each.choices]


def said(role: str, text: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text}]


def pair(n: int) -> dict[str, Any]:
    asked = said("user", f"What is {n} plus {n}?")
    return {
        "prompt": asked,
        "chosen": said("assistant", f"It is {2 * n}."),
        "rejected": said("assistant", "Who knows?"),
    }


PAIRS = [pair(n) for n in range(12)]
THUMBS = [
    {"prompt": row["prompt"], "completion": row["chosen" if good else "rejected"], "label": good}
    for row in PAIRS
    for good in (True, False)
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DatasetRef]:
    folder = tmp_path_factory.mktemp("data")
    pairs, thumbs = write_dataset(folder / "pairs", PAIRS), write_dataset(folder / "thumbs", THUMBS)
    return {"dpo": pairs, "orpo": pairs, "cpo": pairs, "kto": thumbs}


def spec_of(job: Path, model: Path, rows: DatasetRef, method: str, *, attempt: int = 1, **changed: Any) -> Path:
    refs = {name: changed.pop(name) for name in ("resume_from",) if name in changed}
    values = BASE | METHODS[method][1] | {"method": method} | changed
    return write_spec(job, attempt=attempt, values=values, dataset=rows, model=model_ref(model), **refs)


def train(folder: Path, method: str) -> Path:
    """The last checkpoint."""
    result = run_here(METHODS[method][0].main, folder)
    assert result.outcome == "succeeded", result
    return Path(events_of(folder, "checkpoint")[-1].data["path"])


def prepared(folder: Path, model: Path, shape: pair_rows.Shape) -> Any:
    attempt = Attempt(folder, read_spec(folder))
    return pair_rows.prepare_data(attempt, load_tokenizer(model), shape)[0]


def test_a_pair_is_one_question_and_two_whole_answers(tmp_path: Path, tiny: Path, rows: dict[str, DatasetRef]) -> None:
    tokenizer = load_tokenizer(tiny)
    found = prepared(spec_of(tmp_path, tiny, rows["dpo"], "dpo"), tiny, pair_rows.pairs())
    for row, source in zip(found, PAIRS, strict=True):
        for side in ("chosen", "rejected"):
            whole = tokenizer.apply_chat_template(source["prompt"] + source[side], return_dict=True)["input_ids"]
            assert row["prompt_ids"] + row[f"{side}_ids"] == whole
        assert tokenizer.decode(row["chosen_ids"]).startswith(source["chosen"][0]["content"])


def test_pairs_that_say_the_same_or_do_not_fit_are_told_by_number(tmp_path: Path, tiny: Path) -> None:
    alike = PAIRS[0] | {"rejected": PAIRS[0]["chosen"]}
    long = {"prompt": said("user", "word " * 200), "chosen": said("assistant", "a"), "rejected": said("assistant", "b")}
    late = said("assistant", "word " * 120 + "yes"), said("assistant", "word " * 120 + "no")
    data = write_dataset(
        tmp_path / "v", [PAIRS[1], alike, long, PAIRS[2] | dict(zip(("chosen", "rejected"), late, strict=True))]
    )
    folder = spec_of(tmp_path / "job", tiny, data, "dpo", max_length=100)
    assert prepared(folder, tiny, pair_rows.pairs())["row"] == [1]
    told = {event.data["code"]: event.data["values"]["rows"] for event in events_of(folder, "alert")}
    assert told == {"pairs_alike": "2", "rows_cut_off": "3", "pairs_alike_when_cut": "4"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_goes_on_bit_for_bit(
    tmp_path: Path, tiny: Path, rows: dict[str, DatasetRef], method: str
) -> None:
    folder = spec_of(tmp_path / "1", tiny, rows[method], method, validation_split=0.2, eval_steps=2)
    last = train(folder, method)
    told = [event.data["values"] for event in events_of(folder, "metric")]
    losses = [each["loss"] for each in told if "loss" in each]
    assert len(losses) == 4 and all(map(math.isfinite, losses))
    if method == "dpo":  # before the first step the model is its own reference
        assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert any("rewards/margins" in each for each in told) and any("eval_rewards/margins" in each for each in told)
    middle = last.with_name("step-2")
    found = [CheckpointRef(step=2, path=str(middle), digest=digest_of(middle))]
    again = spec_of(
        tmp_path / "2", tiny, rows[method], method, attempt=2, resume_from=found, validation_split=0.2, eval_steps=2
    )
    weights = "adapter_model.safetensors"
    assert (train(again, method) / weights).read_bytes() == (last / weights).read_bytes()


FIRST_LOSSES = {
    ("dpo", "hinge"): 1.0,
    ("dpo", "ipo"): 25.0,  # (0 - 1 / (2 beta)) ** 2
    ("dpo", "robust"): math.log(2),
    ("dpo", "apo_zero"): 1.0,  # 1 - sigmoid(0) + sigmoid(0)
    ("kto", "apo_zero_unpaired"): 0.5,
    ("cpo", "sigmoid"): None,
    ("cpo", "hinge"): None,
    ("cpo", "ipo"): None,
}
"""By the papers' formulas, where the model is its own reference; CPO has none."""


def test_every_loss_of_the_form_is_tried() -> None:
    offered = {(method, name) for method in METHODS for name in choices_of(method, "loss_type")}
    usual = {(method, own["loss_type"]) for method, (_, own) in METHODS.items() if "loss_type" in own}
    assert offered == FIRST_LOSSES.keys() | usual


@pytest.mark.slow
@pytest.mark.parametrize(("method", "loss_type"), FIRST_LOSSES)
def test_every_loss_begins_where_its_formula_does(
    tmp_path: Path, tiny: Path, rows: dict[str, DatasetRef], method: str, loss_type: str
) -> None:
    values = {"loss_type": loss_type, "label_smoothing": 0.1 if loss_type == "robust" else 0.0, "max_steps": 2}
    folder = spec_of(tmp_path, tiny, rows[method], method, **values)
    train(folder, method)
    told = [event.data["values"]["loss"] for event in events_of(folder, "metric") if "loss" in event.data["values"]]
    expected = FIRST_LOSSES[method, loss_type]
    assert len(told) == 2 and told[0] != told[1]
    assert math.isfinite(told[0]) if expected is None else told[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_model_trained_whole_is_held_to_what_it_was(
    tmp_path: Path, tiny: Path, rows: dict[str, DatasetRef], method: str
) -> None:
    values = {"tuning": "full", "learning_rate": 1e-4, "max_steps": 2}
    folder = spec_of(tmp_path, tiny, rows[method], method, **values)
    last = train(folder, method)
    losses = [e.data["values"]["loss"] for e in events_of(folder, "metric") if "loss" in e.data["values"]]
    first = {"dpo": math.log(2), "kto": 0.5}[method]
    assert losses[0] == pytest.approx(first, abs=1e-4) and losses[1] < first
    assert (last / "model.safetensors").exists()


def test_thumbs_are_compared_with_the_answers_of_their_batch(tmp_path: Path, tiny: Path, rows: Any) -> None:
    found = prepared(spec_of(tmp_path, tiny, rows["kto"], "kto"), tiny, pair_rows.judged())
    others = kto.with_others(found, 5)[kto.OTHERS]
    answers = list(found["completion_ids"])
    for start in range(0, len(answers), 5):
        portion = answers[start : start + 5]
        assert others[start : start + 5] == portion[-1:] + portion[:-1]


def test_dpo_prefers_after_training_what_it_was_told_to(tmp_path: Path, tiny: Path, rows: Any) -> None:
    """The margin of held-out pairs, by transformers alone, before and after."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    values = {"max_steps": 12, "learning_rate": 1e-2, "save_steps": 12}
    last = train(spec_of(tmp_path / "run", tiny, rows["dpo"], "dpo", **values), "dpo")
    held_out = write_dataset(tmp_path / "held", [pair(n) for n in range(20, 30)])
    data = prepared(spec_of(tmp_path / "look", tiny, held_out, "dpo"), tiny, pair_rows.pairs())
    base = AutoModelForCausalLM.from_pretrained(tiny).eval()
    before = margin(base, data)
    assert margin(PeftModel.from_pretrained(base, last).eval(), data) > before + 1


@torch.no_grad()
def margin(model: Any, data: Any) -> float:
    def likelihood(prompt: list[int], answer: list[int]) -> float:
        ids = torch.tensor([prompt + answer])
        scores = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        return float(scores.gather(1, ids[0, len(prompt) :, None]).sum())

    found = [
        likelihood(r["prompt_ids"], r["chosen_ids"]) - likelihood(r["prompt_ids"], r["rejected_ids"]) for r in data
    ]
    return sum(found) / len(found)
