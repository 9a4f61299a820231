"""Is it SQL, and does it name its columns?

    fault("SELECT count(*) FROM t WHERE note = 'select *'")  ->  None
    fault("SELECT t.* FROM t")                               ->  "select_star"
    fault("I would look into the table.")                    ->  "not_sql"

sqlglot reads it, so strings, comments, products (a * b) and `EXISTS (SELECT * ...)` are no `select *`.
"""

import logging
from functools import cache
from typing import Any

MOST_CHARACTERS = 50_000


def fault(text: str, dialect: str = "") -> str | None:
    """not_sql, select_star, or None."""
    return fault_of(statements(text, dialect))


def fault_of(found: list[Any]) -> str | None:
    """`fault` of statements that were read already."""
    if not found:
        return "not_sql"
    return "select_star" if any(_takes_all_columns(statement) for statement in found) else None


def statements(text: str, dialect: str = "") -> list[Any]:
    """Every statement in `text` as sqlglot reads it, or none if any part of it is no SQL."""
    sqlglot = _sqlglot()
    if not text.strip() or len(text) > MOST_CHARACTERS:
        return []
    try:
        found = [statement for statement in sqlglot.parse(text, read=dialect or None) if statement is not None]
    except (sqlglot.errors.SqlglotError, RecursionError):
        return []
    exp = sqlglot.exp
    kinds = (exp.Query, exp.DML, exp.DDL, exp.Drop, exp.Alter, exp.Merge, exp.TruncateTable)
    return found if all(isinstance(statement, kinds) and _is_whole(statement, exp) for statement in found) else []


def _is_whole(statement: Any, exp: Any) -> bool:
    """`select your favourite` parses, as a column with another name; a query for training reads or names something."""
    return not isinstance(statement, exp.Select) or bool(
        statement.args.get("from_") or statement.args.get("from") or not statement.find(exp.Column)
    )


def _takes_all_columns(statement: Any) -> bool:
    exp = _sqlglot().exp
    return any(
        any(column.is_star for column in select.expressions)
        for select in statement.find_all(exp.Select)
        if not isinstance(select.parent, exp.Exists)
    )


@cache
def _sqlglot() -> Any:
    import sqlglot

    # It warns of statements that it only passes through; whether they count is decided above.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    return sqlglot
