"""Noise that a model is to withstand: what really happens to a batch, and that runs with it go on as if undisturbed."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig

from studio.errors import JobFailed
from tests.trainers.losses.models import AddsUp, small_model, some_batch
from tests.trainers.resumed import assert_resumes_alike, losses_of, metric_of, rows_of, run_of
from trainers.losses.adversarial import PerturbsEmbeddings
from trainers.losses.dropout import set_attention_dropout

EPSILON = 0.2


class Steps(AddsUp):
    """What a Trainer does with a batch, and the embeddings that the model was given in each pass."""

    accelerator = SimpleNamespace(scaler=None)
    compute_loss_context_manager = staticmethod(nullcontext)
    current_gradient_accumulation_steps = 1

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        loss = self.compute_loss(model, inputs)
        loss.backward()
        return loss.detach()

    def compute_loss(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        return super().compute_loss(model, inputs)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs


def stepped(adversarial: str, **values: Any) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, torch.Tensor]]:
    """Loss, the embeddings of each pass, and the gradients of one step."""
    model, read = small_model(LlamaConfig), []
    model.base_model.layers[0].register_forward_pre_hook(lambda module, given: read.append(given[0].detach()))
    trainer = type("Trainer", (PerturbsEmbeddings, Steps), {})(
        model, adversarial=adversarial, adversarial_epsilon=EPSILON, **values
    )
    loss = trainer.training_step(model, some_batch())
    return loss, read, {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def loss_at(embedded: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and its gradients where a model reads these embeddings, by autograd alone."""
    model, batch = small_model(LlamaConfig), some_batch()
    given = {"attention_mask": batch["attention_mask"], "labels": batch["labels"]}
    loss = model(inputs_embeds=embedded, fused_lm_head=True, **given).loss
    loss.backward()
    return loss.detach(), {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize(("kind", "values", "passes"), [("fgm", {}, 2), ("pgd", {"adversarial_steps": 3}, 4)])
def test_a_batch_is_learned_as_it_stands_and_where_it_is_worse(kind: str, values: dict[str, int], passes: int) -> None:
    loss, read, gradients = stepped(kind, **values)
    assert len(read) == passes
    clean, clean_gradients = loss_at(read[0])
    worse, worse_gradients = loss_at(read[-1])
    assert loss == pytest.approx(clean.item(), abs=1e-5)
    assert worse > clean + 0.01
    # By chance the same distance does far less.
    torch.manual_seed(5)
    noise = torch.randn_like(read[0])
    size = (read[-1] - read[0]).flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    assert (worse - clean) > 3 * (loss_at(read[0] + noise * size[:, None, None])[0] - clean).abs()
    for name in worse_gradients.keys() & gradients.keys() - {"model.embed_tokens.weight"}:
        wanted = (clean_gradients[name] + worse_gradients[name]) / 2
        assert torch.allclose(gradients[name], wanted, atol=1e-6), name


@pytest.mark.parametrize(("kind", "values"), [("fgm", {}), ("pgd", {"adversarial_steps": 5})])
def test_a_row_is_moved_no_further_than_asked(kind: str, values: dict[str, int]) -> None:
    _, read, _ = stepped(kind, **values)
    mask = some_batch()["attention_mask"][..., None]
    sizes = (read[0] * mask).flatten(1).norm(dim=1)
    for moved in read[1:]:
        assert torch.all((moved - read[0]).flatten(1).norm(dim=1) <= EPSILON * sizes * 1.001)
    assert torch.allclose((read[-1] - read[0]).flatten(1).norm(dim=1), EPSILON * sizes, rtol=1e-3)
    assert not (read[-1] - read[0])[-1, -3:].any(), "padding is not moved"


def test_what_is_logged_speaks_of_the_batch_as_it_stands(tmp_path: Path, tiny: Path) -> None:
    rows = rows_of(tmp_path / "rows")
    values = {"lora_dropout": 0.0, "gradient_accumulation_steps": 2, "max_steps": 2}
    plain, moved = (
        run_of(tmp_path / kind, tiny, rows, adversarial=kind, adversarial_epsilon=0.1, **values)
        for kind in ("none", "fgm")
    )
    for name in ("loss", "num_tokens", "entropy"):
        assert metric_of(moved, name)[1] == pytest.approx(metric_of(plain, name)[1], rel=1e-4), name
    assert metric_of(moved, "adversarial_loss")[1] > losses_of(moved)[1] + 1e-3


@pytest.mark.parametrize(
    "values",
    [
        {"adversarial": "pgd", "adversarial_steps": 2, "adversarial_epsilon": 0.1, "label_smoothing_factor": 0.1},
        {"neftune_noise_alpha": 5.0, "attention_dropout": 0.1, "gradient_checkpointing": True},
    ],
    ids=["moved", "drawn"],
)
def test_a_run_with_noise_goes_on_as_if_undisturbed(tmp_path: Path, tiny: Path, values: dict[str, Any]) -> None:
    noisy = assert_resumes_alike(tmp_path, tiny, **values)
    plain = run_of(tmp_path / "plain", tiny, rows_of(tmp_path / "again"), max_steps=2)
    assert losses_of(noisy)[2] != losses_of(plain)[2]


def test_attention_dropout_is_set_where_a_family_keeps_it() -> None:
    for config, holder, name in (
        (LlamaConfig, "base_model.layers.1.self_attn", "attention_dropout"),
        (GPT2Config, "base_model.h.1.attn", "attn_dropout"),
    ):
        model = small_model(config)
        set_attention_dropout(model, 0.25)
        held = getattr(model.get_submodule(holder.replace("base_model", model.base_model_prefix)), name)
        assert (held.p if isinstance(held, torch.nn.Dropout) else held) == 0.25


def test_a_model_without_dropout_in_attention_is_refused() -> None:
    model = torch.nn.Linear(2, 2)
    model.config = SimpleNamespace(model_type="plain")
    with pytest.raises(JobFailed) as caught:
        set_attention_dropout(model, 0.1)
    assert caught.value.reason == "no_attention_dropout"
