"""Is the answer SQL that names its columns, and is it the wanted query?

    "SELECT name FROM users"                                         ->  1
    "SELECT * FROM users"                                            ->  0: select_star
    "I would look into the table."                                   ->  0: not_sql
    match same    "select Name from Users" wanted the first          ->  1: the same query

sqlglot reads it; nothing is run. Two queries that give the same rows in another way are not told the same.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from studio.errors import RefusedInput
from studio.graders.json_answer import unfenced
from studio.graders.score import Row, Score, missing, passed
from studio.workshop.texts.sql import fault_of, statements


class Options(msgspec.Struct, frozen=True, kw_only=True):
    match: Literal["form", "same"] = "form"
    no_select_star: bool = True
    dialect: str = ""
    """mysql, postgres, sqlite, tsql, oracle, bigquery, ...; empty: what most of them understand."""


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: a dialect that there is not.
    """
    if not options.dialect:
        return
    from sqlglot import Dialects

    known = [each.value for each in Dialects if each.value]
    if options.dialect not in known:
        raise RefusedInput("reward.bad_dialect", dialect=options.dialect[:40], known=", ".join(known))


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(answer, row, options) for answer, row in zip(answers, rows, strict=True)]


def _score(answer: str, row: Row, options: Options) -> Score:
    wanted = None
    if options.match == "same":
        if row.reference is None or not row.reference.strip():
            return missing("no_reference")
        wanted = _query(unfenced(row.reference)[0], options.dialect)
        if wanted is None:
            return missing("reference_not_sql")
    text, _ = unfenced(answer)
    wrong, said = _read(text, options.dialect, wanted is not None)
    if wrong == "not_sql" or (wrong and options.no_select_star):
        return Score(0.0, wrong)
    return passed(wanted is None or said == wanted, "another_query")


def _query(text: str, dialect: str) -> tuple[str, ...] | None:
    return _read(text, dialect, True)[1]


@lru_cache(maxsize=8192)
def _read(text: str, dialect: str, is_compared: bool) -> tuple[str | None, tuple[str, ...] | None]:
    """What is wrong with it, and its statements in one spelling: keywords, blanks and the case of plain names aside.

    Cached: a model that has learned says the same again and again, and reading takes a millisecond.
    """
    found = statements(text, dialect)
    if not found or not is_compared:
        return fault_of(found), None
    from sqlglot.errors import SqlglotError

    try:
        spelled = tuple(each.sql(dialect=dialect or None, normalize=True, comments=False) for each in found)
    except (SqlglotError, RecursionError):
        return fault_of(found), None
    return fault_of(found), spelled
