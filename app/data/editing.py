"""An edited row as source text: what the person typed, put where the file holds it, and checked before it is saved.

with_texts(row, manifest, {"messages.1": "Better answer."})  ->  '{"messages": [..., {"content": "Better answer."}]}'
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from studio.workshop.converting.convert import Converter, convert_text, converter
from studio.workshop.converting.plain import source_text
from studio.workshop.problems import RowFault
from studio.workshop.versions.layout import spoken
from studio.workshop.versions.reader import Manifest, Row, TrainingRow

MAX_PLACES = 50
"""So many places of one text in a source row are tried."""


def texts(row: TrainingRow, format: str) -> list[tuple[str, str, str, str]]:
    """Each text of a row: its field's name, column, speaker, and the text."""
    return [
        (f"{column}.{place}", column, turn["role"], turn.get("content") or "")
        for column, turns in spoken(row, format)
        for place, turn in enumerate(turns)
    ]


def with_texts(row: Row, manifest: Manifest, typed: dict[str, str]) -> str | None:
    """The row's source with other texts, usable or not; None where the source writes them otherwise.

    The source itself is changed where that gives the very row that is wanted, so that what training does not read
    stays in it; else, as where a cleaning step changed more than texts, the source is told anew by what training gets.
    """
    format = manifest.format
    wanted = {name: typed.get(name, text) for name, text in _texts_of(row, format).items()}
    wanted |= {name: text for name, text in _texts_of(row, format).items() if _same(wanted[name], text)}
    fields, convert = _with(row, format, wanted), converter(manifest.shape, manifest.columns)
    unusable = None
    for made, is_wanted in (
        (_replaced(row, manifest, wanted), lambda made: _gives(made, fields)),
        (_told(row, manifest, fields), lambda made: _texts_of(made, format) == wanted),
    ):
        converted, found = convert_text(made, convert) if made is not None else (None, [])
        if found:
            unusable = unusable or made
        elif converted and is_wanted(converted):
            return made
    return unusable


def faults(raw: str, manifest: Manifest) -> list[RowFault]:
    """What would keep the edited source from being used."""
    made, found = convert_text(raw, converter(manifest.shape, manifest.columns))
    return [] if made else found


def _same(typed: str, text: str) -> bool:
    """A browser gives every line break of a field as one character."""
    return typed == text.replace("\r\n", "\n").replace("\r", "\n")


def _texts_of(row: TrainingRow, format: str) -> dict[str, str]:
    return {name: text for name, *_, text in texts(row, format)}


def _with(row: Row, format: str, wanted: dict[str, str]) -> dict[str, Any]:
    """The fields of the row with these texts, without its source."""
    fields = {name: value for name, value in msgspec.structs.asdict(row).items() if value is not None and name != "raw"}
    for name, column, _, text in texts(row, format):
        if wanted.get(name, text) != text:
            fields[column] = _put(fields[column], int(name.rpartition(".")[2]), wanted[name])
    return fields


def _put(held: Any, place: int, text: str) -> Any:
    if isinstance(held, str):
        return text
    return [
        ({**each, "content": text} if isinstance(each, dict) else text) if at == place else each
        for at, each in enumerate(held)
    ]


# -- the source, changed ---------------------------------------------------------------------------------------------


def _replaced(row: Row, manifest: Manifest, wanted: dict[str, str]) -> str | None:
    """The source with each text replaced where it stands word for word."""
    convert = converter(manifest.shape, manifest.columns)
    try:
        value = json.loads(row.raw)
    except (ValueError, RecursionError):
        return None
    made = convert(value)[0]
    for name, text in wanted.items():
        now = _texts_of(made, manifest.format) if made else {}
        if name not in now:
            break
        if now[name] != text:
            value, made = _with_text(value, convert, manifest.format, now, name, text)
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _with_text(
    value: Any, convert: Converter, format: str, now: dict[str, str], name: str, text: str
) -> tuple[Any, TrainingRow | None]:
    """The source row with one text of it changed, and what it becomes.

    None and None where it does not hold the text word for word; no row where the changed one cannot be used.
    """
    names = list(now)
    before = sum(now[each] == now[name] for each in names[: names.index(name)])
    places = list(_places(value, now[name]))
    unusable = None
    for place in [*places[before:], *places[:before]][:MAX_PLACES]:
        changed = _put_at(value, place, text)
        made, found = convert(changed)
        if found:
            unusable = unusable or changed
        elif _texts_of(made, format) == now | {name: text}:
            return changed, made
    return unusable, None


def _places(value: Any, text: str, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each place of a JSON value where this text stands."""
    if value == text:
        yield above
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from _places(each, text, (*above, key))


def _put_at(value: Any, place: tuple[Any, ...], text: str) -> Any:
    if not place:
        return text
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = _put_at(value[place[0]], place[1:], text)
    return copy


def _gives(made: TrainingRow, fields: dict[str, Any]) -> bool:
    """Whether training gets the wanted row, so that nothing that a cleaning step had changed comes back."""
    return all(getattr(made, name) == fields.get(name) for name in TrainingRow.__struct_fields__)


# -- the source, told anew -------------------------------------------------------------------------------------------


def _told(row: Row, manifest: Manifest, fields: dict[str, Any]) -> str | None:
    """Where what training gets tells the source: the source of the row with these fields."""
    try:
        before, after = (source_text(each, manifest) for each in (_with(row, manifest.format, {}), fields))
    except KeyError:
        return None
    made, _ = convert_text(before, converter(manifest.shape, manifest.columns))
    return after if made and _texts_of(made, manifest.format) == _texts_of(row, manifest.format) else None
