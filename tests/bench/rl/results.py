"""The results: a JSON line a run, only ever appended to."""

import json
from pathlib import Path
from typing import Any

UNTOUCHED = "untouched"
"""The model before any training."""
PEER = "trl-1.12-ppo"
"""A run of `peer_ppo`."""
RESULTS = Path(__file__).with_name("results.jsonl")


def read(path: Path = RESULTS) -> list[dict[str, Any]]:
    """Every line but one that a kill cut off."""
    lines = path.read_text("utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines[:-1] if line]


def append(line: dict[str, Any], path: Path = RESULTS) -> None:
    whole = path.read_bytes() if path.exists() else b""
    with path.open("ab") as file:
        file.write(b"" if not whole or whole.endswith(b"\n") else b"\n")
        file.write(json.dumps(line).encode() + b"\n")
