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
    if config.get("quantization_config"):
        beside.append(say("cli.memory.quantised"))
    size, free = 2 * model.parameters, shutil.disk_usage(_existing(place.root)).free
    if size > free:
        beside.append(say("cli.memory.disk", size=gib(size), free=gib(free)))
    return document | {"notes": document["notes"] + beside}


def worded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction with sentences in place of the codes of its notes."""
    return {**document, "notes": [say(f"memory.notes.{code}") for code in document.get("notes", ())]}


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
