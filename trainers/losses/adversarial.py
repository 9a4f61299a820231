"""Adversarial training on the embeddings: each batch is learned as it stands, and moved where its loss is worse.

    FGM   r = epsilon * |e| * g / |g|                (Miyato et al. 2017; g: the loss's gradient at the embeddings e)
    PGD   several steps of 2.5 * epsilon / steps, brought back into the same ball      (Madry et al. 2018, appendix)

Norms are of whole rows, so `epsilon` is a share of what a model reads, whatever the model. What is learned is the mean
of both losses, so that the rate keeps its meaning. The first step's gradient comes with the batch's own backward pass;
PGD's further ones ask for the embeddings' gradient alone. Nothing is drawn by chance. What is logged is the batch as it
stands, and the moved one's loss as `adversarial_loss`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from studio.params import adversarial
from trainers.losses.tokens import causal_model

_LEAST = 1e-12


class PerturbsEmbeddings:
    """For a transformers trainer."""

    values: Mapping[str, Any]
    _embeddings: "_Embeddings | None" = None
    _share = 1.0

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        if self._embeddings is None:
            self._embeddings = _Embeddings(causal_model(self.model).get_input_embeddings(), self.values)
        with self._embeddings.watched(inputs.get("attention_mask")):
            self._share = 0.5
            loss = super().training_step(model, dict(inputs), num_items_in_batch)
            with self._unlogged():
                self._embeddings.move()
                for _ in range(adversarial.steps(self.values) - 1):
                    self._embeddings.move(self._gradient(model, inputs, num_items_in_batch))
                moved = super().training_step(model, dict(inputs), num_items_in_batch)
        self._tell(moved / self._share)
        loss, self._share = loss / self._share, 1.0
        return loss

    def compute_loss(self, *given: Any, **named: Any) -> Any:
        return super().compute_loss(*given, **named) * self._share

    def _gradient(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any) -> torch.Tensor:
        prepared = self._prepare_inputs(dict(inputs))
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, prepared, num_items_in_batch=num_items_in_batch)
        if self.accelerator.scaler is not None:
            loss = self.accelerator.scaler.scale(loss)
        return torch.autograd.grad(loss, self._embeddings.offset)[0]

    @contextmanager
    def _unlogged(self) -> Iterator[None]:
        """trl counts tokens and averages its metrics over every pass; only the first one speaks of the batch."""
        if not hasattr(self, "_metrics"):
            yield
            return
        tokens, metrics = self._total_train_tokens, {name: list(each) for name, each in self._metrics["train"].items()}
        yield
        self._total_train_tokens = tokens
        self._metrics["train"].clear()
        self._metrics["train"].update(metrics)

    def _tell(self, loss: torch.Tensor) -> None:
        if hasattr(self, "_metrics"):
            # The loss of a batch is its part of the step's, as the batches of a step add up.
            self._metrics["train"]["adversarial_loss"].append((loss * self.current_gradient_accumulation_steps).item())


class _Embeddings:
    """What a model reads, moved by `offset` while it is watched."""

    def __init__(self, module: torch.nn.Module, values: Mapping[str, Any]) -> None:
        steps = adversarial.steps(values)
        self._radius = values["adversarial_epsilon"]
        self._stride = self._radius if steps == 1 else 2.5 * self._radius / steps
        self._is_on, self._mask = False, None
        self.offset: torch.Tensor | None = None  # (B, T, H)
        self._sizes: torch.Tensor | None = None  # (B, 1, 1)
        module.register_forward_hook(self._add)

    @contextmanager
    def watched(self, mask: torch.Tensor | None) -> Iterator[None]:
        self._is_on, self._mask, self.offset = True, mask, None
        try:
            yield
        finally:
            self._is_on, self._mask, self.offset, self._sizes = False, None, None, None

    def move(self, gradient: torch.Tensor | None = None) -> None:
        """Go one step along the gradient (without one: that of the backward pass just done), within the ball."""
        gradient = self.offset.grad if gradient is None else gradient
        direction = torch.nan_to_num(gradient.float())
        direction = direction / _norms(direction).clamp(min=_LEAST)
        offset = self.offset.detach().float() + self._stride * self._sizes * direction
        too_far = _norms(offset) / (self._radius * self._sizes).clamp(min=_LEAST)
        self.offset = (offset / too_far.clamp(min=1.0)).to(self.offset.dtype).requires_grad_()

    def _add(self, module: Any, given: Any, output: torch.Tensor) -> torch.Tensor | None:
        if not self._is_on:
            return None
        if self.offset is None:
            self._sizes = _norms(self._read(output.detach().float()))
            self.offset = torch.zeros_like(output, requires_grad=True)
        return output + self.offset

    def _read(self, embedded: torch.Tensor) -> torch.Tensor:
        """Without padding."""
        if self._mask is None or self._mask.shape != embedded.shape[:2]:
            return embedded
        return embedded * self._mask.to(embedded)[..., None]


def _norms(rows: torch.Tensor) -> torch.Tensor:
    return rows.flatten(1).norm(dim=1)[:, None, None]
