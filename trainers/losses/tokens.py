"""Between a model and the loss of trl's SFT trainer: each answer token's log-probability, and what it was made from.

trl's head hands on a log-probability for each token and keeps no logits; the trainer adds them up. A class that is to
change the loss says what is added up instead:

    class Halves(ChangesTokens):
        def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
            return super().token_log_probs(tokens) / 2

Held-out rows are never changed: their loss stays comparable between runs.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from studio.params.terms import TERM_SHARE
from trainers.losses.shares import Shares


@dataclass(frozen=True)
class Head:
    """The last layer: hidden states to logits. Families differ in a factor, and in a bound (`softcap`) on them."""

    module: torch.nn.Linear
    scale: float
    softcap: float | None

    @classmethod
    def of(cls, model: Any) -> "Head":
        config = model.config.get_text_config()
        return cls(model.get_output_embeddings(), _scale(config), getattr(config, "final_logit_softcapping", None))

    def bounded(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits as the model says them, from hidden states times weights (and bias)."""
        logits = logits * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


@dataclass(frozen=True)
class Tokens:
    """A batch after its forward pass; position t of a row speaks of the row's token t + 1."""

    log_probs: torch.Tensor  # (B, T-1), zero where nothing is learned
    mask: torch.Tensor  # (B, T-1), where something is learned
    entropy: torch.Tensor  # (B, T-1)
    input_ids: torch.Tensor  # (B, T)
    hidden: torch.Tensor | None  # (B, T-1, H); None unless a mixin `sees_hidden`
    labels: torch.Tensor | None  # (B, T-1)
    head: Head

    @cached_property
    def answer_hidden(self) -> torch.Tensor:  # (N, H), N answer tokens
        return self.hidden[self.mask]

    @cached_property
    def answer_labels(self) -> torch.Tensor:  # (N,)
        return self.labels[self.mask]

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """(N,) -> (B, T-1), zero where nothing is learned."""
        return torch.zeros_like(self.log_probs).masked_scatter(self.mask, values.to(self.log_probs.dtype))


class ChangesTokens:
    """For a trl SFT trainer, mixed in before it."""

    sees_hidden = False
    """Whether `Tokens.hidden` and `Tokens.labels` are needed."""
    tells_terms = False
    """Whether the shares of terms in the loss are logged."""
    _watch: "_Watch | None" = None
    _shares: Shares | None = None

    def token_log_probs(self, tokens: Tokens) -> torch.Tensor:
        """What is added up, negated, instead of the answer's log-probabilities."""
        return tokens.log_probs  # (B, T-1)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        if self._watch is None:
            self._watch = _Watch(causal_model(self.model), hidden=self.sees_hidden)
        if not self.model.training:
            return super().compute_loss(model, inputs, *given, **named)
        return super().compute_loss(_Changed(model, self), inputs, *given, **named)

    def tell(self, term: str, values: torch.Tensor) -> None:
        """Note what a term adds to the loss of this batch; `values` (B, T-1) are what it adds for each token.

        The term without a name is the log-likelihood itself.
        """
        self._shares = self._shares or Shares()
        self._shares.add(term and f"{TERM_SHARE}{term}", values.detach().sum().item())

    def log(self, logs: dict[str, float], *given: Any, **named: Any) -> None:
        told = self._shares.take() if self._shares and "loss" in logs else {}
        super().log(logs | told, *given, **named)


class _Changed:
    """A model whose log-probabilities are what a trainer's `token_log_probs` makes of them."""

    def __init__(self, model: Any, trainer: ChangesTokens) -> None:
        self._model, self._trainer = model, trainer

    def __call__(self, *given: Any, **named: Any) -> Any:
        outputs = self._model(*given, **named)
        if self._trainer.tells_terms:
            self._trainer.tell("", outputs.log_probs)
        outputs.log_probs = self._trainer.token_log_probs(self._trainer._watch.tokens(outputs, named["input_ids"]))
        return outputs


class _Watch:
    """Keeps what a forward pass of the model below any adapter was given and made, until it is taken.

    Only there do labels and hidden states fit together: prompt learning puts tokens before both.
    """

    def __init__(self, model: Any, *, hidden: bool) -> None:
        self._model = model
        self._labels: torch.Tensor | None = None
        self._hidden: torch.Tensor | None = None
        if hidden:
            model.register_forward_pre_hook(self._keep_labels, with_kwargs=True)
            model.base_model.register_forward_hook(self._keep_hidden)

    def tokens(self, outputs: Any, input_ids: torch.Tensor) -> Tokens:
        hidden, labels = self._hidden, self._labels
        self._hidden = self._labels = None
        return Tokens(
            log_probs=outputs.log_probs,
            mask=outputs.label_mask,
            entropy=outputs.entropy,
            input_ids=input_ids,
            hidden=None if hidden is None else hidden[:, :-1],
            labels=None if labels is None else labels[:, 1:],
            head=Head.of(self._model),
        )

    def _keep_labels(self, model: Any, given: Any, named: dict[str, Any]) -> None:
        self._labels = named.get("labels")

    def _keep_hidden(self, model: Any, given: Any, outputs: Any) -> None:
        if model.training:
            self._hidden = outputs.last_hidden_state


def causal_model(model: Any) -> Any:
    """The language model itself, below any adapter."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _scale(config: Any) -> float:
    """The factor on the logits, which families call by different names (as in trl's `add_fused_lm_head`)."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    divisor = getattr(config, "logits_scaling", None)
    if divisor is None:
        return 1.0
    return divisor if config.model_type == "hyperclovax" else 1 / divisor
