"""Rows of a training batch in one sequence, one behind the other, so that nothing is computed for padding.

    rows [1 2 3] [4 5], padded  ->  [1 2 3] [4 5 0]          joined  ->  [1 2 3 4 5], positions [0 1 2 0 1]

Where positions begin anew, transformers begins a row of its own: no token sees another row, and loss and gradients are
those of the padded batch (test). Models with code of their own may not look at the positions; `keeps_rows_apart` tries
it out before a run relies on it. Held-out rows stay padded: their loss is a mean over batches, weighted by rows.
"""

from typing import Any

import torch

from trainers.attempt import Attempt

TOLERANCE = 1e-2
"""Of the largest logit; rows that see each other differ by its whole size, and half the digits of bfloat16 by less."""


class JoinsRows:
    """For a trl SFT trainer, mixed in before whatever else looks at its batches."""

    def get_train_dataloader(self) -> Any:
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

        own = self.data_collator
        self.data_collator = DataCollatorForLanguageModeling(own.pad_token_id, padding_free=True)
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = own


def mixins(attempt: Attempt, model: Any) -> tuple[type, ...]:
    """What joins the rows, where the run asks for it and the model keeps them apart; else they are padded, and told."""
    if not attempt.spec.values.get("padding_free"):
        return ()
    if keeps_rows_apart(model):
        return (JoinsRows,)
    attempt.alert("rows_not_joined", "info")
    return ()


def keeps_rows_apart(model: Any) -> bool:
    """Whether a model answers for two rows in one sequence as it does for each of them."""
    short, long = torch.arange(8, 12, device=model.device), torch.arange(20, 27, device=model.device)
    places = [torch.arange(len(row), device=model.device) for row in (short, long)]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            apart = [model(input_ids=row[None], use_cache=False).logits[0] for row in (short, long)]
            together = model(
                input_ids=torch.cat([short, long])[None], position_ids=torch.cat(places)[None], use_cache=False
            ).logits[0]
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError, NotImplementedError):
        return False
    finally:
        model.train(was_training)
    expected = torch.cat(apart)  # (short + long, V)
    return bool((together - expected).abs().max() <= TOLERANCE * expected.abs().max())
