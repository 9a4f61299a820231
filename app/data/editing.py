"""An edited row as source text: what the person typed, put where the file holds it, and checked before it is saved.

with_texts(row, manifest, {"messages.1": "Better answer."})  ->  '{"messages": [..., {"content": "Better answer."}]}'
"""

import json
from typing import Any

import msgspec

from studio.workshop.converting.convert import convert_text, converter
from studio.workshop.converting.plain import source_text
from studio.workshop.problems import RowFault
from studio.workshop.versions.layout import spoken
from studio.workshop.versions.reader import Manifest, Row


def texts(row: Row, format: str) -> list[tuple[str, str, str, str]]:
    """Each text of a row: its field's name, column, speaker, and the text."""
    return [
        (f"{column}.{place}", column, turn["role"], turn.get("content") or "")
        for column, turns in spoken(row, format)
        for place, turn in enumerate(turns)
    ]


def with_texts(row: Row, manifest: Manifest, typed: dict[str, str]) -> str | None:
    """The row's source with other texts, usable or not; None where the source writes them otherwise."""
    held = texts(row, manifest.format)
    changed = {name: typed[name] for name, *_, text in held if name in typed and not _same(typed[name], text)}
    wanted = [changed.get(name, text) for name, *_, text in held]
    unusable = None
    for attempt in (_told, _replaced):
        made = attempt(row, manifest, changed)
        if made is None:
            continue
        converted, found = convert_text(made, converter(manifest.shape, manifest.columns))
        if found:
            unusable = made
        elif [text for *_, text in texts(converted, manifest.format)] == wanted:
            return made
    return unusable


def faults(raw: str, manifest: Manifest) -> list[RowFault]:
    """What would keep the edited source from being used."""
    made, found = convert_text(raw, converter(manifest.shape, manifest.columns))
    return [] if made else found


def _same(typed: str, text: str) -> bool:
    """A browser gives every line break of a field as one character."""
    return typed == text.replace("\r\n", "\n").replace("\r", "\n")


def _told(row: Row, manifest: Manifest, changed: dict[str, str]) -> str | None:
    """Where what training gets tells the source: the source of the changed row."""
    fields = {name: value for name, value in msgspec.structs.asdict(row).items() if value is not None}
    fields.pop("raw", None)
    for name, text in changed.items():
        column, _, place = name.rpartition(".")
        fields[column] = _put(fields[column], int(place), text)
    try:
        return source_text(fields, manifest)
    except KeyError:
        return None


def _put(held: Any, place: int, text: str) -> Any:
    if isinstance(held, str):
        return text
    return [
        ({**each, "content": text} if isinstance(each, dict) else text) if at == place else each
        for at, each in enumerate(held)
    ]


def _replaced(row: Row, manifest: Manifest, changed: dict[str, str]) -> str | None:
    """Where the source holds the same texts word for word, in the same order: those replaced."""
    try:
        value = json.loads(row.raw)
    except (ValueError, RecursionError):
        return None
    old = {name: text for name, *_, text in texts(row, manifest.format) if name in changed}
    for name, text in changed.items():
        value, done = _replace_first(value, old[name], text)
        if not done:
            return None
    return json.dumps(value, ensure_ascii=False)


def _replace_first(value: Any, old: str, new: str) -> tuple[Any, bool]:
    if value == old:
        return new, True
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        made, done = _replace_first(each, old, new)
        if done:
            copy = dict(value) if isinstance(value, dict) else list(value)
            copy[key] = made
            return copy, True
    return value, False
