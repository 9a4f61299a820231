"""Where a run goes on: the newest checkpoint that proves whole, and only if it is the same run still.

    start_of(attempt)  ->  Path(".../checkpoints/step-40"), with step-60 set aside because a file of it is damaged

Optimizer and random states are pickles, so nothing of a checkpoint is opened before its checksums were compared with
its manifest, and the manifest with the digest in the registry. No torch here.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from studio.params.changing import CONTINUABLE, FREE_TO_CHANGE, shaping
from studio.protocol import CheckpointRef, Spec
from trainers.attempt import Attempt
from trainers.checkpoints.manifest import MANIFEST, content_of, damaged_files, digest_of, read_manifest

DAMAGED_PREFIX = "damaged-"
BATCH = {"per_device_train_batch_size", "gradient_accumulation_steps"}
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes")
"""Those whose version may change what a step computes."""


def start_of(attempt: Attempt) -> Path | None:
    """The checkpoint to go on from; None: from the beginning. Damaged ones of the run itself are set aside and told.

    Raises:
        JobFailed: start_damaged, where the run was to begin with a checkpoint of another run and that one is damaged.
    """
    found, spec = newest_whole(attempt), attempt.spec
    origin = spec.start_from or spec.weights_from
    if found or origin is None:
        return found
    damaged = _damaged(origin)
    if damaged:
        raise JobFailed("start_damaged", step=origin.step, files=", ".join(damaged))
    return Path(origin.path) if spec.start_from else None


def newest_whole(attempt: Attempt) -> Path | None:
    """The run's own newest checkpoint that is what was saved; damaged ones are set aside and told."""
    for number, saved in enumerate(attempt.spec.resume_from, start=1):
        damaged = _damaged(saved)
        if not damaged:
            return Path(saved.path)
        _set_aside(attempt, saved, damaged, is_last=number == len(attempt.spec.resume_from))
    return None


def same_run(spec: Spec, token_files: Iterable[Path]) -> dict[str, Any]:
    """What decides the weights of a run: its rows as tokens, the base model, its values; and what it ran on.

    Args:
        token_files: the rows as they are trained on and validated with, in order.
    """
    folder = Path(spec.model.path)
    values = {name: value for name, value in spec.values.items() if name not in FREE_TO_CHANGE}
    return {
        "dataset": content_of(token_files),
        "model": content_of(sorted(folder.glob("*.safetensors"))),
        "config": content_of([folder / "config.json"]),
        "values": {"seed": spec.seed} | values,
        "surroundings": surroundings(spec),
    }


def surroundings(spec: Spec) -> dict[str, str]:
    """What may change the last digits of a step without being a setting of the run."""
    libraries = {name: spec.libraries[name] for name in LIBRARIES if name in spec.libraries}
    return libraries | {"device": spec.device.partition(":")[0], "threads": str(spec.threads)}


OWN, CONTINUED, WEIGHTS = "own", "continued", "weights"
"""What a checkpoint is to an attempt: of this run; of another run that it goes on from; only its weights are taken."""
_MAY_DIFFER = {OWN: frozenset(), CONTINUED: CONTINUABLE}


def check_same(checkpoint: Path, now: Mapping[str, Any], *, what: str = OWN) -> None:
    """Compare what a checkpoint was made from with what this attempt has.

    Args:
        what: OWN, CONTINUED or WEIGHTS. A run that goes on from another one's may last longer and have another rate;
            one that takes its weights alone may learn anything in any way, as long as the same weights are trained.

    Raises:
        JobFailed: resumed_otherwise, with the names of all that differs.
    """
    manifest = read_manifest(checkpoint) or {}
    before = manifest.get("same_run")
    if before is None:  # saved before checkpoints told this
        return
    parts = ("model", "config") if what == WEIGHTS else ("dataset", "model", "config")
    names = [name for name in parts if name in before and before[name] != now[name]]
    changed = _changed(before["values"], now["values"])
    names += sorted(changed & shaping() if what == WEIGHTS else changed - _MAY_DIFFER[what])
    if names:
        raise JobFailed("resumed_otherwise", step=manifest["step"], names=", ".join(names))


def changed_surroundings(checkpoint: Path, now: Mapping[str, Any]) -> str | None:
    """What is another now than when the checkpoint was saved: `torch 2.8.0 → 2.9.0, threads 2 → 8`; None if nothing."""
    before = ((read_manifest(checkpoint) or {}).get("same_run") or {}).get("surroundings", {})
    after = now["surroundings"]
    found = [f"{name} {old} → {after.get(name)}" for name, old in before.items() if after.get(name) != old]
    return ", ".join(found) or None


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    names = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    # The same rows count in an update, in other portions: the place in the data is the same.
    return names - BATCH if names & BATCH and _rows_an_update(before) == _rows_an_update(now) else names


def _rows_an_update(values: Mapping[str, Any]) -> int:
    return values.get("per_device_train_batch_size", 1) * values.get("gradient_accumulation_steps", 1)


def _damaged(saved: CheckpointRef) -> list[str]:
    """Names of files that are not what was saved."""
    folder = Path(saved.path)
    damaged = damaged_files(folder)
    return damaged or ([] if digest_of(folder) == saved.digest else [MANIFEST])


def _set_aside(attempt: Attempt, saved: CheckpointRef, damaged: list[str], *, is_last: bool) -> None:
    folder = Path(saved.path)
    aside = folder.with_name(f"{DAMAGED_PREFIX}{folder.name}-{attempt.spec.attempt}")
    if folder.exists():
        os.replace(folder, aside)
    attempt.events.write("set_aside", step=saved.step, path=str(aside), files=damaged)
    code = "checkpoint_set_aside_last" if is_last else "checkpoint_set_aside"
    attempt.alert(code, step=saved.step, files=", ".join(damaged), path=str(aside))
