"""Terms besides the log-likelihood, against the same computed from all logits, and what a run tells of them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, LlamaConfig, PhiConfig

from tests.trainers.jobs import events_of, write_dataset
from tests.trainers.losses.models import AddsUp, gradients, loss_of, small_model, some_batch
from tests.trainers.resumed import assert_resumes_alike, metric_of, run_of
from trainers.losses.diversity import RewardsDiversity
from trainers.losses.emphasis import KeepsFormat, KeepsToSource
from trainers.losses.shares import Domination, Shares
from trainers.losses.words import AvoidsRepetition, CoversReference

FAMILIES = {
    "plain": (LlamaConfig, {}),
    "bias": (PhiConfig, {}),
    "bounded": (Gemma2Config, {"final_logit_softcapping": 5.0, "head_dim": 16}),
}


def rows_by_logits(model: Any, batch: dict[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of each row the labels that are learned and the log-probabilities of all tokens there, from full logits."""
    logits = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits[:, :-1].float()
    labels = batch["labels"][:, 1:]
    masks = labels != -100
    likely = torch.log_softmax(logits, -1)
    return [(label[mask], each[mask]) for label, each, mask in zip(labels, likely, masks, strict=True)]


def repeated(labels: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    """The paper's sum, place by place."""
    total = likely.new_zeros(())
    for place, due in enumerate(labels.tolist()):
        for said in set(labels[:place].tolist()) - {due}:
            total = total - torch.log1p(-likely[place, said].exp())
    return total


def lacking(labels: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    counts = torch.bincount(labels, minlength=likely.shape[1]).float()
    recall = torch.minimum(counts, likely.exp().sum(0)).sum() / len(labels)
    return (1 - recall) * len(labels)


def varied(labels: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    return (likely.exp() * likely).sum()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("repetition", AvoidsRepetition, repeated),
        ("rouge", CoversReference, lacking),
        ("diversity", RewardsDiversity, varied),
    ],
)
def test_a_term_is_what_it_says(family: str, name: str, kind: type, wanted: Any) -> None:
    config, changes = FAMILIES[family]
    batch = some_batch()
    # Words come back, or there would be nothing to repeat.
    batch["input_ids"][:, 6:] = batch["input_ids"][:, 4:10]
    batch["labels"] = torch.where(batch["labels"] == -100, -100, batch["input_ids"])
    model = small_model(config, **changes)
    own = loss_of(model, kind, batch=batch, **{f"{name}_weight": 0.5})
    rows = rows_by_logits(model, batch)
    tokens = sum(len(labels) for labels, _ in rows)
    term = sum(wanted(labels, likely) for labels, likely in rows) / tokens
    theirs = loss_of(model, batch=batch) + 0.5 * term
    assert own.item() == pytest.approx(theirs.item(), abs=1e-4)
    assert abs(term.item()) > 1e-4
    found, expected = gradients(model, own), gradients(model, theirs)
    for each in expected:
        assert torch.allclose(found[each], expected[each], atol=1e-4), each


@pytest.mark.parametrize(
    ("name", "kind", "chosen"),
    [
        ("format", KeepsFormat, ['{"', '":', ' "', '"}', "<|im_end|>"]),
        ("source", KeepsToSource, ["ons", "1", "9", "8"]),
    ],
)
def test_chosen_tokens_count_more(tokenizer: Any, name: str, kind: type, chosen: list[str]) -> None:
    asked = tokenizer.encode("Where did Lyons stand in 1998 ? ")
    answer = tokenizer.encode('{"city": "Lyons 1998", "x": "so"}<|im_end|>')
    batch = {
        "input_ids": torch.tensor([asked + answer]),
        "attention_mask": torch.ones(1, len(asked + answer), dtype=torch.long),
        "labels": torch.tensor([[-100] * len(asked) + answer]),
    }
    model = small_model(LlamaConfig, vocab_size=len(tokenizer))
    place = SimpleNamespace(device=torch.device("cpu"))
    mixed = type("Trainer", (kind, AddsUp), {"processing_class": tokenizer, "args": place})
    own = mixed(model, **{f"{name}_weight": 1.0}).compute_loss(model, dict(batch))
    ((labels, likely),) = rows_by_logits(model, batch)
    lost = -likely.gather(1, labels[:, None])[:, 0]
    counted = {place: text for place, text in enumerate(tokenizer.batch_decode([[each] for each in labels]))}
    is_chosen = torch.tensor([_is_chosen(name, text, tokenizer, labels[n], asked) for n, text in counted.items()])
    assert own.item() == pytest.approx(((1 + is_chosen.float()) * lost).mean().item(), abs=1e-4)
    said = {text for text, yes in zip(counted.values(), is_chosen, strict=True) if yes}
    assert said and said != set(counted.values())
    if name == "format":
        assert "<|im_end|>" in said and not any("city" in text for text in said)
    else:
        assert any(text.strip().isdigit() or "yon" in text for text in said)
        assert not any("{" in text for text in said)


def _is_chosen(name: str, text: str, tokenizer: Any, label: torch.Tensor, asked: list[int]) -> bool:
    letters = [letter for letter in text if letter.isalnum()]
    if int(label) in tokenizer.all_special_ids:
        return name == "format"
    if name == "format":
        return not letters
    return int(label) in asked and (len(letters) >= 3 or any(letter.isdigit() for letter in letters))


def test_a_run_with_all_terms_tells_their_shares_and_goes_on_as_if_undisturbed(tmp_path: Path, tiny: Path) -> None:
    weights = {"diversity_weight": 0.05, "repetition_weight": 0.5, "format_weight": 0.5, "rouge_weight": 0.2}
    folder = assert_resumes_alike(tmp_path, tiny, **weights, source_weight=0.5)
    for term in ("diversity", "repetition", "format", "source", "rouge"):
        shares = list(metric_of(folder, f"term_share/{term}").values())
        assert len(shares) == 8 and all(0 <= share < 0.8 for share in shares), term
    assert not [event for event in events_of(folder, "alert") if event.data["code"].startswith("dominates")]


def test_a_term_that_takes_nearly_all_is_told_once(tmp_path: Path, tiny: Path) -> None:
    rows = write_dataset(tmp_path / "v1", [{"prompt": f"{n}?", "completion": json.dumps({"a": n})} for n in range(12)])
    folder = run_of(tmp_path / "job", tiny, rows, format_weight=10.0)
    told = [event.data for event in events_of(folder, "alert")]
    assert [(each["code"], each["values"]["name"]) for each in told] == [("dominates.term_share", "format")]
    assert told[0]["values"]["step"] == 3


def test_each_task_has_its_share_of_the_loss(tmp_path: Path, tiny: Path) -> None:
    pairs = [
        {"prompt": f"{n}?", "completion": "yes" if n % 2 else "no " * 40, "category": "short" if n % 2 else "long"}
        for n in range(16)
    ]
    batch = {"task_shares": True, "per_device_train_batch_size": 8, "max_steps": 4, "save_steps": 4}
    rows = write_dataset(tmp_path / "v1", pairs)
    found = {}
    for weights in ("none", "balanced_tokens"):
        folder = run_of(tmp_path / weights, tiny, rows, class_weights=weights, **batch)
        found[weights] = metric_of(folder, "task_share/short")[2]
        assert found[weights] + metric_of(folder, "task_share/long")[2] == pytest.approx(1)
        alerts = [event.data["values"]["name"] for event in events_of(folder, "alert")]
        assert alerts == (["long"] if weights == "none" else [])
    assert found["none"] < 0.2 and found["balanced_tokens"] == pytest.approx(0.5, abs=0.2)


def test_shares_are_of_sums_in_absolute_numbers() -> None:
    shares = Shares()
    for name, value in (("", 6.0), ("term_share/a", -1.0), ("", 2.0), ("term_share/a", 1.0)):
        shares.add(name, value)
    assert shares.take() == {"term_share/a": 0.2}
    assert shares.take() == {}


def test_only_a_lasting_domination_counts() -> None:
    watch = Domination()
    lines = [{"task_share/a": 0.9, "task_share/b": 0.1}] * 2 + [{"task_share/a": 0.5, "task_share/b": 0.5}]
    assert not any(watch.found(line) for line in (*lines, *lines))
    assert not any(watch.found({"loss": 1.0, "task_share/a": 1.0}) for _ in range(5))
