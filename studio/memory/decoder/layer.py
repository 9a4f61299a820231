"""What decides the bytes of a decoder layer: widths, the way it is trained, and what libraries make one kernel of."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What decides the bytes of one layer; widths are bytes of a value."""

    hidden: int
    inner: int
    query: int
    """Of all heads together."""
    key: int
    heads: int
    experts: int = 1
    experts_per_token: int = 1
    has_head_norms: bool = False
    """Queries and keys are normalised."""
    scales_residual: bool = False
    """What attention and MLP give is multiplied with a number (Granite)."""
    width: int = 2
    """Of what a linear layer works on."""
    weight_width: int = 2
    norm_width: int = 2
    """Of the norms' weights: 4 after prepare_model_for_kbit_training."""
    is_trained: bool = False
    is_compressed: bool = False
    """bitsandbytes' 4 bits: a layer's answer is as wide as what it was asked, whatever it computes in."""
    targets: frozenset[str] = frozenset()
    """Linear layers with LoRA."""
    rank: int = 8
    adapter_width: int = 4
    has_dropout: bool = False
    dropout_bytes: int = 1
    """That dropout keeps of each value: a GPU a mask, a CPU the noise itself."""
    is_autocast: bool = False
    attention: str = "flash_attention_2"
    casts_compressed_wide: bool = False
    """Asked in float32, a compressed layer makes its weight float32, and autocast a short one of that."""
    has_fused_norms: bool = False
    has_fused_positions: bool = False
    has_fused_lora: bool = False
    """Around q, k and v together, and around o: nothing of the adapters is kept but their inputs."""
    has_fused_mlp: bool = False
    recomputes: str = ""
    """Checkpointing: reentrant, plain (torch's other one), or none."""
    variant: str = ""
    """dora, or a tuning that is not LoRA: ia3, ln_tuning, prompt_tuning, p_tuning, prefix_tuning, bottleneck."""
    bottleneck: int = 0
    """Width of what stands after attention and MLP."""
    virtual_tokens: int = 0
    """That a prefix puts before each row's keys and values."""

    @property
    def stream_width(self) -> int:
        """Of the residual stream: what compressed layers make of float32 norms is float32 too."""
        return max(self.weight_width, self.norm_width if self.is_compressed else 0)

    @property
    def keeps_inputs(self) -> bool:
        """Whether a norm keeps what it was given, and no copy of it."""
        return self.has_fused_norms or self.stream_width == 4
