"""What one decoder layer keeps and needs in passing, by the way it is trained: `trainers.tracing.trace` finds it out.

Profile.kept.bytes_of(batch=4, row_tokens=1024)  ->  604_569_600
"""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Mode:
    """What a layer's memory depends on, beside the model and the batch."""

    is_full: bool
    """All weights of the layer are trained; else those of the adapters only."""
    dtype: str
    """Of the weights."""
    mixed_precision: str
    attn_implementation: str
    lora_target_modules: tuple[str, ...] = ()
    lora_r: int = 0
    has_dropout: bool = False
    adapter_dtype: str = "float32"
    gradient_checkpointing: bool
    is_on_gpu: bool = True
    kbit_prep: bool = False
    """The norms are in float32 (peft's prepare_model_for_kbit_training)."""
    variant: str = ""
    """Where it is neither all weights nor LoRA nor nothing: `dora`, or the tuning's name."""
    num_virtual_tokens: int = 0

    @property
    def is_usual(self) -> bool:
        """All weights, LoRA, or no adapter at all."""
        return not self.variant

    def document(self) -> dict[str, Any]:
        told = asdict(self) | {"lora_target_modules": list(self.lora_target_modules)}
        # Traces that ship were made before there were variants.
        return {name: value for name, value in told.items() if value or name not in ("variant", "num_virtual_tokens")}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Mode":
        return cls(**document | {"lora_target_modules": tuple(document["lora_target_modules"])})


@dataclass(frozen=True)
class Size:
    """Bytes of B rows of S tokens: token x B S + pair x B S^2 + position x S + fixed + row x B."""

    token: float = 0.0
    pair: float = 0.0
    position: float = 0.0
    fixed: float = 0.0
    row: float = 0.0

    def bytes_of(self, batch: int, row_tokens: int) -> float:
        tokens = batch * row_tokens
        growing = self.token * tokens + self.pair * tokens * row_tokens + self.position * row_tokens
        return growing + self.fixed + self.row * batch

    def document(self) -> list[float]:
        told = list(astuple(self))
        return told if self.row else told[:-1]


@dataclass(frozen=True)
class Peak:
    """The largest of several sizes: which moment of a pass needs the most changes with the batch."""

    moments: tuple[Size, ...]

    def bytes_of(self, batch: int, row_tokens: int) -> float:
        return max(each.bytes_of(batch, row_tokens) for each in self.moments)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Sizes of one layer; peaks are above what stood before the layer."""

    kept: Size
    """Kept by the forward pass for the backward pass, the layer's own output included."""
    forward: Peak
    backward: Peak
    """Above what the layers below keep: its own `kept`, and its gradients, are part of it."""
    no_grad: Peak
    """A forward pass without gradients."""
    below: Size
    """Kept before the first layer: embeddings, positions, masks."""
    first: Size
    """How much more than the others the first layer keeps: less than nothing where its input needs no gradient."""
    above: Size
    """Kept by the last norm, its output included."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Profile":
        return cls(
            **{
                name: Size(*parts) if isinstance(parts[0], float) else Peak(tuple(Size(*each) for each in parts))
                for name, parts in document.items()
            }
        )

    def document(self) -> dict[str, Any]:
        """Sizes as [token, pair, position, fixed], and `row` where there is any; a peak as a list of them."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: [moment.document() for moment in value.moments] if isinstance(value, Peak) else value.document()
            for name, value in fields.items()
        }
