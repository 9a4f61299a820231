"""A checkpoint as a folder for other programs: `python -m trainers.export <attempt folder>`.

As it is: an adapter as peft reads it, or a whole model as transformers reads it. Merged: the adapter's weights added to
the base model's, so that nothing but transformers is needed. Values of the job:

    {"place": {"model_path", "adapter_path"?, "digest"}, "base": "starter", "merge": true, "folder": "run-step-40"}

What leaves lies in `output/export/<folder>`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from studio.params.exporting import KEPT, MERGEABLE
from trainers.attempt import Attempt, run_attempt

TOLERANCE = 0.01
"""Largest difference between the scores before and after merging, of their own spread: rounding, and nothing more."""


def main(attempt: Attempt) -> dict[str, Any]:
    from studio.protocol import sync_folder

    values = attempt.spec.values
    place, target = values["place"], Path(attempt.spec.output_path) / "export" / values["folder"]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    checkpoint = Path(place.get("adapter_path") or place["model_path"])
    check(checkpoint, place.get("digest"))
    if values["merge"]:
        figures = merge(attempt, place["model_path"], checkpoint, target)
    else:
        attempt.phase("weights.copying")
        figures = copy(checkpoint, target, base=values["base"])
    sync_folder(target)
    return figures | {"bytes": sum(each.stat().st_size for each in target.rglob("*") if each.is_file())}


def check(checkpoint: Path, digest: str | None) -> None:
    """
    Raises:
        JobFailed: answer_checkpoint_missing or answer_checkpoint_damaged.
    """
    from trainers.checkpoints.manifest import damaged_files, digest_of

    if not checkpoint.is_dir():
        raise JobFailed("answer_checkpoint_missing")
    if damaged_files(checkpoint) or digest_of(checkpoint) != digest:
        raise JobFailed("answer_checkpoint_damaged")


def copy(checkpoint: Path, target: Path, *, base: str) -> dict[str, Any]:
    """What answers: weights, configs, tokenizer; not the optimizer, which only training needs."""
    files = [path for path in sorted(checkpoint.iterdir()) if KEPT.fullmatch(path.name)]
    for path in files:
        shutil.copyfile(path, target / path.name)
    config = target / "adapter_config.json"
    if config.exists():  # it names a folder of this machine
        told = json.loads(config.read_bytes()) | {"base_model_name_or_path": base}
        config.write_text(json.dumps(told, indent=2, sort_keys=True), "utf-8")
    return {"files": len(files)}


def merge(attempt: Attempt, model_path: str, adapter: Path, target: Path) -> dict[str, Any]:
    """The base model with the adapter's weights added to its own, and its tokenizer.

    An adapter that was trained on a compressed model is added to the whole one: what it answers may differ a little.

    Raises:
        JobFailed: weights.cannot_merge, or weights.merged_otherwise where the model does not answer as it did before.
    """
    attempt.phase("loading_libraries")
    import torch
    from peft import PeftModel

    from trainers.models.loading import load_model, load_tokenizer
    from trainers.models.switching import kind_of

    kind = kind_of(adapter)
    if kind not in MERGEABLE:
        raise JobFailed("weights.cannot_merge", kind=kind)
    attempt.phase("loading_model")
    # In 32 bits: sums in 16 would lose part of what was learned before it can be told from a fault.
    base = load_model(model_path, dtype="float32", device="cpu")
    model = PeftModel.from_pretrained(base, str(adapter), torch_device="cpu").eval()
    ids = torch.arange(8, 40)[None]  # (1, T)
    with torch.inference_mode():
        before = model(input_ids=ids).logits.float()
        attempt.phase("weights.merging")
        merged = model.merge_and_unload()
        after = merged(input_ids=ids).logits.float()
    difference = float((after - before).abs().max() / before.std())
    if difference > TOLERANCE:
        raise JobFailed("weights.merged_otherwise", difference=f"{difference:.3f}")
    attempt.phase("saving")
    merged = merged.to(getattr(torch, _dtype_of(model_path)))
    merged.save_pretrained(target, safe_serialization=True)
    load_tokenizer(adapter if (adapter / "tokenizer_config.json").exists() else model_path).save_pretrained(target)
    return {"difference": difference, "files": len(list(target.iterdir()))}


def _dtype_of(model_path: str) -> str:
    """As the base model lies on the disk."""
    from trainers.models.model_config import read_config

    return str(read_config(model_path).dtype or "float32").removeprefix("torch.")


if __name__ == "__main__":
    run_attempt(main)
