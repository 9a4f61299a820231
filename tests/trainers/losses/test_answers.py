"""Leaving out what is not learned changes neither loss nor gradients, and is really left out."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, LlamaConfig

from tests.trainers.losses.models import AddsUp, gradients, loss_of, small_model, some_batch
from trainers.losses.answers import ScoresAnswersOnly
from trainers.losses.smoothing import SmoothsLabels


class OnCpu(ScoresAnswersOnly):
    args = SimpleNamespace(device=torch.device("cpu"))


@pytest.mark.parametrize("mixins", [(), (SmoothsLabels,)], ids=["plain", "smoothed"])
@pytest.mark.parametrize("config", [LlamaConfig, Gemma2Config])
def test_loss_and_gradients_are_those_of_all_positions(config: type, mixins: tuple[type, ...]) -> None:
    changes = {"head_dim": 16, "final_logit_softcapping": 5.0} if config is Gemma2Config else {}
    found = []
    for kinds in (mixins, (*mixins, OnCpu)):
        model = small_model(config, **changes)
        loss = loss_of(model, *kinds, label_smoothing_factor=0.1)
        found.append((loss.item(), gradients(model, loss)))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    for name, each in found[0][1].items():
        assert torch.allclose(each, found[1][1][name], atol=1e-6), name


def test_outputs_stand_where_they_stood() -> None:
    batch, outputs = some_batch(), []
    for kind in (ScoresAnswersOnly, OnCpu):
        model = small_model(LlamaConfig)
        trainer: Any = type("Trainer", (kind, AddsUp), {})(model)
        trainer.args = OnCpu.args if kind is OnCpu else SimpleNamespace(device=torch.device("meta"))
        trainer.compute_loss(model, dict(batch))
        outputs.append(model(**batch, fused_lm_head=True))
    for name in ("log_probs", "entropy", "is_top1", "label_mask"):
        assert torch.allclose(getattr(outputs[0], name).float(), getattr(outputs[1], name).float(), atol=1e-6), name
    assert model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits.shape == (3, 12, 97)


def test_the_head_sees_what_is_learned_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    import trl.trainer.utils as utils

    rows: list[int] = []
    apply = utils._ChunkedLogProbFunction.apply
    watched = lambda hidden, *given: rows.append(len(hidden)) or apply(hidden, *given)  # noqa: E731
    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", SimpleNamespace(apply=watched))
    batch = some_batch()
    loss_of(small_model(LlamaConfig), OnCpu, batch=batch)
    assert rows == [int((batch["labels"][:, 1:] != -100).sum())]


def test_a_batch_with_nothing_to_learn_is_left_alone() -> None:
    batch = some_batch()
    batch["labels"][:] = -100
    model = small_model(LlamaConfig)
    trainer: Any = type("Trainer", (OnCpu, AddsUp), {})(model)
    assert trainer._answers is None
    trainer.compute_loss(model, dict(some_batch()))
    assert not model(**batch, fused_lm_head=True).log_probs.any()
