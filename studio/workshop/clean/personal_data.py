"""Personal data: e-mail addresses, phone, identity, card and account numbers, IP addresses.

    "写信到li@qq.com或致电13812345678"   mask, natural  ->  "写信到name@example.com或致电13800000001"
    "写信到li@qq.com或致电13812345678"   mask, tag      ->  "写信到[EMAIL]或致电[PHONE]"

The same value gets the same mask everywhere in its row. Code is no refuge, nor is reasoning: what is personal is
masked there too. What counts and what a mask looks like is in `studio.workshop.texts.personal`.
"""

from typing import Literal

import msgspec
import polars as pl

from studio.workshop import table
from studio.workshop.clean.outcome import CHANGE, MARK, REMOVE, Outcome
from studio.workshop.found import Findings, without_removed
from studio.workshop.problems import shorten
from studio.workshop.texts import personal
from studio.workshop.texts.pieces import texts_with_fields
from studio.workshop.texts.spans import apply

MASK = "mask"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as personal, and what happens to it."""

    action: Literal["mark", "mask", "remove"] = MASK
    """Only mark it, put a mask in its place, or remove the row."""
    style: Literal["natural", "tag"] = "natural"
    """natural: a made-up value of the same shape, so that the text reads on; tag: [EMAIL], [PHONE], ..."""
    email: bool = True
    """E-mail addresses, but those of example.com and its like."""
    phone: bool = True
    """Phone numbers: international, American, Chinese mobile and landline."""
    chinese_id: bool = True
    """Chinese identity numbers whose check character is right."""
    card: bool = True
    """Payment cards of a known brand whose check digit is right."""
    iban: bool = True
    """Bank accounts with a right IBAN checksum."""
    ip: bool = True
    """Public IPv4 and IPv6 addresses; those of home networks and documentation are nobody's."""


def run(rows: pl.DataFrame, options: Options) -> Outcome:
    found = Findings()
    kinds = [kind for kind in personal.KINDS if getattr(options, kind)]
    pieces = texts_with_fields(rows, with_reasoning=True)
    suspects = pieces.filter(pl.col("text").str.contains(personal.MAYBE_PERSONAL))
    changed, masks = [], _Masks(options.style)
    for piece in suspects.iter_rows(named=True):
        text = piece["text"]
        for kind in kinds:
            text = _treated(text, piece, kind, masks if options.action == MASK else options.action, found)
        if text != piece["text"]:
            changed.append((piece["row"], piece["column"], piece["turn"], text))
    schema = {name: table.TEXTS_SCHEMA[name] for name in ("row", "column", "turn", "text")}
    rows = table.with_texts(rows, pl.DataFrame(changed, schema=schema, orient="row"))
    findings = found.frame()
    return Outcome(without_removed(rows, findings), findings)


class _Masks:
    """The masks given out within one row: the same value has the same mask, two values have two."""

    def __init__(self, style: str) -> None:
        self.style = style
        self._row: int | None = None
        self._given: dict[str, dict[str, int]] = {}

    def of(self, row: int, value: str, kind: str) -> str:
        if row != self._row:
            self._row, self._given = row, {}
        numbers = self._given.setdefault(kind, {})
        same = "".join(character for character in value.lower() if character.isalnum() or character in "@.:")
        return personal.mask(value, kind, numbers.setdefault(same, len(numbers) + 1), self.style)


def _treated(text: str, piece: dict, kind: str, how: "_Masks | str", found: Findings) -> str:
    places = personal.find(text, kind)
    if not places:
        return text
    row, field, code = piece["row"], piece["field"], f"clean.personal_data.{kind}"
    values = {"count": len(places), "part": shorten(text[slice(*places[0])])}
    if not isinstance(how, _Masks):
        found.add(row, code, field, REMOVE if how == REMOVE else MARK, **values)
        return text
    new = apply(text, [(start, end, how.of(row, text[start:end], kind)) for start, end in places])
    found.add_change(row, code, field, CHANGE, before=text, after=new, **values)
    return new
