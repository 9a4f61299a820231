"""Heads of labels on a small random model: trained, resumed, asked; their figures counted by hand."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from studio.protocol import DatasetRef
from tests.trainers.jobs import (
    SFT,
    events_of,
    model_ref,
    result_of,
    run_here,
    saved_by,
    write_dataset,
    write_spec,
)
from trainers import classify
from trainers.models.generation import Models, Place, Sampling
from trainers.models.heads import Head, read_head
from trainers.models.labelling import shown
from trainers.rows.label_tokens import tokens_of_words
from trainers.rows.labelled_rows import count_labels, labelled_rows
from trainers.training.class_loss import LearnsLabels, balanced, confusion, f1_of

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
CLASSIFY = {name: value for name, value in SFT.items() if name != "packing"} | {
    "method": "classify",
    "task_type": "SEQ_CLS",
    "label_source": "auto",
    "label_weights": "none",
    "max_length": 64,
    "learning_rate": 3e-3,
    "per_device_train_batch_size": 8,
}
ASKED = {"delivery": "Where is my parcel number {}?", "refund": "Send me the money for order {} back."}
WEIGHTS = {"lora": "adapter_model.safetensors", "full": "model.safetensors"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    pairs = [{"prompt": ask.format(n), "completion": label} for n in range(40) for label, ask in ASKED.items()]
    return write_dataset(tmp_path_factory.mktemp("labels") / "v1", pairs)


def spec_of(job: Path, model: Path, rows: DatasetRef, *, attempt: int = 1, **changes: Any) -> Path:
    fields = {"resume_from": changes.pop("resume_from", [])}
    values = CLASSIFY | {"max_steps": 24, "save_steps": 8, "eval_steps": 8, "validation_split": 0.2} | changes
    return write_spec(job, attempt=attempt, values=values, dataset=rows, model=model_ref(model), **fields)


@pytest.fixture(scope="module", params=["lora", pytest.param("full", marks=pytest.mark.slow)])
def pair(request: Any, tmp_path_factory: pytest.TempPathFactory, tiny: Path, rows: DatasetRef) -> tuple[str, Path]:
    """One run left alone, and beside it the same run gone on with from the first checkpoint of that one."""
    place, tuning = tmp_path_factory.mktemp("runs"), request.param
    left_alone = spec_of(place / "1", tiny, rows, tuning=tuning)
    run_here(classify.main, left_alone)
    resumed = spec_of(place / "2", tiny, rows, attempt=2, tuning=tuning, resume_from=saved_by(left_alone)[:1])
    run_here(classify.main, resumed)
    assert result_of(left_alone).outcome == "succeeded", result_of(left_alone)
    return tuning, place


def test_a_resumed_run_ends_bit_identical(pair: tuple[str, Path]) -> None:
    tuning, place = pair
    ends = [(place / n / "checkpoints" / "step-24" / WEIGHTS[tuning]).read_bytes() for n in "12"]
    assert ends[0] == ends[1]
    resumed = place / "2" / "attempts" / "2"
    assert [event.data["step"] for event in events_of(resumed, "checkpoint")] == [16, 24]


def test_the_figures_of_each_evaluation_are_told(pair: tuple[str, Path]) -> None:
    folder = pair[1] / "1" / "attempts" / "1"
    told = [event.data for event in events_of(folder, "confusion")]
    assert [each["step"] for each in told] == [8, 16, 24]
    assert told[-1]["labels"] == ["delivery", "refund"] and sum(map(sum, told[-1]["counts"])) == 16
    values = [event.data["values"] for event in events_of(folder, "metric")]
    last = next(each for each in reversed(values) if "eval_f1" in each)
    assert last["eval_accuracy"] == last["eval_f1"] == 1.0 == told[-1]["f1"][0]
    assert last["eval_loss"] < next(each for each in values if "eval_loss" in each)["eval_loss"]


def test_a_checkpoint_answers_with_labels_and_probabilities(pair: tuple[str, Path], tiny: Path) -> None:
    tuning, place = pair
    saved = place / "1" / "checkpoints" / "step-24"
    where = Place(str(tiny), str(saved)) if tuning == "lora" else Place(str(saved), digest=None)
    assert read_head(saved) == Head("SEQ_CLS", ("delivery", "refund"))
    models = Models("cpu")
    for label, ask in ASKED.items():
        question = [{"role": "user", "content": ask.format(77)}]
        said = models.answer(where, question, Sampling(), on_text=lambda *_: None, cancelled=threading.Event())
        first = said.text.splitlines()[0]
        assert first.startswith(label) and int(first.split()[1]) > 50, said.text


@pytest.mark.slow
def test_a_run_ends_when_its_f1_stands_still_while_the_loss_still_falls(
    tmp_path: Path, tiny: Path, rows: DatasetRef
) -> None:
    watched = {"metric_for_best_model": "f1", "early_stopping_patience": 2, "eval_steps": 4}
    folder = spec_of(tmp_path, tiny, rows, max_steps=80, save_steps=80, **watched)
    result = run_here(classify.main, folder)
    assert result.outcome == "succeeded", result
    told = [event.data for event in events_of(folder, "metric") if "eval_f1" in event.data["values"]]
    f1, losses = ([each["values"][f"eval_{name}"] for each in told] for name in ("f1", "loss"))
    assert told[-1]["step"] == result.figures["steps"] < 80
    assert f1.index(max(f1)) == len(f1) - 3, "two validations without gain, and none of them before"
    assert losses[-1] == min(losses), "the loss would not have ended it"
    (alert,) = [each.data for each in events_of(folder, "alert") if each.data["code"] == "stopped_early"]
    assert alert["values"] == {"step": told[-1]["step"], "patience": 2}


@pytest.mark.parametrize("tuning", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_words_get_labels_of_their_own(tmp_path: Path, tiny: Path, tuning: str) -> None:
    names = ["Ann", "Bob", "Eve", "Tom"]
    rows = [
        {"text": f"{name} rides in {town} today", "extra": json.dumps({"tags": ["PER", "O", "O", "LOC", "O"]})}
        for name in names
        for town in ("Rome", "Oslo", "Bern", "Lima", "Kiel", "Graz")
    ]
    rows.append({"text": "no tags here", "extra": json.dumps({"tags": ["O"]})})
    data = write_dataset(tmp_path / "v1", rows)
    steps = {"max_steps": 32, "save_steps": 32}
    folder = spec_of(tmp_path / "job", tiny, data, task_type="TOKEN_CLS", learning_rate=1e-2, tuning=tuning, **steps)
    run_here(classify.main, folder)
    assert result_of(folder).outcome == "succeeded", result_of(folder)
    left_out = [event.data for event in events_of(folder, "alert")]
    assert [(each["code"], each["values"]["rows"]) for each in left_out] == [("rows_without_tags", "25")]
    counts = numpy.array(events_of(folder, "confusion")[-1].data["counts"])
    assert counts.sum() == 5 * 5, "each word of the five held-out rows counts once"
    assert counts.trace() >= 20
    saved = tmp_path / "job" / "checkpoints" / "step-32"
    place = Place(str(tiny), str(saved)) if tuning == "lora" else Place(str(saved))
    question = [{"role": "user", "content": "Tom rides in Oslo today"}]
    said = Models("cpu").answer(place, question, Sampling(), on_text=lambda *_: None, cancelled=threading.Event())
    assert [each.rpartition("/")[0] for each in said.text.split()] == question[0]["content"].split()
    assert "Tom/PER" in said.text and "Oslo/LOC" in said.text


def test_labels_stand_in_short_answers_or_in_the_category(tmp_path: Path, rows: DatasetRef) -> None:
    found = count_labels(labelled_rows(rows, split="train"))
    assert (found.source, dict(found.sizes)) == ("answer", {"delivery": 40, "refund": 40})
    sentences = [
        {"prompt": f"Ask {n}", "completion": f"An answer of its own, number {n}.", "category": "ab"[n % 2]}
        for n in range(8)
    ]
    found = count_labels(labelled_rows(write_dataset(tmp_path / "v1", sentences), split="train"))
    assert (found.source, found.names) == ("category", ("a", "b"))
    found = count_labels(labelled_rows(write_dataset(tmp_path / "v2", sentences), split="train"), "answer")
    assert found.source is None


@pytest.mark.parametrize(("task", "code"), [("SEQ_CLS", "job.no_labels"), ("TOKEN_CLS", "job.no_tags")])
def test_rows_without_labels_are_refused(tmp_path: Path, tiny: Path, task: str, code: str) -> None:
    data = write_dataset(tmp_path / "v1", [{"text": f"Text number {n}"} for n in range(4)])
    assert run_here(classify.main, spec_of(tmp_path / "job", tiny, data, task_type=task)).reason == code


def test_f1_is_as_scikit_learn_counts_it() -> None:
    from sklearn.metrics import confusion_matrix, f1_score

    draw = numpy.random.default_rng(3)
    true, said = draw.integers(0, 5, 200), draw.integers(0, 6, 200)
    counts = confusion(true, said, 7)
    assert (counts == confusion_matrix(true, said, labels=range(7))).all()
    known = [score for score in f1_of(counts) if score is not None]
    assert known == pytest.approx(f1_score(true, said, labels=range(6), average=None))
    assert f1_of(counts)[6] is None


def test_rare_labels_count_more_and_batches_may_be_cut_anyhow() -> None:
    assert balanced({"a": 30, "b": 10}, ["a", "b"]) == pytest.approx([2 / 3, 2.0])
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 2), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])

    def loss(part: slice, weights: Any = None) -> torch.Tensor:
        learner = LearnsLabels()
        learner.label_weights = weights
        return learner.compute_loss(_Fixed(logits[part]), {"labels": labels[part]}, num_items_in_batch=8)

    assert loss(slice(0, 3)) + loss(slice(3, 8)) == pytest.approx(float(loss(slice(0, 8))))
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    wanted = (each * torch.tensor([2 / 3] * 6 + [2.0] * 2)).sum() / 8
    assert loss(slice(0, 8), torch.tensor([2 / 3, 2.0])) == pytest.approx(float(wanted))


class _Fixed:
    """A model that says what it was given."""

    training = True

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def __call__(self) -> "_Fixed":
        return self


def test_a_word_is_labelled_at_its_last_token(tokenizer: Any) -> None:
    words = ["Antwerpen", "liegt", "am", "Wasser"]
    ids, ends = tokens_of_words(tokenizer, words)
    assert tokenizer.decode(ids) == " ".join(words)
    assert tokenizer.decode(ids[: ends[0] + 1]) == "Antwerpen" and ends[-1] == len(ids) - 1


def test_the_likeliest_labels_are_named() -> None:
    assert shown([0.001, 0.931, 0.068], ("praise", "refund", "delivery")) == "refund 93 %\ndelivery 7 %"
