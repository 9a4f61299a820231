"""A prediction as the command line and pages have it: figures, and notes in words."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.memory_options import Asked
from studio.memory.estimate import Estimate, as_document
from studio.memory.inventory import Inventory
from studio.messages import say
from studio.paths import Workspace


def document_of(
    found: Estimate, config: Mapping[str, Any], question: Asked, model: Inventory, place: Workspace
) -> dict[str, Any]:
    """As `as_document`, its notes in words, and with those that are about no figure."""
    document = worded(as_document(found))
    beside = []
    if question.stack.uncovered:
        beside.append(say("cli.memory.uncovered", versions=", ".join(question.stack.uncovered)))
    if question.ignored:
        beside.append(say("cli.memory.ignored", names=", ".join(question.ignored)))
    return document | {"notes": document["notes"] + beside + notes_of_model(config, model, place)}


def notes_of_model(config: Mapping[str, Any], model: Inventory, place: Workspace, language: str = "en") -> list[str]:
    """What else there is to say of a model that is known by its config: compressed already, larger than the disk."""
    notes = []
    if config.get("quantization_config"):
        notes.append(say("cli.memory.quantised", language))
    size, free = 2 * model.parameters, shutil.disk_usage(_existing(place.root)).free
    if size > free:
        notes.append(say("cli.memory.disk", language, size=gib(size), free=gib(free)))
    return notes


def worded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction with sentences in place of the codes of its notes."""
    return {**document, "notes": [say(f"memory.notes.{code}") for code in document.get("notes", ())]}


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
