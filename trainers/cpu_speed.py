"""What this processor multiplies faster, float32 or bfloat16: `python -m trainers.cpu_speed` prints both as JSON.

    {"float32": 61.2, "bfloat16": 14.9}       thousand million multiplications and additions a second

Sizes are those of a small model's layers. Processors without bfloat16 instructions convert each number back and forth.
"""

import json
import sys
import time

import torch

ROWS, WIDTH, DEEP = 512, 576, 1536
SECONDS = 1.0


def main() -> None:
    sys.stdout.write(json.dumps({name: round(speed(name), 2) for name in ("float32", "bfloat16")}))


def speed(dtype: str) -> float:
    """Forward and backward through one layer, again and again."""
    kind = getattr(torch, dtype)
    rows = torch.randn(ROWS, WIDTH).to(kind).requires_grad_()
    weight = torch.randn(DEEP, WIDTH).to(kind)
    _pass(rows, weight)
    passes, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        _pass(rows, weight)
        passes += 1
    return 2 * passes * ROWS * WIDTH * DEEP / (time.perf_counter() - began) / 1e9


def _pass(rows: torch.Tensor, weight: torch.Tensor) -> None:
    (rows @ weight.T).sum().backward()


if __name__ == "__main__":
    main()
