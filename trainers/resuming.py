"""Where a run goes on: the newest checkpoint that proves whole, and only if it is the same run still.

    newest_whole(attempt)  ->  Path(".../checkpoints/step-40"), with step-60 set aside because a file of it is damaged

Optimizer and random states are pickles, so nothing of a checkpoint is opened before its checksums were compared with
its manifest, and the manifest with the digest in the registry. No torch here.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xxhash

from studio.errors import JobFailed
from studio.protocol import CheckpointRef, Spec
from trainers.attempt import Attempt
from trainers.manifest import MANIFEST, damaged_files, digest_of, read_manifest

DAMAGED_PREFIX = "damaged-"
FREE_TO_CHANGE = frozenset({"goal", "run_name", "save_steps", "logging_steps"})
"""Values that change nothing in the weights."""
_BLOCK_BYTES = 1 << 22


def newest_whole(attempt: Attempt) -> Path | None:
    """The checkpoint to go on from; damaged ones are set aside and told. None: from the beginning."""
    for saved in attempt.spec.resume_from:
        damaged = _damaged(saved)
        if not damaged:
            return Path(saved.path)
        _set_aside(attempt, saved, damaged)
    return None


def same_run(spec: Spec, token_files: Iterable[Path]) -> dict[str, Any]:
    """What decides the weights of a run: its rows as tokens, the base model's weights, and its values.

    Args:
        token_files: the rows as they are trained on and validated with, in order.
    """
    weights = sorted(Path(spec.model.path).glob("*.safetensors"))
    values = {name: value for name, value in spec.values.items() if name not in FREE_TO_CHANGE}
    return {"dataset": _content(token_files), "model": _content(weights), "values": {"seed": spec.seed} | values}


def check_same(checkpoint: Path, now: Mapping[str, Any]) -> None:
    """Compare what a checkpoint was made from with what this attempt has.

    Raises:
        JobFailed: resumed_otherwise, with the names of all that differs.
    """
    manifest = read_manifest(checkpoint) or {}
    before = manifest.get("same_run")
    if before is None:  # saved before checkpoints told this
        return
    names = [name for name in ("dataset", "model") if before[name] != now[name]]
    values = before["values"].keys() | now["values"].keys()
    names += sorted(name for name in values if before["values"].get(name) != now["values"].get(name))
    if names:
        raise JobFailed("resumed_otherwise", step=manifest["step"], names=", ".join(names))


def _damaged(saved: CheckpointRef) -> list[str]:
    """Names of files that are not what was saved."""
    folder = Path(saved.path)
    damaged = damaged_files(folder)
    return damaged or ([] if digest_of(folder) == saved.digest else [MANIFEST])


def _set_aside(attempt: Attempt, saved: CheckpointRef, damaged: list[str]) -> None:
    folder = Path(saved.path)
    aside = folder.with_name(f"{DAMAGED_PREFIX}{folder.name}-{attempt.spec.attempt}")
    if folder.exists():
        os.replace(folder, aside)
    attempt.events.write("set_aside", step=saved.step, path=str(aside), files=damaged)
    attempt.alert("checkpoint_set_aside", step=saved.step, files=", ".join(damaged), path=str(aside))


def _content(files: Iterable[Path]) -> str:
    digest = xxhash.xxh3_128()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()
