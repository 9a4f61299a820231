"""Cells of CSV files that a spreadsheet would run as formulas: kept from it by an apostrophe in front, and read back.

    defused("=1+1")   ->  "'=1+1"      defused("-5.2")  ->  "-5.2", a number
    restored("'=1+1") ->  "=1+1"       restored(defused(text)) == text, whatever the text

The signs are those that OWASP's page on CSV injection names.
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""With apostrophes in front too, so that taking one away gives the very text back."""
_NEGATIVE_NUMBER = re.compile(r"-\d+([.,]\d+)*([eE][+-]?\d+)?%?")


def defused(text: str) -> str:
    """The text as a cell that no spreadsheet runs; one that is none, or a negative number, stays as it is."""
    return f"'{text}" if _FORMULA.match(text) and not _NEGATIVE_NUMBER.fullmatch(text) else text


def restored(cell: str) -> str:
    """The text of a cell that `defused` made."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
