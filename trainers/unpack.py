"""A GGUF file as a model that can be trained: `python -m trainers.unpack <attempt folder>`.

The model ends up in `output_path/model`; the file stays where it is.
"""

import shutil
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from trainers.attempt import Attempt, run_attempt
from trainers.checkpoints.manifest import size_of, sweep_unfinished, whole_folder
from trainers.models.packed import Packed, examine, unpack


def main(attempt: Attempt) -> dict[str, Any]:
    file, folder = Path(attempt.spec.values["source"]), Path(attempt.spec.output_path) / "model"
    attempt.phase("loading_libraries")
    attempt.phase("inspecting_model")
    found = examine(file)
    if not found.has_tokenizer:
        raise JobFailed("unpack.no_tokenizer", path=str(file))
    _check_room(found, folder.parent)
    attempt.phase("unpacking")
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep_unfinished(folder.parent)
    with whole_folder(folder, source=file.name) as made:
        unpack(file, made, name=attempt.spec.values["name"])
        (made / "README.md").write_text(card(file.name, found.license), "utf-8")
    return {"folder": str(folder), "size_bytes": size_of(folder), "parameters": found.parameters}


def card(file_name: str, license_name: str | None) -> str:
    """A model card that says where the weights come from; the licence only as one plain word."""
    known = license_name and license_name.replace("-", "").replace(".", "").isalnum()
    matter = f"---\nlicense: {license_name}\n---\n" if known else ""
    return f"{matter}Unpacked from {file_name}: weights of a GGUF file, put out again in bfloat16.\n"


def _check_room(found: Packed, place: Path) -> None:
    """
    Raises:
        JobFailed: unpack.no_memory, unpack.no_disk.
    """
    import psutil

    free, disk = psutil.virtual_memory().available, shutil.disk_usage(_existing(place)).free
    if found.needed_bytes > free:
        raise JobFailed("unpack.no_memory", needed=_gib(found.needed_bytes), free=_gib(free))
    if found.unpacked_bytes > disk:
        raise JobFailed("unpack.no_disk", needed=_gib(found.unpacked_bytes), free=_gib(disk))


def _existing(place: Path) -> Path:
    return next(each for each in (place, *place.parents) if each.exists())


def _gib(count: int) -> float:
    return round(count / (1 << 30), 1)


if __name__ == "__main__":
    run_attempt(main)
