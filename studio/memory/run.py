"""One configuration of a run, and what follows from it before anything is counted: batch, layers, head."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from studio.memory.activations import Layers, layers_of
from studio.memory.adapters import Trained, trained, virtual_tokens
from studio.memory.inventory import Inventory
from studio.memory.losses import Head, Scored, head_of
from studio.memory.methods import Batch, Method, asks_reference, batch_of, scores_old_answers
from studio.memory.stack import Stack
from studio.memory.ways import compute_bytes


@dataclass(frozen=True)
class Configured:
    """A model, settings, data and libraries as a trainer has them."""

    inventory: Inventory
    values: Mapping[str, Any]
    longest_row: int
    stack: Stack
    device: str
    method: Method

    @classmethod
    def of(
        cls,
        inventory: Inventory,
        values: Mapping[str, Any],
        longest_row: int,
        *,
        stack: Stack,
        device: str,
        method: Method,
    ) -> Self:
        """As the method's trainer has it: dropout off where it switches it off, a reward model without a vocabulary."""
        if method.disables_dropout and values.get("disable_dropout", True):
            values = {**values, "lora_dropout": 0.0}
        if device == "cpu" and values.get("attention_dropout"):  # then torch keeps every pair of positions there
            values = {**values, "attn_implementation": "eager"}
        if method.prepares_kbit and values["tuning"] == "qlora":
            stack = replace(stack, kbit_prep=True)
        inventory = inventory if method.has_head else inventory.without_head()
        return cls(inventory, values, longest_row, stack, device, method)

    @cached_property
    def batch(self) -> Batch:
        found = self._batch_of(self.values["per_device_train_batch_size"])
        if not self.values.get("padding_free") or self.values["attn_implementation"] == "flash_attention_2":
            return found
        # Rows behind each other are one long row to these kernels: pairs of all their tokens, masked.
        return replace(found, rows=1, row_tokens=found.tokens, scored_tokens=found.scored)

    @property
    def evaluation_batch(self) -> Batch:
        return self._batch_of(self.values["per_device_eval_batch_size"])

    def _batch_of(self, size: int) -> Batch:
        found = batch_of(self.method, self.values, self.longest_row, size=size)
        more = virtual_tokens(self.values)
        return replace(found, row_tokens=found.row_tokens + more, scored_tokens=found.scored_tokens + more)

    @property
    def is_full(self) -> bool:
        return self.values["tuning"] == "full"

    @property
    def scores_beforehand(self) -> bool:
        """Log-probabilities are computed without activations of a training pass."""
        if self.method.generates:
            return asks_reference(self.method, self.values) or scores_old_answers(self.method, self.values)
        return self.method.reference is not None and not asks_reference(self.method, self.values)

    @property
    def width(self) -> int:
        """Bytes of one activation."""
        return compute_bytes(self.values["dtype"], self.values["mixed_precision"])

    @cached_property
    def layers(self) -> Layers:
        return layers_of(self.inventory, self.values, stack=self.stack, device=self.device)

    @cached_property
    def trained(self) -> Trained:
        found = trained(self.inventory, self.values, self.stack)
        # What scores a whole row is trained whatever the tuning.
        scores = 0 if self.method.has_head else self.inventory.hidden_size
        return replace(found, parameters=found.parameters + scores)

    @property
    def balances_experts(self) -> bool:
        """Whether a second loss reads the scores that every layer gave its experts."""
        return self.method.balances_experts and self.inventory.balances_experts and self.stack.balances_experts

    @cached_property
    def head(self) -> Head:
        # A head that is tied to the embedding gets its gradient too.
        scored = Scored.of(self.inventory, self.values, self.device, is_trained=self.is_full)
        return head_of(self.method, scored, self.stack)
