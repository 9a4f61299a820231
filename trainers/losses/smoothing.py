"""Label smoothing: the right token gets 1 - e of the target, all tokens share the rest (Szegedy et al. 2016, 7).

    loss = (1 - e) * -log p(target) + e * mean over the vocabulary of -log p(token)
         = -log p(target) + e * (logit(target) - mean logit)

Since logits are linear in the hidden state, their mean is the hidden state times the mean row of the head: the smoothed
loss needs one more row a token and no logits at all. Where the head bounds its logits they are made a few tokens at a
time. transformers' `LabelSmoother` gives the same loss from the full logits (test).
"""

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from trainers.losses.tokens import ChangesTokens, Head, Tokens

CHUNK = 128
"""Tokens whose logits are there at once, where they have to be made."""


class SmoothsLabels(ChangesTokens):
    sees_hidden = True
    values: dict[str, Any]
    _mean_row: torch.Tensor | None = None

    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        above_mean = self._above_mean(tokens.head, tokens.answer_hidden, tokens.answer_labels)
        factor = self.values["label_smoothing_factor"]
        return super().token_log_probs(tokens) - factor * tokens.spread(above_mean)

    def _above_mean(self, head: Head, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """How far each label's logit lies above the mean logit, (N,)."""
        if head.softcap is not None:
            return _above_mean_by_logits(head, hidden, labels)
        weight, bias = head.module.weight, head.module.bias
        rows = weight[labels] - self._mean_of(weight)  # (N, H)
        above = (hidden * rows).sum(-1, dtype=torch.float32)
        return head.scale * (above if bias is None else above + (bias[labels] - bias.mean()).float())

    def _mean_of(self, weight: torch.Tensor) -> torch.Tensor:
        if weight.requires_grad:
            return weight.mean(0)
        if self._mean_row is None:
            self._mean_row = weight.mean(0, dtype=torch.float32).to(weight.dtype)
        return self._mean_row


def _above_mean_by_logits(head: Head, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    parts = zip(hidden.split(CHUNK), labels.split(CHUNK), strict=True)
    found = [checkpoint(_above_mean_of_chunk, head, *part, use_reentrant=False) for part in parts]
    return torch.cat(found) if found else hidden.new_zeros(0, dtype=torch.float32)


def _above_mean_of_chunk(head: Head, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = head.bounded(head.module(hidden).float())  # (n, V)
    return logits.gather(-1, labels[:, None])[:, 0] - logits.mean(-1)
