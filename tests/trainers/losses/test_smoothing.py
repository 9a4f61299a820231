"""Label smoothing without logits gives what transformers' own gives from all of them: loss and gradients."""

from pathlib import Path

import pytest
import torch
from transformers import CohereConfig, Gemma2Config, GraniteConfig, LlamaConfig, PhiConfig
from transformers.trainer_pt_utils import LabelSmoother

from tests.trainers.jobs import SFT
from tests.trainers.losses.models import gradients, loss_of, small_model, some_batch
from trainers.losses.kinds import mixins
from trainers.losses.smoothing import SmoothsLabels

FACTOR = 0.1
FAMILIES = {
    "plain": (LlamaConfig, {}),
    "tied": (LlamaConfig, {"tie_word_embeddings": True}),
    "head with bias": (PhiConfig, {}),
    "logits divided": (GraniteConfig, {"logits_scaling": 4.0}),
    "logits multiplied": (CohereConfig, {"logit_scale": 0.25}),
    "logits bounded": (Gemma2Config, {"final_logit_softcapping": 5.0, "head_dim": 16}),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("trains_head", [True, False])
def test_loss_and_gradients_are_those_of_all_logits(family: str, trains_head: bool) -> None:
    kind, changes = FAMILIES[family]
    model = small_model(kind, **changes)
    model.get_output_embeddings().requires_grad_(trains_head)
    own = loss_of(model, SmoothsLabels, label_smoothing_factor=FACTOR)
    batch = some_batch()
    logits = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    theirs = LabelSmoother(epsilon=FACTOR)({"logits": logits}, batch["labels"], shift_labels=True)
    plain = loss_of(model)
    assert own.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert abs(own.item() - plain.item()) > 1e-3
    found, wanted = gradients(model, own), gradients(model, theirs)
    assert found.keys() == wanted.keys()
    for name, each in wanted.items():
        assert torch.allclose(found[name], each, atol=1e-5, rtol=1e-4), name


def test_held_out_rows_are_judged_without_it() -> None:
    model = small_model(LlamaConfig).eval()
    with torch.no_grad():
        assert loss_of(model, SmoothsLabels, label_smoothing_factor=FACTOR) == loss_of(model)


# peft asks a model by a name that this transformers announces to rename.
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_starter_model_with_an_adapter(starter: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    base = AutoModelForCausalLM.from_pretrained(starter, dtype=torch.float32)
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.0)).train()
    batch = some_batch(vocabulary=base.config.vocab_size)
    own = loss_of(model, SmoothsLabels, batch=batch, label_smoothing_factor=FACTOR)
    logits = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    theirs = LabelSmoother(epsilon=FACTOR)({"logits": logits}, batch["labels"], shift_labels=True)
    assert own.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_who_does_not_ask_for_it_gets_nothing() -> None:
    assert mixins(SFT | {"label_smoothing_factor": 0.0}) == mixins(SFT)
    assert mixins(SFT | {"label_smoothing_factor": 0.1}) == (SmoothsLabels, *mixins(SFT))
