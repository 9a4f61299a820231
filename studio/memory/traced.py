"""What the decoder's layers keep and need by traces of the model (`trainers.tracing.trace`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.memory.inventory import Inventory
from studio.memory.layers import Mode, Profile
from studio.memory.stack import coefficients
from studio.memory.ways import compute_bytes


@dataclass(frozen=True)
class Traced:
    """Between a trace without adapters and one with adapters on every linear layer; for full training both are one."""

    inventory: Inventory
    values: Mapping[str, Any]
    least: tuple[Mode, Profile]
    most: tuple[Mode, Profile]
    share: float
    has_beside: bool = False
    is_traced: bool = True

    def kept(self, batch: int, row_tokens: int) -> float:
        return self._between("kept", batch, row_tokens)

    def forward(self, batch: int, row_tokens: int) -> float:
        return self._between("forward", batch, row_tokens) + self._eager(batch, row_tokens)

    def backward(self, batch: int, row_tokens: int) -> float:
        # The layer below it had its short copies when the trace looked for what stood before.
        return self._between("backward", batch, row_tokens) + self._eager(batch, row_tokens) + self.cached

    @property
    def cached(self) -> float:
        values = self.values
        if values["mixed_precision"] == "no" or not values["gradient_checkpointing"]:
            return 0.0
        fixed = (each.kept.fixed for each in (self.least[1], self.most[1]))
        return max(fixed)

    def no_grad(self, batch: int, row_tokens: int) -> float:
        passing = self._between("no_grad", batch, row_tokens) + self._eager(batch, row_tokens)
        # What it works on, positions and masks stand beside it.
        return passing + self._between("below", batch, row_tokens)

    def below(self, batch: int, row_tokens: int) -> float:
        return self._between("below", batch, row_tokens) + self._between("first", batch, row_tokens)

    def above(self, batch: int, row_tokens: int) -> float:
        return self._between("above", batch, row_tokens)

    def _between(self, name: str, batch: int, row_tokens: int) -> float:
        mode, profile = self.least
        least, most = (getattr(each, name).bytes_of(batch, row_tokens) for each in (profile, self.most[1]))
        values = self.values
        wanted = compute_bytes(values["dtype"], values["mixed_precision"])
        return (least + self.share * (most - least)) * wanted / compute_bytes(mode.dtype, mode.mixed_precision)

    def _eager(self, batch: int, row_tokens: int) -> float:
        """The scores of every pair, where the trace was made with another kernel."""
        if self.values["attn_implementation"] != "eager" or self.least[0].attn_implementation == "eager":
            return 0.0
        return eager_scores(self.inventory, self.values, batch, row_tokens)


def eager_scores(inventory: Inventory, values: Mapping[str, Any], batch: int, row_tokens: int) -> float:
    width = compute_bytes(values["dtype"], values["mixed_precision"])
    bytes_each = coefficients()["eager_attention_bytes"] * width / 2
    return batch * row_tokens**2 * inventory.num_heads * bytes_each
