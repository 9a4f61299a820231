"""One pass with rows made of primes tells the same of every batch as four passes at plain sizes."""

from typing import Any

import numpy
import pytest
import torch
from torch._subclasses import FakeTensorMode

from studio.memory.layers import Mode
from tests.trainers.test_trace import config_of
from trainers.tracing import trace as tracing
from trainers.tracing.storages import Storages, Terms, Uneven
from trainers.tracing.trace import trace

# What transformers and peft say of one another.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{name}") for name in ("FutureWarning", "UserWarning")]

ROWS, TOKENS = 113, 8 * 127
USUAL = {"dtype": "bfloat16", "mixed_precision": "bf16", "attn_implementation": "sdpa"}
LORA = {"is_full": False, "lora_target_modules": ("all-linear",), "lora_r": 8}


def terms_of(*shape: int, dtype: torch.dtype = torch.float32) -> list[float]:
    with FakeTensorMode(), Terms(ROWS, TOKENS) as terms:
        kept = torch.empty(*shape, dtype=dtype)
        assert kept.shape == shape
        return terms.alive.tolist()


@pytest.mark.parametrize(
    ("shape", "terms"),
    [
        ((ROWS, TOKENS, 96), [384, 0, 0, 0]),
        ((ROWS, 4, TOKENS, TOKENS), [0, 16, 0, 0]),
        ((TOKENS, TOKENS), [0, 4, 0, 0]),
        ((TOKENS, 64), [0, 0, 256, 0]),
        ((96, 64), [0, 0, 0, 24576]),
        ((0,), [0, 0, 0, 0]),
    ],
)
def test_a_storage_counts_by_what_it_grows_with(shape: tuple[int, ...], terms: list[float]) -> None:
    assert terms_of(*shape) == terms


def test_a_number_for_each_row_counts_little() -> None:
    token, *others = terms_of(ROWS, dtype=torch.int64)
    assert others == [0, 0, 0] and 0 < token * TOKENS < 100


def test_what_grows_much_with_rows_alone_is_told() -> None:
    with pytest.raises(Uneven):
        terms_of(ROWS, TOKENS - 12, 128)


def test_what_is_gone_does_not_count() -> None:
    with FakeTensorMode(), Terms(ROWS, TOKENS) as terms:
        kept = torch.empty(ROWS, TOKENS, 2)
        kept = kept.sum(2)
        assert terms.alive.tolist() == [4, 0, 0, 0] and kept.shape == (ROWS, TOKENS)
        assert [moment.tolist() for moment in terms.moments] == [[8, 0, 0, 0], [12, 0, 0, 0]]


@pytest.mark.parametrize(
    ("family", "way"),
    [
        ("qwen3", {"is_full": True, "gradient_checkpointing": False}),
        *(
            pytest.param(family, way | {"gradient_checkpointing": recomputes}, marks=pytest.mark.slow)
            for family in ("llama", "gemma3_text", "gpt2", "gpt_neox", "phi3")
            for way in (LORA, {"is_full": True}, LORA | {"variant": "dora"})
            for recomputes in (True, False)
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(f"{name}={each}" for name, each in value.items()),
)
def test_one_pass_tells_what_four_do(family: str, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mode = Mode(**USUAL | way)
    once = trace(config_of(family), mode)

    def uneven(*_: Any) -> tuple[int, int]:
        raise Uneven

    monkeypatch.setattr(tracing, "_telling", uneven)
    solved = trace(config_of(family), mode)
    for name in ("kept", "forward", "backward", "no_grad", "below", "first", "above"):
        for batch, row in ((1, 1024), (2, 2048), (1, 2048)):
            sizes = [getattr(each, name).bytes_of(batch, row) for each in (once, solved)]
            assert numpy.isclose(*sizes, rtol=1e-4, atol=512), (name, batch, row, sizes)


def test_storages_count_bytes() -> None:
    with Storages() as storages:
        kept = torch.zeros(3, 5)
        assert storages.alive == kept.nbytes == 60
