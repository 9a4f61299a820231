"""What of a run decides how much memory it takes, so that two runs can be compared.

    LoRA r 8, 4 rows of 512 tokens  <=  LoRA r 16, 8 rows of 512 tokens        all else alike
    LoRA r 8, 4 rows of 512 tokens  ?   LoRA r 8, 8 rows of 256 tokens         neither is smaller

The order is partial: everything that is no size must be the same, and no size may be larger.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

NEUTRAL = frozenset(
    {
        "run_name",
        "goal",
        "dataset",
        "intention",
        "num_train_epochs",
        "max_steps",
        "learning_rate",
        "lr_scheduler_type",
        "warmup_ratio",
        "curriculum",
        "lora_alpha",
        "weight_decay",
        "max_grad_norm",
        "eval_steps",
        "save_steps",
        "save_total_limit",
        "retry_smaller",
        "early_stopping_patience",
        "logging_steps",
        "seed",
        "padding_free",
        "reasoning",
    }
)
"""Settings that take no memory, and `padding_free`, which is filled in after the search for settings that fit and only
where rows are too short for it to matter: a run that ran out of memory with it stands for the same one without.

One that is neither here nor a size counts as deciding: a new one errs safely."""
_COUNTED = frozenset(
    {
        "model_name_or_path",
        "max_length",
        "validation_split",
        "lora_r",
        "lora_dropout",
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
        "gradient_accumulation_steps",
    }
)
"""Settings that become a size, or part of one."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    rows: int
    """Of a device batch; 0 where the run never came to one."""
    tokens: int
    """Of the longest row."""
    rank: int
    """0 without an adapter."""
    accumulates: bool
    """Gradients stay while the next batch is worked on."""
    eval_rows: int
    """0 without validation."""
    eval_tokens: int

    def fits_in(self, other: "Sizes") -> bool:
        return all(getattr(self, name) <= getattr(other, name) for name in self.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    model: str
    """Content hash."""
    alike: tuple[tuple[str, Any], ...]
    """Name and value of every setting that must be the same, sorted by name."""
    sizes: Sizes

    def __le__(self, other: "Configuration") -> bool:
        """Whether this one can take no more memory than the other."""
        return (self.model, self.alike) == (other.model, other.alike) and self.sizes.fits_in(other.sizes)

    @cached_property
    def family(self) -> tuple[Any, ...]:
        """Runs of one family are computed alike, whatever their model and sizes."""
        known = dict(self.alike)
        return tuple(known.get(name) for name in ("method", "tuning", "gradient_checkpointing", "dtype"))

    def with_sizes(self, **sizes: Any) -> "Configuration":
        return replace(self, sizes=replace(self.sizes, **sizes))


def configuration_of(model: str, values: Mapping[str, Any], row_tokens: int) -> Configuration:
    """
    Args:
        model: content hash.
        values: checked values of a parameter table.
        row_tokens: of the longest row after cutting and packing (`Shapes.row_tokens`).
    """
    alike = {name: _frozen(value) for name, value in values.items() if name not in NEUTRAL | _COUNTED}
    # A mask is kept wherever there is any dropout.
    alike["has_dropout"] = bool(values.get("lora_dropout"))
    validates = values.get("validation_split", 0) > 0
    sizes = Sizes(
        rows=values["per_device_train_batch_size"],
        tokens=row_tokens,
        rank=values.get("lora_r") or 0,
        accumulates=values.get("gradient_accumulation_steps", 1) > 1,
        eval_rows=values["per_device_eval_batch_size"] if validates else 0,
        eval_tokens=row_tokens if validates else 0,
    )
    return Configuration(model=model, alike=tuple(sorted(alike.items())), sizes=sizes)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
