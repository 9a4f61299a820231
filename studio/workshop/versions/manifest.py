"""What a data set version says about itself: manifest.json, written last: where it exists the version is whole."""

from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput

ROWS, PROBLEMS, MANIFEST = "rows.parquet", "problems.parquet", "manifest.json"
LAYOUT = 2
"""1 held the trained columns and `raw` only; versions of layout 1 are still read."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done to get from the parent, or the source, to this version."""

    operation: str
    """import, edit, exclude, or a cleaning step's name."""
    parameters: dict[str, Any]
    rows_in: int
    rows_out: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """manifest.json of a version."""

    format: str
    """trl type, see `studio.workshop.versions.layout`."""
    shape: str
    columns: dict[str, str]
    """Column -> part it plays; edited rows are read by it again."""
    source: dict[str, Any]
    """file, kind and size_bytes of what was imported; guessed_encoding where the text's letters alone told it;
    unread_keys (key -> rows) where turns said more than training reads; members of an archive: see `members.py`."""
    parent: str | None
    """Content hash of the version that this one was made from."""
    steps: list[Step]
    source_rows: int
    """Rows of the source, and new ones; always rows + problems + excluded."""
    rows: int
    problems: int
    """Rows that cannot be used and are not excluded."""
    excluded: int
    blank_lines: int
    problem_codes: dict[str, int]
    """Open faults by code."""
    content_hash: str
    """Over what training gets, in order: see `studio.workshop.versions.content_hash`."""
    created_at: str
    splits: dict[str, int] = {}
    """Usable rows by split; empty before a split was made."""
    categories: int = 0
    """Different categories among the usable rows."""
    speakers: dict[str, int] = {}
    """Speakers as the source spells them -> rows that have them: what a misspelt one was meant to be."""
    layout: int = 1


def read_manifest(folder: Path) -> Manifest:
    """
    Raises:
        RefusedInput: there is no whole version in `folder`.
    """
    try:
        return msgspec.json.decode((Path(folder) / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusedInput("data.version_damaged", folder=str(folder)) from error
