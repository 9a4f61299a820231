"""Jobs for the trainers' tests: data set versions, specs, and the processes that production would start."""

import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from studio.errors import JobFailed
from studio.paths import PROJECT_ROOT
from studio.protocol import (
    CONTROL,
    SPEC,
    CheckpointRef,
    Control,
    DatasetRef,
    Event,
    ModelRef,
    Result,
    Spec,
    read_events,
    read_result,
    read_spec,
)
from studio.protocol import write_struct as write
from trainers.attempt import Attempt

SHAPES = {"messages": "messages", "text": "text", "input_ids": "tokens", "chosen": "preference", "label": "unpaired"}
TOKENIZER = "tokenizer.json"
TOKENIZER_FILES = ("tokenizer_config.json", "chat_template.jinja")
ALL_TOKENS, FIRST_TOKENS = 49_152, 6_144
"""The starter's tokens, and those of the tiny model: all of them cost a quarter of the time of a short run."""
SFT = {
    "method": "sft",
    "tuning": "lora",
    "num_train_epochs": 1.0,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.0,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "per_device_eval_batch_size": 4,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "optim": "adamw_torch_fused",
    "gradient_checkpointing": False,
    "dtype": "float32",
    "mixed_precision": "no",
    "attn_implementation": "sdpa",
    "validation_split": 0.0,
    "eval_steps": 50,
    "save_steps": 2,
    "logging_steps": 1,
    "seed": 42,
    "max_length": 128,
    "packing": False,
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.05,
    "lora_target_modules": ["all-linear"],
}


def write_tiny_model(folder: Path, starter: Path, *, vocabulary: int = FIRST_TOKENS) -> Path:
    """A random Llama of two layers with the first tokens of the starter model; returns its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir()
    for name in TOKENIZER_FILES:
        shutil.copyfile(starter / name, folder / name)
    tokenizer = first_tokens(read_json(starter / TOKENIZER), vocabulary)
    (folder / TOKENIZER).write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def first_tokens(tokenizer: dict[str, Any], count: int) -> dict[str, Any]:
    """A byte-level BPE tokenizer's file cut to its first tokens; they keep their numbers, which are in merge order."""
    whole = tokenizer["model"]["vocab"]
    kept = {token: number for token, number in whole.items() if number < count}
    merges = [pair for pair in tokenizer["model"]["merges"] if "".join(pair) in kept]
    return tokenizer | {"model": tokenizer["model"] | {"vocab": kept, "merges": merges}}


def write_dataset(folder: Path, rows: list[dict[str, Any]]) -> DatasetRef:
    """A data set version of rows of any format that is trained on, told by their keys."""
    folder.mkdir(parents=True)
    numbered = [{"row": i, **row} for i, row in enumerate(rows, 1)]
    pq.write_table(pa.Table.from_pylist(numbered), folder / "rows.parquet")
    shape = next((name for key, name in SHAPES.items() if key in rows[0]), "prompt_completion")
    splits = Counter(row["split"] for row in rows if row.get("split"))
    return DatasetRef(
        name="data", version=1, path=str(folder), content_hash="", format=shape, rows=len(rows), splits=dict(splits)
    )


def write_spec(job: Path, *, attempt: int = 1, kind: str = "train", **fields: Any) -> Path:
    """Lay out `attempts/<n>/spec.json` of a job folder; returns the attempt's folder."""
    folder = job / "attempts" / str(attempt)
    folder.mkdir(parents=True)
    fields = {
        "threads": 1,
        "values": {},
        "checkpoints_path": str(job / "checkpoints"),
        "output_path": str(job / "output"),
    } | fields
    write(folder / SPEC, Spec(job_id=1, attempt=attempt, kind=kind, **fields))
    return folder


def model_ref(path: Path) -> ModelRef:
    return ModelRef(name=path.name, path=str(path), content_hash="")


def start(module: str, folder: Path, **environment: str) -> subprocess.Popen:
    with (folder / "train.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            cwd=PROJECT_ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )


def run(module: str, folder: Path, **environment: str) -> Result:
    """Run an attempt to its end; a missing result shows the log."""
    process = start(module, folder, **environment)
    process.wait(240)
    return result_of(folder)


def run_here(main: Callable[[Attempt], dict[str, Any]], folder: Path) -> Result:
    """The attempt in this process, which saves the seconds that the libraries take to load."""
    attempt = Attempt(folder, read_spec(folder))
    with warnings.catch_warnings():
        # trl and peft use names that this transformers announces to rename.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            result = attempt.finished(main(attempt))
        except JobFailed as error:
            result = attempt.failed(error)
    attempt.end(result)
    return result


def result_of(folder: Path) -> Result:
    result = read_result(folder)
    assert result is not None, (folder / "train.log").read_text()[-4000:]
    return result


def events_of(folder: Path, type: str | None = None) -> list[Event]:
    batch = read_events(folder, 0, limit_bytes=1 << 30)
    assert batch.invalid == 0
    return [event for event in batch.events if type in (None, event.type)]


def saved_by(folder: Path) -> list[CheckpointRef]:
    """The checkpoints of an attempt as the supervisor hands them on, but oldest first."""
    told = [event.data for event in events_of(folder, "checkpoint")]
    return [CheckpointRef(step=each["step"], path=each["path"], digest=each["digest"]) for each in told]


def ask(folder: Path, request: str, number: int = 1) -> None:
    write(folder / CONTROL, Control(number=number, request=request))


def wait_until(condition: Any, process: subprocess.Popen | None = None, *, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        assert process is None or process.poll() is None, "the process has left"
        time.sleep(0.05)


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def decode_result(folder: Path) -> dict[str, Any]:
    return msgspec.json.decode((folder / "result.json").read_bytes())
