"""Only positions whose next token is learned go through the head, which is a fifth of a small model's work.

trl leaves out the others on a GPU and scores them all elsewhere, the question's and the padding's too. Between the
model's layers and its head the learned positions are put into one row here, and what comes out is put back:

    hidden (B, T, H), labels (B, T)  ->  hidden (1, N, H), shift_labels (1, N)  ->  log_probs (B, T-1)

The loss and its gradients stay the same (test). Where trl does it by itself nothing is done.
"""

from typing import Any

import torch

from trainers.losses.tokens import causal_model

_PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


class ScoresAnswersOnly:
    """For a trl SFT trainer."""

    _answers: "_Answers | None" = None

    def compute_loss(self, *given: Any, **named: Any) -> Any:
        if self._answers is None and self.args.device.type == "cpu":
            self._answers = _Answers(causal_model(self.model))
        return super().compute_loss(*given, **named)


class _Answers:
    """Hooks on a model with trl's head."""

    def __init__(self, model: Any) -> None:
        self._mask: torch.Tensor | None = None  # (B, T-1)
        model.register_forward_pre_hook(self._take_labels, with_kwargs=True)
        model.base_model.register_forward_hook(self._take_hidden)
        model.register_forward_hook(self._put_back)

    def _take_labels(self, model: Any, given: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        self._mask = None
        if not named.get("fused_lm_head") or named.get("labels") is None or named.get("shift_labels") is not None:
            return None
        labels = named["labels"][:, 1:]
        mask = labels != -100
        if not mask.any():
            return None
        self._mask = mask
        kept = {name: value for name, value in named.items() if name != "labels"}
        return given, kept | {"shift_labels": labels[mask][None]}

    def _take_hidden(self, backbone: Any, given: Any, outputs: Any) -> Any:
        if self._mask is not None:
            outputs.last_hidden_state = outputs.last_hidden_state[:, :-1][self._mask][None]
        return outputs

    def _put_back(self, model: Any, given: Any, outputs: Any) -> Any:
        mask, self._mask = self._mask, None
        if mask is None:
            return outputs
        for name in _PER_TOKEN:
            found = getattr(outputs, name)
            if found is not None:
                setattr(outputs, name, found.new_zeros(mask.shape).masked_scatter(mask, found))
        outputs.label_mask = mask
        return outputs
