"""Machines, models and data as the advisor sees them."""

from dataclasses import replace

import pytest

from studio.advisor.data_facts import DataFacts
from studio.advisor.facts import Facts, Lengths
from studio.hardware import Gpu, Machine
from studio.memory.inventory import from_config

GIB = 2**30
NAMES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "tie_word_embeddings",
)
DIMENSIONS = {
    "135M": (576, 30, 9, 3, 1536, 49152, True),
    "3B": (2560, 36, 32, 8, 9728, 151936, True),
    "7B": (4096, 32, 32, 32, 11008, 32000, False),
    "13B": (5120, 40, 40, 40, 13824, 32000, False),
    "70B": (8192, 80, 64, 8, 28672, 128256, False),
}


def model(size):
    return from_config({"model_type": "llama", **dict(zip(NAMES, DIMENSIONS[size], strict=True))})


def machine(gpu_gib=None, capability=(8, 9)):
    gpus = () if gpu_gib is None else (Gpu(0, "card", gpu_gib * GIB, gpu_gib * GIB, capability),)
    return Machine(cpu_count=4, ram_bytes=16 * GIB, ram_free_bytes=12 * GIB, gpus=gpus)


@pytest.fixture
def facts():
    def make(size="135M", rows=300, gpu=None, capability=(8, 9), longest=180, *, has_flash_attention=False, **known):
        lengths = Lengths(mean=longest / 3, p95=longest // 2, p99=int(longest * 0.8), longest=longest)
        clean = DataFacts(was_looked_at=True, was_checked=True, duplicates=0, unclean=0, leaks=0)
        defaults = {"max_positions": 8192, "disk_free_bytes": 100 * GIB, "data": clean, "inventory": model(size)}
        here = replace(machine(gpu, capability), has_flash_attention=has_flash_attention)
        return Facts(**({"machine": here, "rows": rows, "lengths": lengths} | defaults | known))

    return make
