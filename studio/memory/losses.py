"""What the model's head and the loss keep and need on top of the layers, by loss kernel.

    head_of(...).backward(4096)  ->  bytes, the most while the loss is computed and its gradient goes back to the layers

Three ways stand side by side: trl's chunked head (no scores of the whole vocabulary at once), full logits (as others
measured them, or as trl's selected log-probabilities need them), and a head of one number a token.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from studio.memory.inventory import Inventory
from studio.memory.methods import Method
from studio.memory.stack import Stack
from studio.memory.ways import DTYPE_BYTES, compute_bytes


class Head(Protocol):
    """Bytes above what the model's last norm keeps, for a number of scored tokens."""

    drops_hidden: bool
    """The norm's own output is gone once the scores are there."""

    def kept(self, tokens: int) -> float:
        """By the forward pass, until the loss goes back."""

    def forward(self, tokens: int) -> float:
        """The most during the forward pass; what it keeps is part of it."""

    def backward(self, tokens: int) -> float:
        """The most while the loss goes back; what the forward pass kept, and gradients of the head, are part of it."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a head works on."""

    hidden_size: int
    vocab_size: int
    compute_bytes: int
    """Of a hidden value when it is multiplied."""
    weight_bytes: int
    """Of a weight of the head."""
    is_trained: bool
    """The head's weights get a gradient."""
    is_on_gpu: bool
    casts_logits: bool = False
    """Mixed precision: accelerate hands the logits out in float32."""

    @classmethod
    def of(cls, inventory: Inventory, values: Mapping[str, Any], device: str, *, is_trained: bool) -> "Scored":
        return cls(
            hidden_size=inventory.hidden_size,
            vocab_size=inventory.vocab_size,
            compute_bytes=compute_bytes(values["dtype"], values["mixed_precision"]),
            weight_bytes=DTYPE_BYTES[values["dtype"]],
            is_trained=is_trained,
            is_on_gpu=device != "cpu",
            casts_logits=values["mixed_precision"] != "no",
        )


def head_of(method: Method, scored: Scored, stack: Stack) -> Head:
    if not method.has_head:
        return OneNumber(scored)
    if method.builds_logits:
        return SelectedLogits(scored, stack.rules(method.name))
    if method.name not in ("sft", "pretrain") and stack.kernel == "plain":
        return SelectedLogits(scored, stack.rules("selected"))
    if stack.kernel == "chunked":
        return Chunked(scored, stack.loss(), counts_right=method.counts_right)
    return (FusedLinear if stack.kernel == "liger" else FullLogits)(scored, stack.loss())


@dataclass(frozen=True)
class Chunked:
    """trl's fused head: tiles of tokens by vocabulary, gradients of hidden states and head summed up in float32."""

    scored: Scored
    rules: Mapping[str, Any]
    drops_hidden: bool = True
    counts_right: bool = False

    def kept(self, tokens: int) -> float:
        """A copy of the hidden states, targets (8 bytes), and the sums that normalise each token."""
        return tokens * (self.scored.hidden_size * self.scored.compute_bytes + self.rules["sums_bytes"])

    def forward(self, tokens: int) -> float:
        size = self.kept(tokens) + tokens * self.rules["running_bytes"] + self._tile(tokens)
        return size + self._cells(tokens) * self._tile_copies("forward")

    def backward(self, tokens: int) -> float:
        hidden = tokens * self.scored.hidden_size
        size = self.kept(tokens) + 4 * hidden + self._tile(tokens)
        if self.scored.is_trained:
            size += 4 * self.scored.hidden_size * self.scored.vocab_size
        return size + max(self._cells(tokens) * self._tile_copies("backward"), self._converted(hidden))

    def _tile(self, tokens: int) -> float:
        """The buffer of scores, as wide as a tile may be; and, under autocast, the weights that it is made with."""
        tile, scored = self.rules["tile"], self.scored
        size = min(tokens, tile["tokens"]) * tile["width"] * scored.compute_bytes
        if scored.weight_bytes > scored.compute_bytes:
            size += min(tile["width"], scored.vocab_size) * scored.hidden_size * scored.compute_bytes
        return size

    def _cells(self, tokens: int) -> int:
        tile = self.rules["tile"]
        return min(tokens, tile["tokens"]) * min(self.scored.vocab_size, tile["width"])

    def _tile_copies(self, way: str) -> float:
        """Without Triton a tile has float32 copies beside it."""
        if self.scored.is_on_gpu:
            return 0
        rules = self.rules["tile"]["bytes_on_cpu"]
        return rules[way] + (rules["right"] if self.counts_right and way == "forward" else 0)

    def _converted(self, hidden: int) -> float:
        """The summed gradients in the dtype of what they belong to, while the sums are still there."""
        scored = self.scored
        size = hidden * scored.compute_bytes if scored.compute_bytes < 4 else 0
        if scored.is_trained and scored.weight_bytes < 4:
            size += scored.hidden_size * scored.vocab_size * scored.weight_bytes
        return size


@dataclass(frozen=True)
class FullLogits:
    """The model's own loss on all scores at once; its peak is on the way there."""

    scored: Scored
    rules: Mapping[str, Any]
    drops_hidden: bool = False

    def kept(self, tokens: int) -> float:
        return self._scores(tokens, floats=1, short=0)

    def forward(self, tokens: int) -> float:
        return self._scores(tokens, **self.rules["logits"])

    def backward(self, tokens: int) -> float:
        return self.forward(tokens)

    def _scores(self, tokens: int, *, floats: float, short: float) -> float:
        # Scores that are float32 themselves are not copied.
        width = self.scored.compute_bytes
        return tokens * self.scored.vocab_size * (4 * floats + (width * short if width < 4 else 0))


@dataclass(frozen=True)
class FusedLinear:
    """Liger's: scores a few tokens at a time, gradients of hidden states and head made on the way there."""

    scored: Scored
    rules: Mapping[str, Any]
    drops_hidden: bool = False

    def kept(self, tokens: int) -> float:
        scored = self.scored
        head = scored.hidden_size * scored.vocab_size * scored.weight_bytes if scored.is_trained else 0
        return tokens * scored.hidden_size * scored.compute_bytes + head

    def forward(self, tokens: int) -> float:
        """What is kept, the shifted hidden states, and one chunk's scores."""
        scored = self.scored
        parts = math.ceil(scored.vocab_size / scored.hidden_size)
        chunk = 2 ** math.ceil(math.log2(max(1, math.ceil(tokens / parts))))
        shifted = tokens * scored.hidden_size * scored.compute_bytes
        return self.kept(tokens) + shifted + chunk * scored.vocab_size * self.rules["chunk"]["bytes"]

    def backward(self, tokens: int) -> float:
        return self.forward(tokens)


@dataclass(frozen=True)
class SelectedLogits:
    """All logits, and of them the log-probability of each token that is there (trl: selective_log_softmax).

    The rules count scores of the whole batch, in the dtype that the trainer gets them in.
    """

    scored: Scored
    rules: Mapping[str, Any]

    @property
    def drops_hidden(self) -> bool:
        return not self.scored.is_trained

    def kept(self, tokens: int) -> float:
        return self._logits(tokens) * self._counts["kept"]

    def forward(self, tokens: int) -> float:
        return self._logits(tokens) * self._counts["forward"]

    def backward(self, tokens: int) -> float:
        return self._logits(tokens) * self._counts["backward"]

    @property
    def _counts(self) -> Mapping[str, float]:
        return self.rules["logits"]["cuda" if self.scored.is_on_gpu else "cpu"]

    def _logits(self, tokens: int) -> float:
        width = 4 if self.scored.casts_logits else self.scored.compute_bytes
        return tokens * self.scored.vocab_size * width


@dataclass(frozen=True)
class OneNumber:
    """A reward model's head: one number a token, and the gradient of the hidden states on the way back."""

    scored: Scored
    drops_hidden: bool = False

    def kept(self, tokens: int) -> float:
        return 4.0 * tokens

    def forward(self, tokens: int) -> float:
        return self.kept(tokens)

    def backward(self, tokens: int) -> float:
        return self.kept(tokens) + tokens * self.scored.hidden_size * self.scored.compute_bytes
