"""Tables of question and answer rows for the tests of the text steps, and their findings in words."""

import msgspec
import polars as pl

from studio.messages import say


def pairs(*rows: tuple[str, str]) -> pl.DataFrame:
    """Format prompt_completion, rows numbered from 1."""
    schema = {"row": pl.Int64, "prompt": pl.String, "completion": pl.String}
    return pl.DataFrame([(number, *row) for number, row in enumerate(rows, 1)], schema=schema, orient="row")


def answered(*answers: str) -> pl.DataFrame:
    """Rows that differ in their answer."""
    return pairs(*((f"Question {number}?", answer) for number, answer in enumerate(answers, 1)))


def codes(findings: pl.DataFrame) -> list[tuple[int, str, str]]:
    """(row, last part of the code, action) of each finding."""
    return [
        (row, code.rsplit(".", 1)[1], action) for row, code, action in findings.select("row", "code", "action").rows()
    ]


def sentences(findings: pl.DataFrame, language: str) -> list[str]:
    """Every finding as a person reads it; fails where words or values are missing."""
    told = []
    for finding in findings.iter_rows(named=True):
        key, values = f"problems.{finding['code']}", msgspec.json.decode(finding["values"])
        sentence = say(key, language, row=finding["row"], field=finding["field"], **values)
        assert sentence != key
        told.append(sentence)
    return told
