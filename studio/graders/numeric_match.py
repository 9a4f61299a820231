"""Is it the wanted number, however it is written?

    wanted "1,234.5"   "The total is 1234.50."      ->  1
    wanted "5 km"      "5000 m"                     ->  1
    wanted "25"        "二十五"                      ->  1
    wanted "42"        "First 6, then 7, so 42"     ->  1: the last number counts

See `studio.graders.numbers` for what is read. A unit that only one of the two bears does not matter.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from studio.graders.numbers import Number, convert, numbers
from studio.graders.score import Row, Score, missing, passed


class Options(msgspec.Struct, frozen=True, kw_only=True):
    which: Literal["last", "first", "only"] = "last"
    """Of several numbers in the answer; only: with several the answer is wrong."""
    tolerance: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of the wanted number by which the answer may be off."""
    units: Literal["convert", "ignore"] = "convert"


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(answer, row, options) for answer, row in zip(answers, rows, strict=True)]


def _score(answer: str, row: Row, options: Options) -> Score:
    if row.reference is None or not row.reference.strip():
        return missing("no_reference")
    wanted = numbers(row.reference)
    if not wanted:
        return missing("no_number_wanted", row.reference.strip()[:40])
    said = numbers(answer)
    if not said:
        return Score(0.0, "no_number")
    if options.which == "only" and len(said) > 1:
        return Score(0.0, "several_numbers", str(len(said)))
    chosen = said[0] if options.which == "first" else said[-1]
    return passed(_is_same(chosen, wanted[-1], options), "another_number", f"{chosen.value:g} {chosen.unit}".strip())


def _is_same(said: Number, wanted: Number, options: Options) -> bool:
    value: float | None = said.value
    if options.units == "convert" and said.unit and wanted.unit:
        value = convert(said, wanted.unit)
    elif options.units == "convert" and (said.unit in _SHARES or wanted.unit in _SHARES):
        # "50 %" for a wanted 0.5, and for a wanted 50: both are how people write it.
        return any(_is_near(each, wanted.value, options.tolerance) for each in (said.value, convert(said, wanted.unit)))
    return value is not None and _is_near(value, wanted.value, options.tolerance)


_SHARES = ("%", "‰", "percent", "per cent")


def _is_near(said: float | None, wanted: float, tolerance: float) -> bool:
    if said is None:
        return False
    # A billionth is what floating point loses in converting units.
    return abs(said - wanted) <= max(tolerance, 1e-9) * abs(wanted)
