"""One way of writing the same thing: composed characters, line ends, spaces, full-width forms, role names.

    "Ｃａｆe\u0301  ok \r\n"   ->  "Café ok"
    "on 4 March 2024"      dates="iso"  ->  "on 2024-03-04"
    "on 03/04/2024"        dates="iso"  ->  unchanged, marked: the third of April, or the fourth of March?

Code, `<think>` blocks and JSON stay as they are; only their `\r\n` becomes `\n`, for a text has one kind of line end.
Doing it twice changes nothing more. Dates and numbers are touched only if asked (`studio.workshop.texts.dates`).
"""

import re
import unicodedata
from typing import Literal

import msgspec
import polars as pl

from studio.workshop import table
from studio.workshop.clean.outcome import CHANGE, MARK, Outcome
from studio.workshop.converting.shapes import ROLES
from studio.workshop.found import Findings
from studio.workshop.texts import dates
from studio.workshop.texts.pieces import texts_with_fields
from studio.workshop.texts.spans import apply, free, outside, protected


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is brought to one form."""

    nfc: bool = True
    """Accents as part of their letter (Unicode NFC)."""
    line_ends: bool = True
    r"""\r\n and \r become \n."""
    spaces: bool = True
    """No spaces at the end of lines and texts, none twice in a row, no non-breaking ones."""
    full_width: bool = True
    """Ａ１ becomes A1: letters and digits only, Chinese punctuation stays."""
    role_names: bool = True
    """human becomes user, gpt becomes assistant, and so on."""
    dates: Literal["off", "iso"] = "off"
    """iso: 4 March 2024, 2024/3/4 and 2024年3月4日 become 2024-03-04."""
    date_order: Literal["unknown", "day_first", "month_first"] = "unknown"
    """How 03/04/2024 is meant; unknown: it is marked and stays."""
    numbers: Literal["off", "plain", "grouped"] = "off"
    """plain: 1,234,567 becomes 1234567; grouped: the other way round."""


_SPACE = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_FULL_WIDTH = {
    code: code - 0xFEE0 for start, end in ("０９", "ＡＺ", "ａｚ") for code in range(ord(start), ord(end) + 1)
}
_MAYBE = {
    "line_ends": r"\r",
    "spaces": rf"[ \t]\n|\A\n|\s\z|\S {{2,}}|[{_SPACE}]",
    "full_width": r"[０-９Ａ-Ｚａ-ｚ]",
}
_ODD_SPACE = re.compile(f"[{_SPACE}]")
_SPACES = re.compile(r"[ \t]+(?=\n|\Z)|(?<=\S)(?P<one> ) +")


def run(rows: pl.DataFrame, options: Options) -> Outcome:
    found = Findings()
    if options.role_names:
        rows = _with_known_roles(rows, found)
    pieces = texts_with_fields(rows)
    changed = []
    for row, column, turn, text, field in _suspects(pieces, options).iter_rows():
        new = normalised(text, options)
        if new and new != text:
            changed.append((row, column, turn, new))
            found.add_change(row, "clean.normalise.text", field, CHANGE, before=text, after=new)
        if options.dates == "iso":
            for part in dates.ambiguous(new, options.date_order):
                found.add(row, "clean.normalise.ambiguous_date", field, MARK, part=part)
    schema = {name: table.TEXTS_SCHEMA[name] for name in ("row", "column", "turn", "text")}
    rows = table.with_texts(rows, pl.DataFrame(changed, schema=schema, orient="row"))
    return Outcome(rows, found.frame())


def normalised(text: str, options: Options) -> str:
    """One text in the chosen form."""
    if options.line_ends:
        text = outside(text.replace("\r\n", "\n"), lambda part: part.replace("\r", "\n"))
    text = outside(text, lambda part: _part(part, options))
    return _spaced(text) if options.spaces else text


def _part(part: str, options: Options) -> str:
    """A stretch that is no code."""
    if options.nfc:
        part = unicodedata.normalize("NFC", part)
    if options.full_width:
        part = part.translate(_FULL_WIDTH)
    if options.spaces:
        part = _ODD_SPACE.sub(" ", part)
    if options.dates == "iso":
        part = dates.to_iso(part, options.date_order)
    if options.numbers != "off":
        part = dates.with_numbers(part, options.numbers)
    return part


def _spaced(text: str) -> str:
    """No space too many; those in front of a line stay, they may be a list's or a paragraph's."""
    spans = protected(text)
    ends_in_code = spans and spans[-1][1] == len(text)
    text = apply(text, [(*found.span(), found["one"] or "") for found in free(_SPACES, text, spans)])
    return text.lstrip("\n") if ends_in_code else text.strip("\n")


def _suspects(pieces: pl.DataFrame, options: Options) -> pl.DataFrame:
    """The pieces that may not be in the chosen form yet: row, column, turn, text, field."""
    text = pl.col("text")
    tests = [text.str.contains(pattern) for name, pattern in _MAYBE.items() if getattr(options, name)]
    if options.nfc:
        is_ascii = text.str.len_bytes() == text.str.len_chars()
        tests.append(pl.when(is_ascii).then(False).otherwise(text.str.normalize("NFC") != text))
    if options.dates == "iso" or options.numbers != "off":
        tests.append(text.str.contains(r"[0-9]"))
    return pieces.filter(pl.any_horizontal(tests) if tests else pl.lit(False)).select(
        "row", "column", "turn", "text", "field"
    )


def _with_known_roles(rows: pl.DataFrame, found: Findings) -> pl.DataFrame:
    for column, kind in rows.schema.items():
        if not (isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct)):
            continue
        said = pl.element().struct.field("role")
        usual = said.str.strip_chars().str.to_lowercase().replace(dict(ROLES))
        odd = rows.filter(pl.col(column).list.eval((said != usual).any()).list.first().fill_null(False))
        for row, turns in odd.select("row", column).iter_rows():
            for turn, message in enumerate(turns):
                old = message["role"]
                new = ROLES.get(old.strip().lower(), old.strip().lower())
                if new != old:
                    field = f"{column}[{turn}].role"
                    found.add_change(row, "clean.normalise.role", field, CHANGE, before=old, after=new)
        if odd.height:
            renamed = pl.element().struct.with_fields(usual.alias("role"))
            rows = rows.with_columns(pl.col(column).list.eval(renamed).cast(kind))
    return rows
