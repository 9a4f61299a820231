"""Which file of an archive a row came from, and where in it: what findings and problems say in front.

{"members": {"files": [["a.jsonl", 0, "line"], ["b.jsonl", 4, "line"]], "last_row": 9}}, row 7  ->  b.jsonl, line 3
"""

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from studio.messages import say
from studio.workshop.problems import shorten

if TYPE_CHECKING:
    from studio.workshop.reading.source import Source

MOST_FILES = 1000
"""Of an archive with more, only what cannot be used is told with its file."""


def known(source: "Source") -> dict[str, Any]:
    """What a version keeps of an archive of several files that was read: an entry for the manifest's `source`."""
    if not 1 < len(source.parts) <= MOST_FILES:
        return {}
    parts = zip(source.parts, source.starts, strict=True)
    files = [[shorten(part.content.member), start, part.row_unit] for part, start in parts]
    return {"members": {"files": files, "last_row": source.starts[-1] + source.parts[-1].last_row}}


def within(source: dict[str, Any], row: int) -> dict[str, Any]:
    """`member`, `member_row` and `member_unit` of a row, from a manifest's `source`; nothing for any other row."""
    held = source.get("members")
    if not held or not 0 < row <= held["last_row"]:
        return {}
    files = held["files"]
    member, before, unit = files[max(bisect_left([start for _, start, _ in files], row) - 1, 0)]
    return {"member": member, "member_row": row - before, "member_unit": unit}


def in_member(words: str, place: dict[str, Any], language: str = "en") -> str:
    """`words` behind file and line, where a row has any: `b.jsonl, line 3: Row 7 ...`"""
    return say(f"members.in_{place['member_unit']}", language, words=words, **place) if place else words
